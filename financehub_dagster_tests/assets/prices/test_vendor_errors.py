"""Each kind of error, put into one vendor's answers, is measured as what it is and as that vendor's."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from financehub_dagster.ingest.vendor_errors import Compared, measure
from financehub_dagster.market import calendars
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.market.quality.vendor_errors import NAMES
from financehub_dagster.providers.base import DailyBars
from financehub_dagster.storage.measured_bars import COMPARED
from financehub_dagster_tests.assets.conftest import Platform
from financehub_dagster_tests.assets.snapshots.answers import make_room
from financehub_dagster_tests.fixtures.database import Database
from financehub_dagster_tests.fixtures.vendor_faults import FAULTS, SECOND, SYMBOLS, THIRD, YAHOO, fill, reconcile


def measured(platform: Platform) -> dict[str, list[tuple[str, str, bool, int]]]:
    found: dict[str, list[tuple[str, str, bool, int]]] = {symbol: [] for symbol in SYMBOLS}
    query = "select symbol, vendor, kind, decided, bars from measured_bars where kind <> 'compared' order by 1, 2, 3"
    for symbol, *error in platform.rows(query):
        found[symbol].append(tuple(error))
    return found


@pytest.fixture
def faulty(keyed_platform: Platform) -> Platform:
    """Stocks whose stored bars are Yahoo's, with one fault of one vendor each."""
    fill(keyed_platform)
    return keyed_platform


def test_each_kind_of_error_is_measured_as_what_it_is(faulty: Platform) -> None:
    metadata = reconcile(faulty)
    found = measured(faulty)
    wanted = {fault.symbol: sorted(fault.errors) for fault in FAULTS}
    many = {symbol for symbol, errors in wanted.items() if any(not bars for *_, bars in errors)}
    named = {
        symbol: [(*error[:3], 0 if symbol in many else error[3]) for error in errors]
        for symbol, errors in found.items()
    }
    assert named == wanted
    assert {kind for errors in wanted.values() for _, kind, *_ in errors} == set(NAMES)
    assert "| twelve_data | `missing` | 1 |" in str(metadata["errors of vendors"].value)
    compared = faulty.rows(
        "select vendor, bars from measured_bars where symbol = 'NVDA' and kind = 'compared' order by 1"
    )
    assert compared == [(SECOND, 40), (YAHOO, 40)]

    reconcile(faulty)
    assert measured(faulty) == found

    faulty.sandbox.reset()
    make_room(faulty.sandbox)
    reconcile(faulty)
    left = {error for errors in measured(faulty).values() for error in errors}
    of_yahoo = {(vendor, kind) for errors in wanted.values() for vendor, kind, decided, _ in errors if decided}
    of_yahoo = {(vendor, kind) for vendor, kind in of_yahoo if vendor == YAHOO}
    assert {(vendor, kind) for vendor, kind, *_ in left} == of_yahoo | {(THIRD, "dividend_day")}


SESSIONS = [date(2024, 1, day) for day in (2, 3, 4, 5, 8, 9, 10, 11, 12)]
SATURDAY = date(2024, 1, 6)
STOCK = Instrument("AAPL", "Apple", AssetType.STOCK, "XNAS", "USD", "America/New_York")


def bars(days: list[date], **changes: dict[date, float]) -> pd.DataFrame:
    """Bars of these days, some values other than usual."""
    close = 100.0 + np.array([day.toordinal() % 7 for day in days])
    columns = {"open": close, "high": close + 1, "low": close - 1, "close": close, "adj_close": close}
    frame = pd.DataFrame({"date": pd.to_datetime(days), **columns, "volume": 1000.0})
    for name, values in changes.items():
        for day, value in values.items():
            frame.loc[frame["date"].dt.date == day, name] = value
    return frame


def errors(
    database: Database,
    stored: pd.DataFrame,
    told: pd.DataFrame,
    flags: dict[date, str] | None = None,
    of: Instrument = STOCK,
) -> dict[str, list[tuple[str, bool, int]]]:
    """The errors measured of each vendor whose bars were compared; flags: of stored bars."""
    own = flags or {}
    kept = pd.Series([[own[day]] if day in own else [] for day in stored["date"].dt.date], dtype=object)
    stored = stored.assign(source=YAHOO, flags=kept, fetched_at=pd.Timestamp("2024-02-01", tz="UTC"))
    actions = pd.DataFrame({"date": pd.to_datetime([]), "kind": [], "value": np.array([], float)})
    answer = DailyBars("AAPL", told, actions, SECOND, datetime.now(UTC), 1)
    with database.engine.begin() as connection:
        found = measure(connection, Compared("stock_prices_daily", of, stored, answer, None))
    return {
        vendor: [(each.kind, each.decided, len(each.sessions)) for each in those if each.kind != COMPARED]
        for vendor, those in found.items()
    }


def test_a_vendor_has_not_to_have_bars_that_show_no_trade_or_have_an_error(database: Database) -> None:
    without = bars([day for day in SESSIONS if day != date(2024, 1, 9)])
    day = date(2024, 1, 9)
    assert errors(database, bars(SESSIONS), without) == {YAHOO: [], SECOND: [("missing", True, 1)]}
    assert errors(database, bars(SESSIONS, volume={day: 0.0}), without) == {YAHOO: [], SECOND: []}
    index = bars(SESSIONS).assign(volume=0.0)
    assert errors(database, index, without.assign(volume=0.0))[SECOND] == [("missing", True, 1)]
    flagged = errors(database, bars(SESSIONS), without, {day: "stale"})
    assert flagged == {YAHOO: [("stale", False, 1)], SECOND: []}


def test_a_day_without_a_session_of_which_both_vendors_have_a_bar_is_no_error(database: Database) -> None:
    more = sorted([*SESSIONS, SATURDAY])
    assert errors(database, bars(more), bars(more)) == {YAHOO: [], SECOND: []}
    assert errors(database, bars(more), bars(SESSIONS)) == {YAHOO: [("no_session", True, 1)], SECOND: []}
    assert errors(database, bars(SESSIONS), bars(more)) == {YAHOO: [], SECOND: [("no_session", True, 1)]}


def test_a_day_of_which_nobody_knows_whether_it_has_a_session_tells_of_no_error(database: Database) -> None:
    indian = Instrument("RELIANCE", "Reliance", AssetType.STOCK, "XBOM", "INR", "Asia/Kolkata")
    last = calendars.known_to(indian)
    known = calendars.known(indian, last - timedelta(days=14), last).dates.tolist()
    later = [last + timedelta(days=number) for number in range(1, 7)]
    assert known
    assert errors(database, bars([*known, *later]), bars(known), of=indian) == {YAHOO: [], SECOND: []}


def test_a_vendor_without_bars_has_no_rate(database: Database) -> None:
    """Of its errors alone it would be wrong in each bar."""
    with database.engine.begin() as connection:
        connection.execute(
            sa.text(
                "insert into empty_answers (table_name, symbol, sessions, provider, asked, last_asked_at)"
                " values ('stock_prices_daily', 'AAPL', '{[2024-01-08,2024-01-10]}', 'finnhub', 1, now())"
            )
        )
        connection.execute(
            sa.text(
                "insert into rejected_rows (table_name, symbol, date, rule, row, source)"
                " values ('stock_prices_daily', 'AAPL', '2024-01-08', 'positive', '{\"low\": -1}', 'finnhub')"
            )
        )
    assert errors(database, bars(SESSIONS), bars(SESSIONS)) == {YAHOO: [], SECOND: []}
