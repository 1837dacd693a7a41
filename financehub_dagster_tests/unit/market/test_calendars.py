"""Sessions of exchanges and cryptos: half days, clock changes, and what was finished when."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import available_timezones

import exchange_calendars
import numpy as np
import pytest

from financehub_dagster.market import calendars
from financehub_dagster.market.exchanges import exchanges
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.sandbox.market.recordings import recorded_daily

APPLE = Instrument("AAPL", "Apple", AssetType.STOCK, "XNAS", "USD", "America/New_York")
BITCOIN = Instrument("BTC", "Bitcoin", AssetType.CRYPTO, "XXXX")
EURO = Instrument("EURUSD", "Euro", AssetType.FX, "XXXX")
THANKSGIVING = date(2024, 11, 28)
HALF_DAY_CLOSE = datetime(2024, 11, 29, 18, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def days(*texts: str) -> np.ndarray:
    return np.array(texts, dtype="datetime64[D]")


def test_recorded_stocks_have_a_bar_for_each_session_and_for_no_other_day() -> None:
    recorded = recorded_daily("MSFT").date
    sessions = calendars.schedule(APPLE, recorded[0].item(), recorded[-1].item()).dates
    np.testing.assert_array_equal(sessions, recorded)


def test_both_ends_belong_to_the_range() -> None:
    found = calendars.schedule("XNYS", date(2024, 7, 3), date(2024, 7, 8)).dates
    np.testing.assert_array_equal(found, days("2024-07-03", "2024-07-05", "2024-07-08"))
    assert calendars.schedule("XNYS", THANKSGIVING, THANKSGIVING).dates.size == 0
    assert calendars.schedule("XNYS", date(2024, 7, 8), date(2024, 7, 3)).dates.size == 0


def test_cryptos_have_a_session_every_day_of_the_utc_calendar() -> None:
    found = calendars.schedule(BITCOIN, date(2024, 2, 28), date(2024, 3, 1)).dates
    np.testing.assert_array_equal(found, days("2024-02-28", "2024-02-29", "2024-03-01"))
    assert calendars.session_close(BITCOIN, date(2024, 2, 29)) == datetime(2024, 3, 1, tzinfo=UTC)


def test_currencies_have_a_session_every_weekday() -> None:
    found = calendars.schedule(EURO, date(2024, 12, 20), date(2024, 12, 26)).dates
    np.testing.assert_array_equal(found, days("2024-12-20", "2024-12-23", "2024-12-24", "2024-12-25", "2024-12-26"))


def test_the_new_york_close_ends_a_session_of_currencies() -> None:
    assert calendars.session_close(EURO, date(2024, 7, 5)) == datetime(2024, 7, 5, 21, tzinfo=UTC)
    assert calendars.session_close(EURO, date(2024, 12, 6)) == datetime(2024, 12, 6, 22, tzinfo=UTC)
    sunday_evening = datetime(2024, 12, 8, 22, tzinfo=UTC)
    assert [calendars.is_open(EURO, moment) for moment in (sunday_evening - SECOND, sunday_evening)] == [False, True]
    assert calendars.last_finished_session(EURO, sunday_evening + timedelta(days=1) - SECOND) == date(2024, 12, 6)
    assert calendars.last_finished_session(EURO, sunday_evening + timedelta(days=1)) == date(2024, 12, 9)
    # Around the turn of the year too, where the session begins in the old one.
    assert calendars.is_open(EURO, datetime(2023, 12, 31, 23, tzinfo=UTC))


@pytest.mark.parametrize(
    ("exchange", "day", "close"),
    [
        ("XNYS", "2024-03-08", "2024-03-08T21:00"),  # the Friday before the clocks change
        ("XNYS", "2024-03-11", "2024-03-11T20:00"),
        ("XNYS", "2024-11-01", "2024-11-01T20:00"),
        ("XNYS", "2024-11-04", "2024-11-04T21:00"),
        ("XNYS", "2024-11-29", "2024-11-29T18:00"),  # the half day after Thanksgiving
        ("XLON", "2024-03-28", "2024-03-28T16:30"),
        ("XLON", "2024-04-02", "2024-04-02T15:30"),
        ("XTKS", "2024-11-01", "2024-11-01T06:00"),
        ("XTKS", "2024-11-05", "2024-11-05T06:30"),  # Tokyo trades half an hour longer from this day on
    ],
)
def test_sessions_close_when_the_exchange_does(exchange: str, day: str, close: str) -> None:
    assert calendars.session_close(exchange, date.fromisoformat(day)) == datetime.fromisoformat(close + "+00:00")


def test_a_day_without_a_session_has_no_close() -> None:
    with pytest.raises(ValueError, match=r"^AAPL has no session on 2024-11-28$"):
        calendars.session_close(APPLE, THANKSGIVING)


def test_a_session_is_the_last_finished_one_from_its_closing_second_on() -> None:
    assert calendars.last_finished_session(APPLE, HALF_DAY_CLOSE) == date(2024, 11, 29)
    assert calendars.last_finished_session(APPLE, HALF_DAY_CLOSE - SECOND) == date(2024, 11, 27)
    assert calendars.last_finished_session(BITCOIN, HALF_DAY_CLOSE) == THANKSGIVING
    assert calendars.last_finished_session(EURO, datetime(2024, 12, 1, 12, tzinfo=UTC)) == date(2024, 11, 29)


def test_tokyo_finishes_its_session_before_new_york_opens_that_day() -> None:
    now = datetime(2024, 11, 26, 7, 0, tzinfo=UTC)
    assert calendars.last_finished_session("XTKS", now) == date(2024, 11, 26)
    assert calendars.last_finished_session("XNYS", now) == date(2024, 11, 25)


def test_an_instant_without_a_time_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="has no time zone"):
        calendars.last_finished_session(APPLE, datetime(2024, 11, 29, 18, 0))  # noqa: DTZ001 - that is the point


def test_finished_tells_the_running_session_from_those_before() -> None:
    asked = days("2024-11-27", "2024-11-28", "2024-11-29", "2024-12-02")
    assert calendars.finished(APPLE, asked, HALF_DAY_CLOSE - SECOND).tolist() == [True, True, False, False]
    assert calendars.finished(APPLE, asked, HALF_DAY_CLOSE).tolist() == [True, True, True, False]
    assert calendars.finished(BITCOIN, asked, HALF_DAY_CLOSE).tolist() == [True, True, False, False]
    assert calendars.finished(APPLE, days(), HALF_DAY_CLOSE).tolist() == []


def test_a_market_is_open_from_its_opening_to_its_close() -> None:
    opening = datetime(2024, 11, 29, 14, 30, tzinfo=UTC)
    moments = [opening - SECOND, opening, HALF_DAY_CLOSE - SECOND, HALF_DAY_CLOSE]
    assert [calendars.is_open(APPLE, moment) for moment in moments] == [False, True, True, False]
    assert calendars.is_open(BITCOIN, opening)


def test_what_is_missing_is_expected_and_not_stored() -> None:
    expected = calendars.schedule("XNYS", date(2024, 7, 3), date(2024, 7, 8)).dates
    np.testing.assert_array_equal(calendars.without(expected, days("2024-07-05", "2024-07-06")), expected[[0, 2]])
    np.testing.assert_array_equal(calendars.without(expected, None), expected)
    assert calendars.without(expected, expected.astype("datetime64[s]")).size == 0


def test_sessions_reach_back_as_far_as_they_are_asked_for() -> None:
    found = calendars.schedule("XNYS", date(1985, 9, 26), date(1985, 9, 30)).dates
    np.testing.assert_array_equal(found, days("1985-09-26", "1985-09-30"))  # hurricane Gloria closed the 27th


def test_sessions_reach_forward_as_far_as_they_are_asked_for() -> None:
    found = calendars.schedule("XNYS", date(2040, 12, 24), date(2040, 12, 26)).dates
    np.testing.assert_array_equal(found, days("2040-12-24", "2040-12-26"))


def test_asking_beyond_what_a_calendar_knows_says_so_instead_of_expecting_nothing() -> None:
    with pytest.raises(
        calendars.SessionsUnknown, match=r"^XHKG: the sessions of XHKG are known to 2049-12-31 only: upgrade"
    ):
        calendars.schedule("XHKG", date(2050, 1, 1), date(2050, 1, 31))


def test_what_is_known_ends_with_the_calendar_and_raises_nothing() -> None:
    odd = Instrument("ODD", "Odd", AssetType.STOCK, "XXYZ")
    assert calendars.known("XSHG", date(2026, 12, 30), date(2027, 1, 8)).dates.tolist() == [
        date(2026, 12, 30),
        date(2026, 12, 31),
    ]
    assert calendars.known(odd, date(2024, 1, 1), date(2024, 1, 31)).dates.size == 0
    assert (calendars.known_to("XNYS"), calendars.known_to(odd)) == (date.max, date.min)
    assert calendars.last_finished_session(odd, HALF_DAY_CLOSE) is None


@pytest.mark.parametrize("mic", ["XBOM", "XSHG", "XSES", "XHKG", "XSAU"])
def test_questions_about_now_are_answered_beyond_the_end_of_a_calendar(mic: str) -> None:
    end = calendars.known_to(mic)
    if end == date.max:
        pytest.skip("the library has no end for it any more")
    monday = end + timedelta(days=7 + (7 - end.weekday()) % 7)
    opens = calendars.schedule(mic, monday, monday, assume=True).opens[0].item().replace(tzinfo=UTC)
    assert calendars.is_open(mic, opens)
    assert not calendars.is_open(mic, opens - SECOND)
    assert calendars.session_close(mic, monday) > opens
    newest = calendars.last_finished_session(mic, opens)
    assert newest is not None
    assert end - timedelta(days=7) < newest <= end
    evening = datetime.combine(monday, datetime.max.time(), UTC)
    assert calendars.finished(mic, np.array([newest, monday]), evening).tolist() == [True, False]
    assert calendars.finished(mic, np.array([newest, monday]), evening + SECOND).tolist() == [True, True]
    with pytest.raises(
        calendars.SessionsUnknown, match=rf"^{mic}: the sessions of {mic} are known to {end} only: upgrade"
    ):
        calendars.schedule(mic, monday, monday)


def test_an_unknown_exchange_is_named() -> None:
    odd = Instrument("ODD", "Odd", AssetType.STOCK, "XXYZ")
    with pytest.raises(calendars.SessionsUnknown, match=r"^ODD: no sessions are known for exchange 'XXYZ'"):
        calendars.schedule(odd, date(2024, 1, 1), date(2024, 1, 31))


@pytest.mark.parametrize(
    "mic", ["XNAS", "XTSX", "BVMF", "XBOG", "XLON", "XETR", "XJSE", "XNSE", "XSHE", "XTKS", "XKRX", "XNZE"]
)
def test_an_exchange_ends_its_sessions_on_their_date_in_its_time_zone(mic: str) -> None:
    exchange = exchanges()[mic]
    calendar = exchange_calendars.get_calendar(exchange.calendar, start="2025-06-02", end="2025-06-30")
    local = (calendar.closes - SECOND).dt.tz_convert(exchange.timezone).dt.date
    assert len(local) >= 15
    assert local.tolist() == calendar.sessions.date.tolist()


def test_every_registered_exchange_has_a_calendar_of_the_library_and_a_time_zone() -> None:
    known = exchange_calendars.get_calendar_names()
    assert [mic for mic, exchange in exchanges().items() if exchange.calendar not in known] == []
    assert {exchange.timezone for exchange in exchanges().values()} <= available_timezones()
    assert {mic for mic, exchange in exchanges().items() if exchange.mic != mic} == set()


@pytest.mark.slow
def test_every_calendar_of_the_library_that_loads_is_registered() -> None:
    registered = {exchange.calendar for exchange in exchanges().values()}
    missing = []
    for name in exchange_calendars.get_calendar_names(include_aliases=False):
        if name in registered or not (len(name) == 4 and name.isupper()):
            continue
        try:
            exchange_calendars.get_calendar(name, start="2025-01-02", end="2025-12-31")
        except (NotImplementedError, ValueError):
            continue
        missing.append(name)
    assert not missing, f"add to exchanges.csv: {missing}"
