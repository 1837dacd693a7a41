"""`financehub instruments delist`: what no vendor is asked for any more, from the command to the runs."""

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from financehub_dagster.cli.app import run
from financehub_dagster.sandbox.client import Sandbox
from financehub_dagster_tests.fixtures.database import Database

UNIVERSE = """
- {symbol: AAPL, name: Apple Inc., asset_type: stock, exchange: XNAS}
- {symbol: MSFT, name: Microsoft, asset_type: stock, exchange: XNAS, delisted_on: 2015-04-10}
"""
LAST = date(2015, 4, 10)


@pytest.fixture
def filled(folder, database: Database, dagster_database: None, sandbox: Sandbox) -> Sandbox:
    (folder / "mine.yaml").write_text(UNIVERSE)
    assert run(["instruments", "import", "mine.yaml"]) == 0
    return sandbox


def answer(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    capsys.readouterr()
    assert run([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def stored(database: Database, table: str = "stock_prices_daily") -> dict[str, tuple[int, date]]:
    with database.engine.connect() as connection:
        rows = connection.exec_driver_sql(f"select symbol, count(*), max(date) from {table} group by 1")
        return {symbol: (count, last) for symbol, count, last in rows}


def test_bars_and_indicators_end_with_the_last_day_and_begin_again_when_it_is_taken_back(
    filled: Sandbox, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    fill = ("backfill", "stock_prices_daily", "--from", "2015-03", "--to", "2015-05")
    assert answer(capsys, *fill)["success"]
    assert stored(database)["MSFT"][1] == LAST
    assert stored(database)["AAPL"][1] > date(2015, 5, 20)
    answer(capsys, "backfill", "indicators_daily", "--from", "2015-03", "--to", "2015-05")
    assert stored(database, "indicators_daily")["MSFT"] == stored(database)["MSFT"]
    calls = filled.calls("yahoo")["by_symbol"]
    answer(capsys, "backfill", "stock_prices_daily", "--from", "2015-06", "--to", "2015-06")
    assert filled.calls("yahoo")["by_symbol"] == {**calls, "AAPL": calls["AAPL"] + 1}
    told = answer(capsys, "instruments", "delist", "msft", "--undo")
    assert told == {"symbol": "MSFT", "delisted_on": None, "changed": True, "ended": 0}
    answer(capsys, *fill)
    assert stored(database)["MSFT"] == (stored(database)["AAPL"][0] - 22, date(2015, 5, 29))


def test_no_current_value_is_asked_for(filled: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    from financehub_dagster.assets.checks.scope import members_of
    from financehub_dagster.ingest.run_config import Snapshot

    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    assert [each.symbol for each in Snapshot().members("quotes")] == ["AAPL"]
    assert [each.symbol for each in members_of("quotes", ["AAPL", "MSFT"])] == ["AAPL"]
    assert answer(capsys, "instruments", "delist", "AAPL", "--on", yesterday.isoformat())["changed"]
    assert Snapshot().members("quotes") == []
    assert run(["instruments", "list"]) == 0
    assert yesterday.isoformat() in capsys.readouterr().out


def test_what_cannot_be_meant_is_wrong_usage(filled: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    for words, line in (
        (["AAPL"], "name the last day it was traded with --on, or take that back with --undo"),
        (["AAPL", "--on", "2015-04-10", "--undo"], "name the last day it was traded with --on"),
        (["AAPL", "--on", "April"], "--on April: not a day; write it as 2024-03-15"),
        (["APL", "--on", "2015-04-10"], "unknown symbol APL: did you mean AAPL?"),
    ):
        assert run(["instruments", "delist", *words]) == 2, words
        assert capsys.readouterr().err.splitlines()[-1].startswith(f"financehub: {line}"), words


def test_people_are_told_what_happens(filled: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    for said in ("no later session is expected", "that was known"):
        assert run(["instruments", "delist", "AAPL", "--on", "2015-05-01"]) == 0
        assert capsys.readouterr().out == f"AAPL was delisted on 2015-05-01: {said}\n"
    for said in ("its sessions are expected again", "nothing changed"):
        assert run(["instruments", "delist", "AAPL", "--undo"]) == 0
        assert capsys.readouterr().out == f"AAPL is listed: {said}\n"
