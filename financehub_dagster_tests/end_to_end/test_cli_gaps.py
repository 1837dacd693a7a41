"""`financehub gaps`: what is missing, filled at once, and a ledger that can be trusted again."""

import json
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from financehub_dagster.cli.app import run
from financehub_dagster.settings import get_settings

STOCKS, CRYPTOS, INDICATORS = "stock_prices_daily", "crypto_prices_daily", "indicators_daily"
UNIVERSE = """
- {symbol: AAPL, name: Apple Inc., asset_type: stock, exchange: XNAS, market_cap: 3000}
- {symbol: MSFT, name: Microsoft, asset_type: stock, exchange: XNAS, market_cap: 2000}
- {symbol: BTC, name: Bitcoin, asset_type: crypto, exchange: XXXX, aliases: {binance: BTCUSDT}}
"""


@pytest.fixture
def ask(folder, database, dagster_database, sandbox, capsys, monkeypatch):
    """Commands in a folder with three instruments and a history of some seven weeks."""
    start = (datetime.now(UTC) - timedelta(days=35)).date().replace(day=1)
    monkeypatch.setenv("FINANCEHUB_HISTORY_START", start.isoformat())
    get_settings.cache_clear()

    def ask(*arguments: str, code: int = 0):
        assert run([*arguments, "--json"]) == code
        return json.loads(capsys.readouterr().out)

    (folder / "mine.yaml").write_text(UNIVERSE)
    ask("instruments", "import", "mine.yaml")
    return ask


def missing(answer) -> dict[str, int]:
    return {table: counts["gap"] for table, counts in answer["tables"].items()}


def test_what_is_missing_is_filled_at_once_and_shown_as_stored(ask, sandbox):
    before = ask("gaps")
    assert before["tables"][STOCKS]["gap"] == before["tables"][STOCKS]["expected"] > 40
    assert before["tables"][INDICATORS]["expected"] == 0
    assert [row["symbol"] for row in before["open"]] == ["BTC", "AAPL", "MSFT"]
    healed = ask("gaps", "--heal")
    assert healed["healed"]["runs"] == 2
    assert set(missing(healed).values()) == {0}
    for table in (STOCKS, CRYPTOS):
        assert healed["tables"][table]["stored"] == before["tables"][table]["expected"]
    assert healed["tables"][INDICATORS]["stored"] == sum(healed["tables"][t]["stored"] for t in (STOCKS, CRYPTOS))
    assert healed["open"] == []
    assert sandbox.calls("yahoo")["by_symbol"] == {"AAPL": 1, "MSFT": 1}
    again = ask("gaps", "--heal")
    assert (again["healed"]["runs"], again["rebuilt"]) == (0, None)


def test_only_the_table_and_the_symbols_asked_for_are_filled(ask, sandbox):
    healed = ask("gaps", "--heal", "--table", STOCKS, "--symbols", "msft")
    assert list(healed["tables"]) == [STOCKS]
    assert healed["tables"][STOCKS]["gap"] == 0
    assert sandbox.calls("yahoo")["by_symbol"] == {"MSFT": 1}
    assert ask("gaps", "--symbols", "AAPL")["tables"][STOCKS]["stored"] == 0


def test_an_instrument_that_cannot_be_filled_is_a_dead_letter_and_the_others_are_stored(ask, sandbox):
    sandbox.delist("MSFT")
    answer = ask("gaps", "--heal", "--table", STOCKS)
    assert "MSFT" in answer["healed"]["failures"]
    counts = answer["tables"][STOCKS]
    assert (counts["gap"], counts["dead_lettered"]) == (0, counts["stored"])
    assert ask("gaps", "--heal", "--table", STOCKS)["healed"]["runs"] == 0


def test_when_nothing_can_be_filled_the_command_fails_with_the_reason(ask, sandbox):
    sandbox.delist("MSFT")
    error = ask("gaps", "--heal", "--table", STOCKS, "--symbols", "MSFT", code=1)["error"]
    assert error.startswith("1 of 1 run failed: stock_prices_daily: nothing stored, 1 instrument failed; MSFT: yahoo")
    assert error.endswith("the work waits in the dead letters")


def test_a_ledger_edited_by_hand_is_computed_anew(ask, database):
    right = ask("gaps")
    with database.engine.begin() as connection:
        connection.execute(sa.text("update coverage set gap = '{}' where symbol = 'AAPL'"))
    assert missing(ask("gaps")) != missing(right)
    rebuilt = ask("gaps", "--rebuild")
    assert rebuilt["rebuilt"] >= 1
    assert {**rebuilt, "rebuilt": None} == right
    assert ask("gaps", "--rebuild")["rebuilt"] == 0


def test_an_instrument_that_left_is_not_missing_anything(ask):
    ask("instruments", "remove", "BTC")
    answer = ask("gaps")
    assert answer["tables"][CRYPTOS]["expected"] == 0
    assert "BTC" not in [row["symbol"] for row in answer["open"]]


def test_what_cannot_be_meant_is_refused(ask):
    for options, error in (
        (["--table", "stock_price_daily"], "unknown table stock_price_daily: did you mean stock_prices_daily"),
        (["--symbols", "APPL"], "unknown symbol APPL: did you mean AAPL?"),
        (["--table", CRYPTOS, "--symbols", "AAPL"], "AAPL is of type stock, which crypto_prices_daily does not take"),
    ):
        assert ask("gaps", *options, code=2)["error"].startswith(error), options


def test_people_get_tables(ask, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert run(["gaps"]) == 0
    told = capsys.readouterr().out
    assert "sessions" in told
    assert "instruments that lack most" in told
    assert "worst month" in told


def test_an_instrument_whose_sessions_are_unknown_is_named_and_the_others_are_counted(ask, database, folder, capsys):
    ask("instruments", "add", "ODD", "--type", "stock", "--exchange", "XNSE")
    with database.engine.begin() as connection:
        connection.execute(sa.text("update instruments set exchange = 'XXYZ' where symbol = 'ODD'"))
    found = ask("gaps", "--rebuild")
    assert found["unknown"] == [
        {"symbols": ["ODD"], "reason": "no sessions are known for exchange 'XXYZ': use its ISO 10383 code"}
    ]
    assert {row["symbol"] for row in found["open"]} == {"AAPL", "MSFT", "BTC"}
    assert run(["gaps"]) == 0
    told = capsys.readouterr()
    assert "warning: no sessions are known for exchange 'XXYZ': use its ISO 10383 code; concerns ODD" in told.err
    corrections = folder / ".financehub" / "live" / "exchange_corrections.csv"
    corrections.parent.mkdir(parents=True, exist_ok=True)
    corrections.write_text("mic,date,kind\nXNYS,tomorrow,holiday\n")
    (line,) = [each["reason"] for each in ask("gaps")["unknown"] if not each["symbols"]]
    assert line == f"{corrections}: line 2: 'tomorrow' is not a date such as 2027-01-26"
