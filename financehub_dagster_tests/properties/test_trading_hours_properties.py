"""What holds for the trading hours of any market at any instant."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.market.intraday.resampling import LENGTHS, bar_opening
from financehub_dagster.market.intraday.trading_hours import MINUTE, TradingHours, trading_hours
from financehub_dagster_tests.properties.intraday_reference import expected_bars

EURO = Instrument("EURUSD", "Euro", AssetType.FX, "XXXX")
BITCOIN = Instrument("BTC", "Bitcoin", AssetType.CRYPTO, "XXXX")
NEW_YORK = ZoneInfo("America/New_York")

everywhere: list[Instrument | str] = ["XNYS", "XETR", "XLON", "XTKS", "XHKG", "XASX", EURO, BITCOIN]
markets = st.sampled_from(everywhere).map(trading_hours)
seconds = st.datetimes(datetime(2007, 1, 1), datetime(2026, 6, 30)).map(lambda each: each.replace(microsecond=0))  # noqa: DTZ001
quickly = settings(max_examples=150)


@quickly
@given(markets, seconds, st.integers(0, 6000))
def test_counting_listing_and_asking_each_minute_agree(hours: TradingHours, start: datetime, minutes: int) -> None:
    first = np.datetime64(start, "s")
    last = first + minutes * MINUTE
    listed = hours.minutes(first, last)
    whole = np.arange(first.astype("datetime64[m]"), last.astype("datetime64[m]")).astype("datetime64[s]")
    expected = whole[(whole >= first) & hours.is_open(whole)]
    np.testing.assert_array_equal(listed, expected)
    assert hours.count(first, last) == listed.size


@quickly
@given(seconds)
def test_currencies_trade_by_the_clock_of_new_york(moment: datetime) -> None:
    """Worked out from the local time alone: the trade date begins at 17:00 of the day before."""
    trade_date = (moment.replace(tzinfo=UTC).astimezone(NEW_YORK) + timedelta(hours=7)).date()
    hours, at = trading_hours(EURO), np.datetime64(moment, "s")
    assert hours.is_open(at) == (trade_date.weekday() < 5)
    session = hours.session_of(at)
    assert np.isnat(session) if trade_date.weekday() >= 5 else session == np.datetime64(trade_date)


@quickly
@given(markets, seconds)
def test_an_instant_lies_between_the_closes_of_two_sessions_in_a_row(hours: TradingHours, moment: datetime) -> None:
    at, closes = np.datetime64(moment, "s"), hours.sessions.closes
    assert hours.last_close(at) == closes[closes <= at].max()
    assert hours.next_close(at) == closes[closes > at].min()
    if hours.is_open(at):
        [close] = closes[hours.sessions.dates == hours.session_of(at)]
        assert hours.next_close(at) == close


@quickly
@given(markets, st.dates(date(2007, 1, 1), date(2026, 6, 30)), st.sampled_from(LENGTHS))
def test_bars_tile_the_trading_hours_and_nest(hours: TradingHours, day: date, length: int) -> None:
    start = np.datetime64(datetime.combine(day, time()), "s")
    stop = start + 3 * 1440 * MINUTE
    minutes = hours.minutes(start, stop)
    opens, ends = expected_bars(hours, start, stop, length)
    assert (ends - opens).astype(int).sum() <= minutes.size * 60
    assert (opens[1:] >= ends[:-1]).all()
    found = bar_opening(hours, minutes, length)
    inside = np.isin(found, opens)
    assert inside.sum() * 60 == (ends - opens).astype(int).sum()
    # Every bar lies within one bar of each longer length.
    for longer in LENGTHS:
        if longer > length and opens.size:
            at_opening, at_end = (bar_opening(hours, each, longer) for each in (opens, ends - MINUTE))
            np.testing.assert_array_equal(at_opening, at_end)
