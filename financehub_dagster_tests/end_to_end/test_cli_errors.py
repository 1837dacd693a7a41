"""Every bad input of the command line: one line that names the thing and the remedy, an exit code, nothing changed."""

import json
import socket
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from financehub_dagster.cli.app import run
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.settings import get_settings
from financehub_dagster.storage.database import schema
from financehub_dagster.storage.queries.instruments import upsert_instruments
from financehub_dagster_tests.fixtures.database import reset_engine

NEXT_YEAR = f"{datetime.now(UTC).year + 1}-01"
MARCH = ("--from", "2015-03", "--to", "2015-03")

WRONG_USAGE = {
    "unknown table": (["backfill", "stock_price_daily", *MARCH], "unknown table stock_price_daily: did you mean"),
    "table without partitions": (
        ["backfill", "instruments", *MARCH],
        "instruments is not filled by months: see `financehub jobs`",
    ),
    "unknown symbol": (
        ["backfill", "stock_prices_daily", *MARCH, "--symbols", "AAPL,APPL"],
        "unknown symbol APPL: did you mean AAPL?",
    ),
    "symbol of another table": (
        ["backfill", "stock_prices_daily", *MARCH, "--symbols", "BTC"],
        "BTC is of type crypto, which stock_prices_daily does not take",
    ),
    "month in the future": (
        ["backfill", "stock_prices_daily", "--from", "2015-03", "--to", NEXT_YEAR],
        f"--to {NEXT_YEAR} lies in the future: the running month is {datetime.now(UTC):%Y-%m}",
    ),
    "reversed dates": (
        ["backfill", "stock_prices_daily", "--from", "2015-04", "--to", "2015-03"],
        "--from 2015-04 lies after --to 2015-03: exchange them",
    ),
    "before the history": (
        ["backfill", "stock_prices_daily", "--from", "1999-01", "--to", "2015-03"],
        "--from 1999-01 lies before",
    ),
    "not a month": (
        ["backfill", "stock_prices_daily", "--from", "Q1", "--to", "2015-03"],
        "--from Q1: not a month; write it as 2024-03 or 2024-03-15",
    ),
    "missing option": (["backfill", "stock_prices_daily"], "Missing option '--from'. See `financehub backfill --help`"),
    "argument too many": (
        ["update", "AAPL", "MSFT", "now"],
        "Got unexpected extra argument(s) (MSFT now). See `financehub update --help`",
    ),
    "unknown command": (["backfil"], "No such command 'backfil'"),
    "seed at an unknown interval": (
        ["seed", "BTC", "--interval", "2m"],
        "--interval 2m: not an interval; choose one of",
    ),
    "update of an unknown symbol": (["update", "ETHER"], "unknown symbol ETHER"),
    "removal of an unknown symbol": (["instruments", "remove", "AAPL", "XYZ"], "unknown symbol XYZ"),
    "unknown exchange": (
        ["instruments", "add", "VOD", "--type", "stock", "--exchange", "LSE"],
        "--exchange LSE: not a known MIC. Choose from",
    ),
    "stock without exchange": (
        ["instruments", "add", "VOD", "--type", "stock"],
        "--exchange is missing: where is VOD listed?",
    ),
    "empty list of symbols": (["gaps", "--symbols", ""], "--symbols is empty"),
    "unknown kind": (["instruments", "add", "VOD", "--type", "bond"], "Invalid value for '--type'"),
    "alias at an unknown vendor": (
        ["instruments", "add", "BTC", "--type", "crypto", "--alias", "bnance=BTCUSDT"],
        "BTC: aliases: unknown vendor bnance: did you mean binance?",
    ),
    "rename to the same symbol": (["instruments", "rename", "AAPL", "aapl"], "AAPL is the symbol it has: name the new"),
    "new alias at an unknown vendor": (
        ["instruments", "rename", "AAPL", "APPL", "--alias", "bloomberg=APPL"],
        "--alias: unknown vendor bloomberg: there are alpha_vantage, binance,",
    ),
    "demo that ends before it begins": (
        ["demo", "--from", "2016-01", "--to", "2015-01"],
        "--from 2016-01 lies after --to 2015-01",
    ),
}


@pytest.fixture
def platform(database, folder):
    """A migrated database with two instruments, and a folder whose .env leads to it."""
    with database.engine.begin() as connection:
        apple = Instrument("AAPL", "Apple", AssetType.STOCK, "XNAS", timezone="America/New_York")
        upsert_instruments(connection, [apple, Instrument("BTC", "Bitcoin", AssetType.CRYPTO, "XXXX")])
    assert run(["instruments", "list", "--json"]) == 0
    return database


def contents(database) -> dict[str, list[sa.Row]]:
    with database.engine.begin() as connection:
        return {
            table.name: connection.execute(sa.select(table).order_by(*table.primary_key)).all()
            for table in schema.metadata.sorted_tables
        }


def only_line(text: str) -> str:
    [line] = text.splitlines()
    return line


def test_wrong_usage_is_one_line_and_changes_nothing(platform, folder, capsys):
    before, env = contents(platform), (folder / ".env").read_text()
    capsys.readouterr()
    for case, (arguments, message) in WRONG_USAGE.items():
        assert run(arguments) == 2, case
        told = capsys.readouterr()
        assert only_line(told.err).startswith(f"financehub: {message}"), case
        assert told.out == "", case
        assert contents(platform) == before, case
        assert (folder / ".env").read_text() == env, case


def test_a_malformed_file_is_named_by_line_and_column_and_nothing_of_it_is_imported(platform, folder, capsys):
    file = folder / "mine.csv"
    file.write_text("symbol,name,asset_type,exchange\nMSFT,Microsoft,stock,XNAS\nVOD,Vodafone,stock,LSE\n")
    before = contents(platform)
    capsys.readouterr()
    assert run(["instruments", "import", str(file)]) == 2
    assert only_line(capsys.readouterr().err).startswith("financehub: mine.csv: line 3, column exchange: 'LSE' is not")
    assert contents(platform) == before


def test_a_file_that_is_not_there_is_named(platform, capsys):
    capsys.readouterr()
    assert run(["instruments", "import", "nowhere.yaml"]) == 2
    assert only_line(capsys.readouterr().err) == "financehub: nowhere.yaml: cannot be read: No such file or directory"


def test_without_any_instrument_one_is_told_to_add_some(database, folder, capsys):
    for arguments in (["update", "AAPL"], ["gaps", "--symbols", "AAPL"], ["instruments", "remove", "AAPL"]):
        assert run(arguments) == 2
        assert only_line(capsys.readouterr().err) == (
            "financehub: unknown symbol AAPL: there are no instruments yet: "
            "`financehub instruments import` or `add` some first"
        ), arguments


def test_with_json_the_error_is_a_document_on_stdout_too(platform, capsys):
    capsys.readouterr()
    assert run(["update", "XYZ", "--json"]) == 2
    told = capsys.readouterr()
    assert f"financehub: {json.loads(told.out)['error']}\n" == told.err


def test_debug_shows_where_an_error_came_from(platform, capsys):
    capsys.readouterr()
    assert run(["update", "XYZ", "--debug"]) == 2
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_a_database_that_is_down_is_named_without_its_password(folder, monkeypatch, capsys):
    monkeypatch.setenv("FINANCEHUB_DATABASE_URL", "postgresql://fh:s3cret@127.0.0.1:1/market")
    for arguments in (["db", "upgrade"], ["instruments", "list"], ["backfill", "stock_prices_daily", *MARCH]):
        get_settings.cache_clear()
        reset_engine()
        assert run(arguments) == 1
        line = only_line(capsys.readouterr().err)
        assert "127.0.0.1:1 cannot be reached" in line
        assert "correct FINANCEHUB_DATABASE_URL" in line
        assert "s3cret" not in line


def test_a_database_without_tables_sends_to_the_migration(empty_database, folder, monkeypatch, capsys):
    monkeypatch.setenv("FINANCEHUB_DATABASE_URL", empty_database.render_as_string(hide_password=False))
    get_settings.cache_clear()
    reset_engine()
    assert run(["instruments", "list"]) == 1
    assert only_line(capsys.readouterr().err).endswith("run `financehub db upgrade`")


@pytest.mark.parametrize("day", ["0001-01-01", f"{NEXT_YEAR}-01"])
@pytest.mark.parametrize("name", ["FINANCEHUB_HISTORY_START", "FINANCEHUB_FIRST_DAY"])
def test_a_table_that_would_begin_on_an_impossible_day_is_refused(platform, monkeypatch, capsys, name, day):
    monkeypatch.setenv(name, day)
    get_settings.cache_clear()
    capsys.readouterr()
    for command in (["gaps"], ["update", "AAPL"]):
        assert run(command) == 1
        line = only_line(capsys.readouterr().err)
        assert line.startswith(f"financehub: unusable environment: {name}: write a day from 1800-01-01 to today")


def test_an_unusable_setting_is_named_and_its_value_is_not_shown(folder, monkeypatch, capsys):
    monkeypatch.setenv("FINANCEHUB_HISTORY_START", "s3cret")
    get_settings.cache_clear()
    assert run(["backfill", "stock_prices_daily", *MARCH]) == 1
    line = only_line(capsys.readouterr().err)
    assert "FINANCEHUB_HISTORY_START" in line
    assert "s3cret" not in line


@pytest.mark.parametrize("command", ["up", "demo"])
def test_a_taken_port_is_refused_before_anything_is_created(folder, capsys, command):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert run([command, "--port", str(port)]) == 1
    line = only_line(capsys.readouterr().err)
    assert line == f"financehub: port {port} is taken: stop what listens there, or choose another one with --port"
    assert not (folder / ".env").exists()
    assert not list(folder.glob("**/postgres"))


def test_a_sandbox_on_a_taken_port_is_refused(folder, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert run(["sandbox", "--port", str(port)]) == 1
    assert only_line(capsys.readouterr().err).startswith(f"financehub: port {port} on 127.0.0.1 cannot be used")


def test_sample_prices_and_real_ones_do_not_share_a_home(folder, monkeypatch, capsys):
    (folder / "home").mkdir()
    (folder / "home/mode").write_text("sandbox\n")
    monkeypatch.setenv("FINANCEHUB_HOME", "home")
    assert run(["up"]) == 2
    assert "holds sandbox data, which must not mix with live data" in only_line(capsys.readouterr().err)


def test_stopping_what_never_ran_is_done_at_once_and_again(folder, capsys):
    for _ in range(2):
        assert run(["down"]) == 0
        assert capsys.readouterr().out == "nothing was running\n"
