"""Trading hours to the minute: lunch breaks, half days, closures, the week of currencies, and clock changes."""

from datetime import date, timedelta

import exchange_calendars
import numpy as np
import pytest

from financehub_dagster.market import calendars
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.market.intraday.trading_hours import (
    MINUTE,
    NO_HOURS,
    by_market,
    trading_hours,
)

APPLE = Instrument("AAPL", "Apple", AssetType.STOCK, "XNAS")
DAX = Instrument("DAX", "DAX", AssetType.INDEX, "XETR", "EUR")
TOYOTA = Instrument("7203", "Toyota", AssetType.STOCK, "XTKS", "JPY")
EURO = Instrument("EURUSD", "Euro", AssetType.FX, "XXXX")
BITCOIN = Instrument("BTC", "Bitcoin", AssetType.CRYPTO, "XXXX")
ODD = Instrument("ODD", "Odd", AssetType.STOCK, "XXYZ")
NOT = np.datetime64("NaT")


def at(text: str) -> np.datetime64:
    return np.datetime64(text, "s")


def intervals(of: Instrument | str, day: str) -> list[tuple[str, str]]:
    """The trading intervals of the session of that date, in UTC."""
    hours = trading_hours(of)
    mine = hours.days == np.datetime64(day)
    return [(str(a)[:16], str(b)[:16]) for a, b in zip(hours.starts[mine], hours.stops[mine], strict=True)]


@pytest.mark.parametrize(
    ("of", "day", "expected"),
    [
        (APPLE, "2024-03-08", ["2024-03-08T14:30", "2024-03-08T21:00"]),  # America changes its clocks on the 10th
        (APPLE, "2024-03-11", ["2024-03-11T13:30", "2024-03-11T20:00"]),
        (APPLE, "2024-11-01", ["2024-11-01T13:30", "2024-11-01T20:00"]),  # and on November 3rd
        (APPLE, "2024-11-04", ["2024-11-04T14:30", "2024-11-04T21:00"]),
        (DAX, "2024-03-28", ["2024-03-28T08:00", "2024-03-28T16:30"]),  # Europe on March 31st
        (DAX, "2024-04-02", ["2024-04-02T07:00", "2024-04-02T15:30"]),
        ("XLON", "2024-10-25", ["2024-10-25T07:00", "2024-10-25T15:30"]),  # and on October 27th
        ("XLON", "2024-10-28", ["2024-10-28T08:00", "2024-10-28T16:30"]),
        (APPLE, "2024-11-29", ["2024-11-29T14:30", "2024-11-29T18:00"]),  # half day
        (APPLE, "2025-01-09", []),  # closed for a day of mourning
        (APPLE, "2024-11-28", []),
        (TOYOTA, "2024-11-01", ["2024-11-01T00:00", "2024-11-01T02:30", "2024-11-01T03:30", "2024-11-01T06:00"]),
        (TOYOTA, "2024-11-05", ["2024-11-05T00:00", "2024-11-05T02:30", "2024-11-05T03:30", "2024-11-05T06:30"]),
        ("XHKG", "2024-12-24", ["2024-12-24T01:30", "2024-12-24T04:00"]),  # a half day has no lunch break
        ("XKRX", "2024-11-01", ["2024-11-01T00:00", "2024-11-01T06:30"]),  # Korea had a lunch break until 2000
        ("XKRX", "2019-11-14", ["2019-11-14T01:00", "2019-11-14T07:30"]),  # an hour later on the day of a school test,
        ("XKRX", "2024-11-14", ["2024-11-14T01:00", "2024-11-14T07:30"]),  # of which the library knows until 2020
        ("XKRX", "2026-11-19", ["2026-11-19T01:00", "2026-11-19T07:30"]),
        ("XKRX", "2026-06-03", []),  # local elections
        ("XKRX", "2026-07-17", []),  # Constitution Day, a holiday again since 2026
        (EURO, "2024-03-08", ["2024-03-07T22:00", "2024-03-08T22:00"]),
        (EURO, "2024-03-11", ["2024-03-10T21:00", "2024-03-11T21:00"]),
        (EURO, "2024-11-01", ["2024-10-31T21:00", "2024-11-01T21:00"]),
        (EURO, "2024-11-04", ["2024-11-03T22:00", "2024-11-04T22:00"]),
        (EURO, "2024-11-03", []),
        (BITCOIN, "2024-11-03", ["2024-11-03T00:00", "2024-11-04T00:00"]),
    ],
)
def test_a_market_trades_in_the_intervals_of_its_own_clock(of: Instrument | str, day: str, expected: list[str]) -> None:
    assert intervals(of, day) == list(zip(expected[::2], expected[1::2], strict=True))


@pytest.mark.parametrize("mic", ["XNYS", "XETR", "XLON", "XTKS", "XHKG"])
def test_minutes_are_those_of_exchange_calendars(mic: str) -> None:
    """The library numbers minutes on its own; its answers are the reference."""
    first, last = date(2024, 3, 1), date(2025, 1, 31)
    library = exchange_calendars.get_calendar(mic, start=first - timedelta(days=5), end=last + timedelta(days=5))
    reference = library.minutes_in_range(f"{first}T00:00", f"{last}T23:59").tz_localize(None).to_numpy()
    found = trading_hours(mic).minutes(at(f"{first}"), at(f"{last + timedelta(days=1)}"))
    np.testing.assert_array_equal(found, reference.astype("datetime64[s]"))


def test_the_week_of_currencies_runs_from_sunday_evening_to_friday_evening() -> None:
    hours = trading_hours(EURO)
    edges = ["2024-11-01T20:59", "2024-11-01T21:00", "2024-11-03T21:59", "2024-11-03T22:00"]
    assert hours.is_open(np.array(edges, "datetime64[s]")).tolist() == [True, False, False, True]
    sessions = hours.session_of(np.array(edges, "datetime64[s]"))
    np.testing.assert_array_equal(sessions, np.array(["2024-11-01", "NaT", "NaT", "2024-11-04"], "datetime64[D]"))
    week = hours.minutes(at("2024-11-02"), at("2024-11-09"))
    assert week.size == 5 * 1440


def test_the_session_of_a_minute_may_have_another_date_than_its_utc_day() -> None:
    minutes = np.array(["2024-12-01T22:59", "2024-12-01T23:00"], "datetime64[s]")
    np.testing.assert_array_equal(
        trading_hours("XASX").session_of(minutes), np.array(["NaT", "2024-12-02"], "datetime64[D]")
    )


def test_tokyo_does_not_trade_over_lunch_but_its_session_goes_on() -> None:
    hours, noon = trading_hours(TOYOTA), at("2024-11-05T03:00")
    assert not hours.is_open(noon)
    assert hours.last_close(noon) == at("2024-11-01T06:00")
    assert hours.next_close(noon) == at("2024-11-05T06:30")
    assert hours.count(at("2024-11-05T02:29"), at("2024-11-05T03:31")) == 2
    assert hours.count(at("2024-11-05"), at("2024-11-06")) == 330
    assert hours.count(at("2024-11-01"), at("2024-11-02")) == 300


def test_closes_before_and_after_skip_weekends_and_special_closures() -> None:
    hours, mourning = trading_hours(APPLE), at("2025-01-09T16:00")
    assert hours.last_close(mourning) == at("2025-01-08T21:00")
    assert hours.next_close(mourning) == at("2025-01-10T21:00")
    assert hours.last_close(at("2025-01-10T20:59")) == at("2025-01-08T21:00")
    assert hours.last_close(at("2025-01-10T21:00")) == at("2025-01-10T21:00")
    assert hours.next_close(at("2025-01-10T21:00")) == at("2025-01-13T21:00")


def test_a_minute_is_due_once_it_has_ended() -> None:
    hours = trading_hours(APPLE)
    opening = at("2024-11-29T14:30:00")
    assert hours.minutes(opening, at("2024-11-29T14:30:59")).size == 0
    np.testing.assert_array_equal(hours.minutes(opening, at("2024-11-29T14:31:00")), [opening])
    assert hours.minutes(at("2024-11-29T14:30:01"), at("2024-11-29T14:32:30")).tolist() == [(opening + MINUTE).item()]
    over_the_weekend = hours.minutes(at("2024-11-29T17:58"), at("2024-12-02T14:32"))
    assert [str(each)[8:16] for each in over_the_weekend] == ["29T17:58", "29T17:59", "02T14:30", "02T14:31"]
    assert hours.minutes(at("2024-12-02"), at("2024-12-01")).size == 0


def test_minutes_and_their_numbers_are_inverse() -> None:
    for of in (APPLE, TOYOTA, EURO, BITCOIN):
        hours = trading_hours(of)
        numbers = np.arange(0, int(hours.numbers[-1]), 4_001)
        minutes = hours.opening(numbers)
        np.testing.assert_array_equal(hours.finished(minutes), numbers)
        np.testing.assert_array_equal(hours.finished(minutes + MINUTE), numbers + 1)
        assert hours.is_open(minutes).all()


def test_instruments_are_grouped_by_market() -> None:
    assert [rows.tolist() for _, rows in by_market([APPLE, EURO, APPLE])] == [[0, 2], [1]]


def test_an_unknown_exchange_never_trades_and_raises_nothing() -> None:
    hours = trading_hours(ODD)
    assert hours is NO_HOURS
    now = at("2024-11-01T15:00")
    assert hours.minutes(at("2024-01-01"), now).size == 0
    assert not hours.is_open(np.array([now, now])).any()
    assert np.isnat(hours.session_of(now))
    assert np.isnat([hours.next_close(now), hours.last_close(now)]).all()


def test_no_minute_is_expected_beyond_what_a_calendar_knows_unless_assumed() -> None:
    end = calendars.known_to("XSHG")
    if end == date.max:
        pytest.skip("the library has no end for it any more")
    monday = end + timedelta(days=7 + (7 - end.weekday()) % 7)
    start, stop = at(f"{monday}"), at(f"{monday + timedelta(days=1)}")
    assert trading_hours("XSHG", monday).minutes(start, stop).size == 0
    assert trading_hours("XSHG", monday, assume=True).minutes(start, stop).size == 240  # with its lunch break


def test_hours_are_made_once_per_market() -> None:
    assert trading_hours(APPLE) is trading_hours(Instrument("MSFT", "Microsoft", AssetType.STOCK, "XNAS"))
    assert trading_hours(EURO) is not trading_hours(BITCOIN)


def test_a_part_of_the_hours_answers_as_the_whole_does() -> None:
    hours = trading_hours(TOYOTA)
    part = hours.between(at("2024-11-05T02:00"), at("2024-11-06T00:00"))
    assert part.starts.size == 2
    minutes = hours.minutes(at("2024-11-05"), at("2024-11-06"))
    np.testing.assert_array_equal(part.minutes(at("2024-11-05"), at("2024-11-06")), minutes)
    np.testing.assert_array_equal(part.session_of(minutes), hours.session_of(minutes))
    assert part.between(at("2024-11-05T03:00"), at("2024-11-05T03:20")) is NO_HOURS
