"""The command line on a live platform whose vendors are the sandbox: results as JSON, warnings on stderr."""

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from financehub_dagster.cli.app import run
from financehub_dagster.settings import get_settings
from financehub_dagster.storage.database.creation import autocommit
from financehub_dagster.storage.database.urls import libpq_url
from financehub_dagster_tests.end_to_end.asked import Asked
from financehub_dagster_tests.end_to_end.conftest import loaded_by
from financehub_dagster_tests.fixtures.eventually import eventually

UNIVERSE = """
- {symbol: AAPL, name: Apple Inc., asset_type: stock, exchange: XNAS}
- {symbol: MSFT, name: Microsoft, asset_type: stock, exchange: XNAS}
- {symbol: BTC, name: Bitcoin, asset_type: crypto, exchange: XXXX, aliases: {binance: BTCUSDT}}
"""

COMPUTED = ("levels_daily", "pivot_points", "signals")
"""What an update computes beside the indicators."""


@pytest.fixture
def recent(monkeypatch) -> None:
    """A history of some seven weeks."""
    start = (datetime.now(UTC) - timedelta(days=35)).date().replace(day=1)
    monkeypatch.setenv("FINANCEHUB_HISTORY_START", start.isoformat())
    get_settings.cache_clear()


@pytest.fixture
def ask(folder, database, dagster_database, sandbox, capsys) -> Asked:
    """Commands in a folder with three instruments."""
    ask = Asked(capsys)
    (folder / "mine.yaml").write_text(UNIVERSE)
    assert ask("instruments", "import", "mine.yaml") == {"inserted": 3, "updated": 0, "unchanged": 0}
    return ask


def counts(answer) -> dict[str, tuple[int, int, int]]:
    return {t["table"]: (t["rows_inserted"], t["rows_updated"], t["rows_unchanged"]) for t in answer["tables"]}


def test_filling_a_table_twice_stores_nothing_the_second_time(ask, sandbox):
    fill = ("backfill", "stock_prices_daily", "--from", "2015-03", "--to", "2015-04-20", "--symbols", "aapl,msft")
    first = ask(*fill)
    assert "stock_prices_daily: freshness: instruments lack their last finished session: 2 of 2" in ask.messages
    assert "instruments: AAPL, MSFT" in ask.messages
    second = ask(*fill)
    assert counts(first)["stock_prices_daily"] == (2 * 43, 0, 0)  # 22 sessions in March 2015, 21 in April
    assert counts(second)["stock_prices_daily"] == (0, 0, 2 * 43)
    assert second["success"]
    assert sandbox.calls("yahoo")["by_symbol"] == {"AAPL": 2, "MSFT": 2}


def test_an_added_instrument_has_the_currency_and_the_time_zone_of_its_exchange(ask):
    ask("instruments", "add", "VOD.L", "--type", "stock", "--exchange", "XLON")
    ask("instruments", "add", "7203.T", "--type", "stock", "--exchange", "XTKS")
    ask("instruments", "add", "CCL.L", "--type", "stock", "--exchange", "XLON", "--currency", "USD")
    listed = {each["symbol"]: each for each in ask("instruments", "list")["instruments"]}
    found = {
        symbol: (listed[symbol]["currency"], listed[symbol]["timezone"]) for symbol in ("VOD.L", "7203.T", "CCL.L")
    }
    assert found == {
        "VOD.L": ("GBP", "Europe/London"),
        "7203.T": ("JPY", "Asia/Tokyo"),
        "CCL.L": ("USD", "Europe/London"),
    }


def test_updating_a_symbol_brings_its_tables_and_indicators_up_to_date(recent, ask):
    assert set(counts(ask("update", "btc"))) == {"crypto_prices_daily", "indicators_daily", *COMPUTED}


def test_a_seed_stores_minutes_and_the_bars_made_of_them_and_daily_bars_by_default(ask):
    minutes = counts(ask("seed", "btc", "--interval", "1m", "--days", "1"))
    assert minutes["ohlc_1m"][0] >= 1440
    assert minutes["ohlc_1h"][0] >= 24
    daily = counts(ask("seed", "AAPL", "--days", "60"))
    assert daily["stock_prices_daily"][0] >= 40
    assert daily["indicators_daily"][0] >= 40


def test_one_failing_instrument_is_named_and_the_others_are_stored(ask, sandbox):
    sandbox.delist("MSFT")
    answer = ask("backfill", "stock_prices_daily", "--from", "2015-03", "--to", "2015-03")
    assert "warning: MSFT failed: yahoo" in ask.messages
    assert counts(answer)["stock_prices_daily"] == (22, 0, 0)
    assert list(answer["tables"][0]["failures"]) == ["MSFT"]


def test_when_nothing_could_be_stored_the_command_fails_with_the_reason(ask, sandbox, capsys):
    sandbox.delist("MSFT")
    fill = ["backfill", "stock_prices_daily", "--from", "2015-03", "--to", "2015-03", "--symbols", "MSFT"]
    assert run(fill) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("financehub: run ")
    assert "stock_prices_daily: nothing stored, 1 instrument failed; MSFT: yahoo" in line


def test_instruments_are_added_changed_removed_and_listed(ask):
    add = ("instruments", "add", "eth", "--type", "crypto", "--name", "Ether", "--alias", "binance=ETHUSDT")
    assert ask(*add) == {"inserted": 1, "updated": 0, "unchanged": 0}
    assert ask(*add) == {"inserted": 0, "updated": 0, "unchanged": 1}
    assert ask("instruments", "remove", "eth") == {"removed": ["ETH"], "ended": 0}
    listed = ask("instruments", "list", "--type", "crypto")["instruments"]
    assert [i["symbol"] for i in listed] == ["BTC"]
    everything = ask("instruments", "list", "--all", "--type", "crypto")["instruments"]
    assert [(i["symbol"], i["is_active"], i["aliases"]) for i in everything] == [
        ("BTC", True, {"binance": "BTCUSDT"}),
        ("ETH", False, {"binance": "ETHUSDT"}),
    ]


def test_an_account_that_holds_nothing_is_told_from_one_that_is_not_there(ask, folder):
    assert "nothing is held" in ask("holdings", "list", "--account", "main", code=2)["error"]
    (folder / "held.csv").write_text("account,symbol,quantity,cost,opened_on\nmain,AAPL,1,100,2015-03-02\n")
    ask("holdings", "import", "held.csv")
    assert [each["symbol"] for each in ask("holdings", "list", "--account", "main")["holdings"]] == ["AAPL"]
    assert "did you mean main" in ask("holdings", "list", "--account", "mian", code=2)["error"]


def test_the_address_of_the_database_is_printed_and_migrating_again_changes_nothing(ask, database):
    url = ask("db", "url")["url"]
    assert url == libpq_url(database.engine.url)
    assert ask.messages == ""
    with psycopg.connect(url) as connection:
        assert connection.execute("select count(*) from instruments").fetchone() == (3,)
    assert ask("db", "upgrade")["changed"] is False


def test_both_databases_have_their_tables_after_an_upgrade(folder, database, database_server, capsys):
    beside = f"{database.engine.url.database}_dagster"
    assert run(["db", "upgrade"]) == 0
    with autocommit(database_server.url(beside)) as connection:
        assert {"runs", "event_logs", "job_ticks", "daemon_heartbeats"} <= set(sa.inspect(connection).get_table_names())
    assert run(["health", "--json"]) == 1, "nothing runs"
    assert "db upgrade" not in capsys.readouterr().out


def test_people_get_tables_instead_of_json(ask, capsys):
    assert run(["instruments", "list"]) == 0
    told = capsys.readouterr()
    assert told.out.startswith("3 instruments\n")
    assert "Apple Inc." in told.out
    assert told.err == ""


def test_a_reader_that_stops_reading_is_no_error(ask):
    pipeline = f"{sys.executable} -m financehub_dagster.cli instruments list | true"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", pipeline], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("as_json", ["", "--json"])
def test_a_result_that_cannot_be_written_is_one_line(ask, as_json):
    command = f"{sys.executable} -m financehub_dagster.cli instruments list {as_json}"
    full = subprocess.run(["bash", "-c", f"{command} > /dev/full"], capture_output=True, text=True, check=False)
    line = "financehub: stdout cannot be written to (No space left on device): send the output elsewhere\n"
    assert (full.returncode, full.stderr) == (1, line)
    both = subprocess.run(
        ["bash", "-c", f"{command} --type nonsense > /dev/full"], stderr=subprocess.PIPE, text=True, check=False
    )
    assert (both.returncode, both.stderr.count("\n")) == (2, 1)
    closed = subprocess.run(["bash", "-c", f"{command} >&- 2>&-"], check=False)
    assert closed.returncode == 0


def test_an_instrument_that_is_added_again_keeps_what_is_not_given(ask):
    def stored() -> dict[str, Any]:
        [found] = [each for each in ask("instruments", "list")["instruments"] if each["symbol"] == "BRK.B"]
        return {name: found[name] for name in ("name", "exchange", "currency", "market_cap", "aliases")}

    add = ("instruments", "add", "BRK.B", "--type", "stock", "--exchange")
    given = ("--name", "Berkshire", "--market-cap", "1e12", "--alias", "yahoo=BRK-B", "--currency", "CAD")
    ask(*add, "XNYS", *given)
    before = stored()
    assert before["aliases"] == {"yahoo": "BRK-B"}
    ask("instruments", "remove", "BRK.B")
    ask(*add, "XNYS")
    assert stored() == before
    ask(*add, "XNYS", "--alias", "finnhub=BRK.B")
    assert stored() == before | {"aliases": {"finnhub": "BRK.B"}}
    ask(*add, "XETR")
    assert stored() == before | {"aliases": {}, "exchange": "XETR", "currency": "EUR"}


def test_a_stream_that_lacks_characters_gets_others_in_their_place(ask):
    listing = [sys.executable, "-m", "financehub_dagster.cli", "instruments", "list"]
    plain = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(listing, capture_output=True, text=True, check=False, env=plain)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Apple Inc." in done.stdout


def test_an_interrupted_command_says_so_in_one_line_and_one_document(ask, database):
    waiting = sa.text("select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'")
    with database.engine.begin() as holder, autocommit(database.engine.url) as observer:
        holder.execute(sa.text("lock table instruments"))
        listing = subprocess.Popen(
            [sys.executable, "-m", "financehub_dagster.cli", "instruments", "list", "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        eventually(lambda: observer.execute(waiting).first() is not None)
        listing.send_signal(signal.SIGINT)
        out, messages = listing.communicate()
    assert (json.loads(out), messages) == ({"error": "interrupted"}, "financehub: interrupted\n")
    assert listing.returncode == 1


def test_help_answers_without_loading_anything_heavy(folder):
    heavy = {"dagster", "pandas", "numpy", "sqlalchemy", "alembic", "psycopg", "yfinance", "pydantic_settings", "yaml"}
    text, modules = loaded_by("--help")
    assert "backfill" in text
    assert not heavy & modules


def test_status_reads_what_is_stored_without_loading_dagster(ask):
    text, modules = loaded_by("status", "--json")
    status = json.loads(text)
    assert (status["rows"]["instruments"], status["runs"]["started"]) == (3, 0)
    assert not {"dagster", "pandas", "numpy", "alembic", "yfinance"} & modules


def test_updating_a_symbol_loads_nothing_that_draws(recent, ask):
    text, modules = loaded_by("update", "AAPL", "--json")
    assert set(counts(json.loads(text))) == {"stock_prices_daily", "corporate_actions", "indicators_daily", *COMPUTED}
    assert not {"matplotlib", "mplfinance"} & modules
