"""`financehub instruments rename`: the command, what commands and readers make of the old symbol, a killed rename."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import URL

from financehub_dagster import read
from financehub_dagster.cli.app import run
from financehub_dagster.sandbox.client import Sandbox
from financehub_dagster.serving.questions import RenamedSymbol
from financehub_dagster.storage.database.urls import beside
from financehub_dagster.storage.dead_letters.dead_letters import Failure, record_failures
from financehub_dagster_tests.end_to_end.conftest import prepared
from financehub_dagster_tests.fixtures.database import Database
from financehub_dagster_tests.fixtures.eventually import eventually

UNIVERSE = """
- {symbol: FB, name: Facebook, asset_type: stock, exchange: XNAS, aliases: {yahoo: AAPL, finnhub: FB}}
- {symbol: MSFT, name: Microsoft, asset_type: stock, exchange: XNAS}
"""
FILL = ("backfill", "stock_prices_daily", "--from", "2015-03", "--to", "2015-04")
RENAME = ("instruments", "rename", "FB", "META", "--on", "2022-06-09")
TABLES = ("stock_prices_daily", "corporate_actions", "coverage", "price_revisions", "dirty_marks", "holdings")


@pytest.fixture(scope="module")
def backfilled(database_server, market_template, sandbox_process, tmp_path_factory) -> Iterator[URL]:
    """Two months of an instrument that is called FB here, and AAPL at Yahoo."""
    place = tmp_path_factory.mktemp("backfilled")
    with prepared(database_server, market_template, sandbox_process, place, UNIVERSE) as filled:
        yield filled(FILL)


@pytest.fixture(scope="module")
def database_template(backfilled: URL) -> str:
    return str(backfilled.database)


@pytest.fixture(scope="module")
def dagster_template(backfilled: URL) -> str:
    return str(beside(backfilled).database)


@pytest.fixture
def filled(folder: Any, database: Database, dagster_database: None, sandbox: Sandbox) -> Database:
    """A copy of these months, with a share that is held and a dead letter."""
    with database.engine.begin() as connection:
        connection.exec_driver_sql("insert into holdings values ('main', 'FB', '2015-03-02', 1, 100)")
        record_failures(connection, [Failure("stock_prices_daily", "refused", "2015-05", "FB")])
    return database


def symbols(database: Database) -> dict[str, list[str]]:
    with database.engine.connect() as connection:
        return {
            table: list(connection.scalars(sa.text(f"select distinct symbol from {table} order by 1")))
            for table in TABLES
        }


def answer(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[Any, str]:
    """The JSON of a command, and what it wrote to stderr."""
    capsys.readouterr()
    assert run([*words, "--json"]) == 0
    told = capsys.readouterr()
    return json.loads(told.out), told.err


def test_a_renamed_instrument_is_one_instrument_under_both_names(
    filled: Database, sandbox: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    before = read("stock_prices_daily", symbols="FB")
    told, notes = answer(capsys, *RENAME)
    assert (told["changed"], told["rows"]["stock_prices_daily"]) == (True, len(before))
    assert told["former_aliases"] == [{"provider": "financehub", "symbol": "FB", "from": None, "until": "2022-06-08"}]
    assert "finnhub is still asked for it as FB: if it has another name there now, change its alias" in notes
    assert all("FB" not in found for found in symbols(filled).values())
    with pytest.warns(RenamedSymbol, match="FB is META since 2022-06-09"):
        rows = read("stock_prices_daily", symbols="FB")
    assert rows.assign(symbol="FB").equals(before)
    filling, notes = answer(capsys, *FILL, "--symbols", "FB")
    assert "FB is META since 2022-06-09" in notes
    bars = next(each for each in filling["tables"] if each["table"] == "stock_prices_daily")
    assert (bars["rows_inserted"], bars["rows_unchanged"]) == (0, len(before))
    assert sandbox.calls("yahoo")["by_symbol"]["AAPL"] == 1
    explained, notes = answer(capsys, "explain", "fb", "2015-04-20")
    assert (explained["symbol"], explained["row"]["source"]) == ("META", "yahoo")
    assert "FB is META now" in notes
    _, notes = answer(capsys, "gaps", "--symbols", "FB")
    assert "FB is META since 2022-06-09" in notes
    waiting, notes = answer(capsys, "dlq", "list", "--symbol", "fb")
    assert [each["symbol"] for each in waiting["dead_letters"]] == ["META"]
    assert "FB is META since 2022-06-09" in notes
    assert answer(capsys, *RENAME)[0]["changed"] is False
    assert run([*RENAME]) == 0
    assert "FB is META since 2022-06-09 already: nothing changed" in capsys.readouterr().out


def test_an_export_under_the_old_symbol_has_the_rows_of_the_instrument(
    filled: Database, folder: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    answer(capsys, *RENAME)
    _, notes = answer(capsys, "export", "stock_prices_daily", "--symbols", "FB", "--output", "bars.csv")
    assert notes.splitlines() == ["FB is META since 2022-06-09"]
    lines = (folder / "bars.csv").read_text().splitlines()
    assert len(lines) == 44
    assert lines[1].split(",")[0].strip('"') == "META"


def test_a_rename_that_is_killed_half_way_has_moved_nothing_and_can_be_repeated(
    filled: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    before = symbols(filled)
    waits = sa.text(
        "select pid from pg_stat_activity where wait_event_type = 'Lock' and query ilike 'update holdings%'"
    )
    with filled.engine.begin() as holder:
        holder.exec_driver_sql("select from holdings where symbol = 'FB' for update")
        with (
            subprocess.Popen([sys.executable, "-m", "financehub_dagster.cli", *RENAME]) as child,
            filled.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as watcher,
        ):
            eventually(lambda: watcher.execute(waits).scalar() is not None)
            child.kill()
            child.wait()
            watcher.execute(sa.text(f"select pg_terminate_backend(pid, 5000) from ({waits}) as waiting"))
    assert child.returncode == -signal.SIGKILL
    assert symbols(filled) == before
    assert answer(capsys, *RENAME)[0]["changed"]
    assert all("FB" not in found for found in symbols(filled).values())


def test_what_cannot_be_done_is_said_in_a_line(
    folder: Any, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, line in (
        (["NOPE", "META"], "unknown symbol NOPE: there are"),
        (["FB", "MSFT"], "MSFT is Microsoft already: give that one another symbol first"),
        (["FB", "me ta"], "symbol: 'ME TA' is not a symbol"),
        (["FB", "META", "--on", "June"], "--on June: not a day"),
        (["FB", "META", "--alias", "yahoo"], "aliases: 'yahoo' is not provider=symbol"),
    ):
        assert run(["instruments", "rename", *words]) == 2, words
        assert capsys.readouterr().err.splitlines()[-1].startswith(f"financehub: {line}"), words
