"""Freshness in the sessions of each exchange, runtimes of scheduled runs, and the breaches of both."""

from datetime import UTC, date, datetime, timedelta

import pytest
import sqlalchemy as sa

from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.operations.freshness import late_bounds, measure, open_seconds
from financehub_dagster.operations.sla import follow_freshness, follow_runtimes, late_tables, runtimes
from financehub_dagster.settings import get_settings
from financehub_dagster.storage.database.month_partitions import ensure_months
from financehub_dagster.storage.operations.freshness import Freshness
from financehub_dagster.storage.queries.instruments import upsert_instruments
from financehub_dagster.storage.rate_limits import usage
from financehub_dagster_tests.fixtures.database import Database
from financehub_dagster_tests.fixtures.folder import REPOSITORY

UNIVERSE = [
    Instrument("AAPL", "Apple", AssetType.STOCK, "XNAS"),
    Instrument("SAP", "SAP", AssetType.STOCK, "XETR"),
    Instrument("7203", "Toyota", AssetType.STOCK, "XTKS"),
    Instrument("BTC", "Bitcoin", AssetType.CRYPTO, "XXXX"),
]
THANKSGIVING = date(2026, 11, 26)


@pytest.fixture
def market(database) -> Database:
    with database.engine.begin() as connection:
        upsert_instruments(connection, UNIVERSE)
        connection.exec_driver_sql("update instruments set updated_at = '2026-01-01'")
    return database


def bar(database: Database, symbol: str, day: date, table: str = "stock_prices_daily") -> None:
    statement = f"""insert into {table} (symbol, date, open, high, low, close, volume, source, fetched_at)
        values (:symbol, :day, 1, 1, 1, 1, 1, 'test', now())"""
    with database.engine.begin() as connection:
        connection.execute(sa.text(statement), {"symbol": symbol, "day": day})


def quote(database: Database, symbol: str, at: datetime) -> None:
    statement = """insert into quotes (symbol, quoted_at, price, currency, source, fetched_at)
        values (:symbol, :at, 1, 'USD', 'test', now())"""
    with database.engine.begin() as connection:
        connection.execute(sa.text(statement), {"symbol": symbol, "at": at})


def measured(database: Database, now: datetime, table: str) -> dict[str, Freshness]:
    with database.engine.connect() as connection:
        return {each.subject: each for each in measure(connection, now) if each.table == table}


def late(database: Database, now: datetime, table: str = "stock_prices_daily") -> set[str]:
    return {subject for subject, each in measured(database, now, table).items() if each.is_late}


def test_a_holiday_is_not_late_and_the_next_session_is(market):
    """Wall Street is closed on Thanksgiving, Frankfurt is not; Friday's session ends at 18:00 UTC."""
    for symbol in ("AAPL", "SAP"):
        bar(market, symbol, date(2026, 11, 25))
    bar(market, "7203", date(2026, 11, 27))
    assert late(market, datetime(2026, 11, 27, 3, tzinfo=UTC)) == {"XETR"}
    bar(market, "SAP", THANKSGIVING)
    assert late(market, datetime(2026, 11, 27, 23, 50, tzinfo=UTC)) == {"XETR"}
    assert late(market, datetime(2026, 11, 28, 0, 10, tzinfo=UTC)) == {"XNAS", "XETR"}
    bar(market, "AAPL", date(2026, 11, 27))
    bar(market, "SAP", date(2026, 11, 27))
    assert late(market, datetime(2026, 11, 29, 12, tzinfo=UTC)) == set()


def test_when_the_next_rows_are_due_is_known_before_they_are(market):
    bar(market, "AAPL", date(2026, 11, 25))
    fresh = measured(market, datetime(2026, 11, 26, 12, tzinfo=UTC), "stock_prices_daily")["XNAS"]
    assert (fresh.due, fresh.late) == (datetime(2026, 11, 27, 18, tzinfo=UTC), 0.0)


def test_quotes_are_late_after_time_in_which_the_market_was_open(market):
    """New York opens at 14:30 UTC in November."""
    quote(market, "AAPL", datetime(2026, 11, 24, 20, 50, tzinfo=UTC))
    for day, hour, minute, expected in ((25, 3, 0, set()), (25, 14, 55, set()), (25, 15, 5, {"XNAS"})):
        found = late(market, datetime(2026, 11, day, hour, minute, tzinfo=UTC), "quotes")
        assert found & {"XNAS"} == expected
    assert measured(market, datetime(2026, 11, 25, 15, tzinfo=UTC), "quotes")["XNAS"].late == 40 * 60


def test_minutes_are_late_after_time_in_which_the_market_was_open_and_not_on_a_holiday(market):
    statement = """insert into ohlc_1m (symbol, ts, open, high, low, close, volume, source, fetched_at)
        values (:symbol, :at, 1, 1, 1, 1, 1, 'test', now())"""
    with market.engine.begin() as connection:
        ensure_months(connection, "ohlc_1m", [date(2026, 11, 1)])
        for symbol, at in (("AAPL", "2026-11-25 20:59+00"), ("BTC", "2026-11-29 11:30+00")):
            connection.execute(sa.text(statement), {"symbol": symbol, "at": at})
    for day, hour, minute, expected in ((26, 18, 0, set()), (27, 15, 5, set()), (27, 15, 15, {"XNAS"})):
        found = late(market, datetime(2026, 11, day, hour, minute, tzinfo=UTC), "ohlc_1m")
        assert found & {"XNAS"} == expected
    assert "XXXX" not in late(market, datetime(2026, 11, 29, 12, tzinfo=UTC), "ohlc_1m")  # a Sunday
    assert "XXXX" in late(market, datetime(2026, 11, 29, 12, 15, tzinfo=UTC), "ohlc_1m")


def test_quotes_of_cryptos_are_late_at_any_hour(market):
    quote(market, "BTC", datetime(2026, 11, 28, 23, 55, tzinfo=UTC))
    assert "XXXX" not in late(market, datetime(2026, 11, 29, 0, 4, tzinfo=UTC), "quotes")
    assert "XXXX" in late(market, datetime(2026, 11, 29, 0, 6, tzinfo=UTC), "quotes")


def test_lunch_is_no_time_of_an_open_market():
    """Tokyo trades 00:00 to 02:30 and 03:30 to 06:30 UTC."""
    toyota = UNIVERSE[2]
    start, end = datetime(2026, 11, 25, 2, 20, tzinfo=UTC), datetime(2026, 11, 25, 3, 40, tzinfo=UTC)
    assert open_seconds(toyota, start, end) == 20 * 60
    assert open_seconds(toyota, end, start) == 0


def test_a_table_of_a_disabled_vendor_is_not_late_and_one_that_was_fed_is(market):
    now = datetime(2026, 11, 29, 12, tzinfo=UTC)
    assert late(market, now, "crypto_markets") == set()
    statement = """insert into crypto_markets (symbol, quoted_at, price, currency, source, fetched_at)
        values ('BTC', '2026-11-29 08:00+00', 1, 'USD', 'test', now())"""
    with market.engine.begin() as connection:
        connection.exec_driver_sql(statement)
    assert late(market, now, "crypto_markets") == {"XXXX"}


def test_a_breach_is_one_row_from_its_beginning_to_its_end(market, dagster_tables):
    query = sa.text(
        "select table_name, subject, ended_at is null, worst > bound from sla_breaches"
        " where subject = 'XNAS' and table_name in ('quotes', 'stock_prices_daily')"
    )
    bar(market, "AAPL", date(2026, 11, 25))
    for hours in (0, 1, 2):
        with market.engine.begin() as connection:
            connection.exec_driver_sql("update table_freshness set measured_at = now() - interval '1 minute'")
        assert follow_freshness(datetime(2026, 11, 28, 12, tzinfo=UTC) + timedelta(hours=hours))
        assert not follow_freshness(datetime(2026, 11, 28, 12, tzinfo=UTC))  # just measured
    with market.engine.connect() as connection:
        rows = [tuple(row) for row in connection.execute(query)]
    assert sorted(rows) == [("quotes", "XNAS", True, True), ("stock_prices_daily", "XNAS", True, True)]
    bar(market, "AAPL", date(2026, 11, 27))
    with market.engine.begin() as connection:
        connection.exec_driver_sql("update table_freshness set measured_at = now() - interval '1 minute'")
    follow_freshness(datetime(2026, 11, 28, 15, tzinfo=UTC))
    with market.engine.connect() as connection:
        assert ("stock_prices_daily", "XNAS", False, True) in [tuple(row) for row in connection.execute(query)]


def test_freshness_that_has_not_changed_is_not_written_again(market, dagster_tables):
    now = datetime(2026, 11, 28, 12, tzinfo=UTC)
    follow_freshness(now)
    with market.engine.begin() as connection:
        connection.exec_driver_sql("update table_freshness set measured_at = now() - interval '1 minute'")
        connection.exec_driver_sql("insert into table_freshness values ('gone', '', null, null, 1, 0, '2020-01-01')")
        connection.exec_driver_sql("update table_freshness set late = -1 where table_name = 'quotes'")
        others = connection.exec_driver_sql("select count(*) from table_freshness where late >= 0").scalar_one()
    assert follow_freshness(now)
    query = """select count(*) filter (where written and table_name = 'quotes'),
        count(*) filter (where written and table_name <> 'quotes'),
        count(*) filter (where late < 0 or table_name = 'gone')
        from (select *, measured_at > now() - interval '30 seconds' as written from table_freshness) as seen"""
    with market.engine.connect() as connection:
        changed, unchanged, wrong = connection.exec_driver_sql(query).one()
    assert (changed > 0, unchanged, wrong) == (True, 1, 0)
    assert others > 2
    assert not follow_freshness(now)  # just measured


def step(dagster_tables, run_id: str, minutes: float, kind: str = "STEP_START") -> None:
    dagster_tables.execute(
        "insert into event_logs (run_id, event, dagster_event_type, step_key, timestamp) values (:run_id, '{}', :kind,"
        " 'quotes', clock_timestamp() at time zone 'UTC' - make_interval(secs => :seconds))",
        run_id=run_id,
        kind=kind,
        seconds=60 * minutes,
    )


def test_a_scheduled_run_that_takes_too_long_is_a_breach_while_it_lasts_and_a_backfill_is_none(market, dagster_tables):
    for run_id in ("scheduled", "backfill", "done", "quick"):
        dagster_tables.run(run_id, "STARTED", job="fetch_stock_prices", ago=1200)
        step(dagster_tables, run_id, 2 if run_id == "quick" else 10)
        if run_id != "backfill":
            tag = "insert into run_tags (run_id, key, value) values (:run_id, 'dagster/schedule_name', 'x')"
            dagster_tables.execute(tag, run_id=run_id)
    step(dagster_tables, "done", 9, "STEP_SUCCESS")
    query = sa.text("select subject, kind, ended_at is null, detail from sla_breaches")
    follow_runtimes()
    follow_runtimes()
    with market.engine.connect() as connection:
        [found] = [tuple(row) for row in connection.execute(query)]
    assert found == ("scheduled", "runtime", True, "run schedule of fetch_stock_prices has taken 10 minutes")
    step(dagster_tables, "scheduled", 0, "STEP_SUCCESS")
    follow_runtimes()
    with market.engine.connect() as connection:
        assert [tuple(row)[2] for row in connection.execute(query)] == [False]


def test_a_breach_says_what_was_due_when():
    due = datetime(2026, 11, 27, 18, tzinfo=UTC)
    fresh = Freshness("stock_prices_daily", "XNAS", datetime(2026, 11, 25, tzinfo=UTC), due, 3600.0, 7200.0)
    [breach] = late_tables([fresh, Freshness("quotes", "XNAS", None, due, 3600.0, 1800.0)])
    assert (breach.bound, breach.taken) == (3600.0, 7200.0)
    assert breach.detail == "XNAS: rows newer than 2026-11-25 00:00 UTC were due 2026-11-27 18:00 UTC"
    [never] = late_tables([Freshness("stock_prices_daily", "XNAS", None, due, 3600.0, 7200.0)])
    assert never.detail == "XNAS: the first rows were due 2026-11-27 18:00 UTC"


def test_a_table_is_not_late_in_a_market_of_which_it_holds_nothing(market):
    """No indicators are computed of currencies, whose daily bars are the input of no table of indicators."""
    with market.engine.begin() as connection:
        upsert_instruments(connection, [Instrument("EURUSD", "Euro", AssetType.FX, "XXXX")])
        connection.exec_driver_sql("update instruments set updated_at = '2026-01-01'")
    now = datetime(2026, 11, 28, 12, tzinfo=UTC)
    assert "FX" in late(market, now, "fx_prices_daily")
    assert set(measured(market, now, "indicators_daily")) == {"XNAS", "XETR", "XTKS", "XXXX"}


def test_the_bars_of_a_new_instrument_are_due_when_it_is_listed_and_not_before(market):
    """Listed on a Friday evening, hours after Tokyo's close: the session of that day is missing from then on."""
    listed = datetime(2026, 11, 27, 18, 45, tzinfo=UTC)
    with market.engine.begin() as connection:
        connection.execute(sa.text("update instruments set updated_at = :at"), {"at": listed})
    assert late(market, listed + timedelta(minutes=1)) == set()
    assert measured(market, listed, "stock_prices_daily")["XTKS"].due == listed
    assert "XTKS" in late(market, listed + timedelta(hours=7))


def words(bound: timedelta) -> str:
    """A bound as the documentation writes it."""
    minutes = int(bound.total_seconds() / 60)
    for size, unit in ((1440, "days"), (60, "h")):
        if minutes % size == 0:
            return f"{minutes // size} {unit}"
    return f"{minutes} min"


def test_the_documentation_has_every_bound():
    page = (REPOSITORY / "docs/operations.md").read_text()
    lines = page[page.index("\n## SLA\n") : page.index("\n## Alerts\n")].splitlines()
    table = {line.split("`")[1]: line.split("|") for line in lines if line.startswith("| `")}
    for bound in late_bounds():
        assert words(bound.late) in table[bound.table][3]
    for name, runtime in runtimes().items():
        assert words(runtime) in table[name][4]
    assert set(table) == {bound.table for bound in late_bounds()} | set(runtimes())


def clock(database: Database, seconds: float) -> None:
    """Binance's clock is ahead of ours by so many seconds."""
    with database.engine.begin() as connection:
        connection.exec_driver_sql("delete from api_usage")
    usage.count(database.engine, "binance", "ip", "ok", offset=seconds)


@pytest.mark.parametrize("step", [3000.0, -3000.0, 0.0])
def test_a_clock_that_was_set_wrong_makes_no_table_late(market, dagster_tables, monkeypatch, step):
    """The quotes are three minutes old by the vendors' clock; ours is `step` seconds ahead of it."""
    monkeypatch.delenv("BINANCE_BASE_URL", raising=False)
    get_settings.cache_clear()
    now = datetime.now(UTC)
    quote(market, "BTC", now - timedelta(minutes=3))
    clock(market, -step)
    assert follow_freshness(now + timedelta(seconds=step))
    with market.engine.connect() as connection:
        found = connection.execute(
            sa.text("select late > bound from table_freshness where table_name = 'quotes' and subject = 'XXXX'")
        )
        assert not found.scalar_one()
