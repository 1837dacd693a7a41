"""An instrument whose sessions are unknown stops no other one: ledger, gaps, freshness and open markets go on."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pytest

from financehub_dagster.assets.checks import bars, snapshots
from financehub_dagster.assets.checks.evidence import Covered
from financehub_dagster.assets.checks.scope import members_of
from financehub_dagster.automation.jobs.table_jobs import any_open
from financehub_dagster.market import calendars
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.settings import get_settings
from financehub_dagster.storage.coverage import gaps, ledger
from financehub_dagster.storage.database.engine import transaction
from financehub_dagster.storage.queries.instruments import upsert_instruments

STOCKS = "stock_prices_daily"
START = date(2026, 11, 1)
JANUARY = datetime(2027, 1, 5, 12, tzinfo=UTC)
APPLE = Instrument("AAPL", "Apple", AssetType.STOCK, "XNAS", market_cap=3e12)
UNKNOWN = Instrument("ODD", "Odd", AssetType.STOCK, "XXYZ")
ELSEWHERE = [Instrument(f"ON-{mic}", mic, AssetType.STOCK, mic) for mic in "XNYS XNSE XSHE XSES XSAU XHKG".split()]
"""Calendars with an end, behind one that has none."""
EURO = Instrument("EURUSD", "Euro", AssetType.FX, "XXXX")


@pytest.fixture
def universe(database, monkeypatch) -> Iterator[list[Instrument]]:
    """Instruments on exchanges whose calendar ends and on others, and one on none; a history since November 2026."""
    monkeypatch.setenv("FINANCEHUB_HISTORY_START", START.isoformat())
    get_settings.cache_clear()
    everyone = [APPLE, UNKNOWN, EURO, *ELSEWHERE]
    with transaction() as connection:
        upsert_instruments(connection, everyone)
    yield everyone
    get_settings.cache_clear()


@pytest.mark.parametrize("now", [JANUARY, datetime(2051, 1, 5, 12, tzinfo=UTC)], ids=["2027", "2051"])
def test_no_exchange_stops_the_others(universe, now, monkeypatch):
    since = (now - timedelta(days=40)).date()  # the environment may name no day of the future
    monkeypatch.setitem(vars(get_settings()), "financehub_history_start", since)
    assert ledger.refresh(now) > 0
    assert ledger.rebuild(now) == 0
    with transaction() as connection:
        lacking = {row["symbol"]: row for row in gaps.open_gaps(connection, 1000)}
        evidence = Covered(connection, STOCKS, members_of(STOCKS), now, None)
        late = bars.FRESHNESS.examine(evidence)
        assert bars.NO_MISSING_SESSIONS.examine(evidence).offending == 0
        unknown = bars.SESSIONS_KNOWN.examine(evidence)
        quotes = snapshots.QUOTES_FRESH.examine(Covered(connection, "quotes", members_of("quotes"), now, None))
    assert isinstance(any_open(universe, now), bool)
    first, last = (now - timedelta(days=40)).date().replace(day=1), now.date() - timedelta(days=1)
    assert lacking["AAPL"]["gap"] == len(calendars.schedule(APPLE, first, last).dates)
    assert lacking["ON-XNYS"]["gap"] == lacking["AAPL"]["gap"]
    assert UNKNOWN.symbol not in lacking
    assert {APPLE.symbol, *(each.symbol for each in ELSEWHERE)} == {str(row["symbol"]) for row in late.rows}
    assert APPLE.symbol in str(quotes.rows)
    assert UNKNOWN.symbol in str(unknown.rows)
    assert unknown.offending == sum(len(problem.symbols) for problem in calendars.problems(universe, now))


def test_sessions_are_expected_up_to_the_end_of_their_calendar(universe):
    ledger.refresh(JANUARY)
    with transaction() as connection:
        lacking = {row["symbol"]: row for row in gaps.open_gaps(connection, 1000)}
    for mic in ("XNSE", "XSHE", "XSES"):
        last = min(calendars.known_to(mic), JANUARY.date() - timedelta(days=1))
        assert lacking[f"ON-{mic}"]["gap"] == len(calendars.schedule(mic, START, last).dates), mic
