"""`exchange_corrections.csv`: what people know of an exchange that the library does not."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import numpy as np
import pytest

from financehub_dagster.market import calendars, corrections
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.sandbox.market import sessions as sandbox
from financehub_dagster.settings import get_settings

MAHINDRA = Instrument("M&M.NS", "Mahindra", AssetType.STOCK, "XNSE", "INR", "Asia/Kolkata")
APPLE = Instrument("AAPL", "Apple", AssetType.STOCK, "XNAS", "USD", "America/New_York")
HEADER = "mic,date,kind,opens,closes,note"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home folder for a file of corrections."""
    monkeypatch.setenv("FINANCEHUB_HOME", str(tmp_path))
    get_settings.cache_clear()
    yield tmp_path
    get_settings.cache_clear()


def write(home: Path, *lines: str) -> None:
    (home / corrections.FILE).write_text("\n".join([HEADER, *lines]) + "\n")


@pytest.fixture
def ends() -> int:
    """The last year whose sessions the library knows of Bombay."""
    end = calendars.known_to("XBOM")
    assert end < date.max
    return end.year


def test_one_holiday_makes_the_year_behind_the_end_known(home: Path, ends: int) -> None:
    year = ends + 1
    write(home, f"XBOM,{year}-01-26,holiday,,,Republic Day", f"XNSE,{year}-01-27,holiday,,,of the one exchange only")
    first, last = date(year, 1, 1), date(year, 12, 31)
    every_day = np.arange(first, last + timedelta(days=1), dtype="datetime64[D]")
    weekdays = every_day[np.is_busday(every_day)]
    holidays = np.array([f"{year}-01-26", f"{year}-01-27"], "datetime64[D]")
    np.testing.assert_array_equal(calendars.schedule("XBOM", first, last).dates, np.setdiff1d(weekdays, holidays[:1]))
    np.testing.assert_array_equal(calendars.schedule(MAHINDRA, first, last).dates, np.setdiff1d(weekdays, holidays))
    assert calendars.known_to(MAHINDRA) == last
    with pytest.raises(calendars.SessionsUnknown):
        calendars.schedule(MAHINDRA, first, last + timedelta(days=1))
    assert calendars.session_close(MAHINDRA, date(year, 2, 1)) == datetime(year, 2, 1, 10, 0, tzinfo=UTC)


def test_an_early_close_alone_does_not_make_a_year_known(home: Path, ends: int) -> None:
    write(home, f"XBOM,{ends + 1}-11-08,early close,,13:00,")
    assert calendars.known_to("XBOM") == date(ends, 12, 31)


def test_holidays_sessions_and_hours_correct_what_the_library_says(home: Path) -> None:
    day, saturday, early = date(2024, 7, 5), date(2024, 7, 6), date(2024, 7, 8)
    assert calendars.schedule(APPLE, day, early).dates.tolist() == [day, early]
    write(
        home,
        "# New York",
        "XNYS,2024-07-05,holiday,,,a day of mourning",
        'XNYS,2024-07-06,session,10:00,,"for the day before, with a comma"',
        "XNYS,2024-07-08,Early_Close,,13:00",
    )
    found = calendars.schedule(APPLE, day, early)
    assert found.dates.tolist() == [saturday, early]
    np.testing.assert_array_equal(found.opens, np.array(["2024-07-06T14:00", "2024-07-08T13:30"], "datetime64[s]"))
    np.testing.assert_array_equal(found.closes, np.array(["2024-07-06T20:00", "2024-07-08T17:00"], "datetime64[s]"))
    assert np.array_equal(sandbox.sessions_of("XLON").date, sandbox.sessions_of("AIMX").date)
    write(home)
    assert calendars.schedule(APPLE, day, early).dates.tolist() == [day, early]


def test_the_sandbox_keeps_the_corrected_calendar_and_goes_on_behind_its_end(home: Path, ends: int) -> None:
    write(home, f"XBOM,{ends + 1}-01-26,holiday,,,Republic Day")
    sandbox.sessions_of.cache_clear()
    dates = sandbox.sessions_of("XBOM").date
    assert np.datetime64(f"{ends + 1}-01-26") not in dates
    assert dates[-1] > np.datetime64("2035-12-20")
    sandbox.sessions_of.cache_clear()


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("XXYZ,2027-01-01,holiday", "'XXYZ' is not a known market identifier (MIC)"),
        ("XBOM,26.1.2027,holiday", "'26.1.2027' is not a date such as 2027-01-26"),
        ("XBOM,2027-01-26,closed", "kind 'closed' is not one of holiday, session, early close"),
        ("XBOM,2027-01-26,early close", "an early close needs its time in the column closes"),
        ("XBOM,2027-01-26,session,1 pm", "opens '1 pm' is not a time such as 13:00"),
        ("XBOM,2027-01-26,session,13:00,12:00", "opens at 13:00 and closes at 12:00: a session ends after it began"),
    ],
)
def test_a_line_that_cannot_be_used_is_reported_and_leaves_the_others_in_force(
    home: Path, ends: int, line: str, problem: str
) -> None:
    write(home, line, f"XBOM,{ends + 1}-01-26,holiday")
    now = datetime.combine(date(ends - 1, 6, 1), time(12), UTC)
    assert [each.message for each in calendars.problems([APPLE], now)] == [
        f"{home / corrections.FILE}: line 2: {problem}"
    ]
    assert calendars.known_to("XBOM") == date(ends + 1, 12, 31)


@pytest.mark.parametrize(
    "content", [b"mic;date;kind\nXBOM;2027-01-26;holiday\n", b"\xff\xfe", b"", b'mic,date,kind\n"XB']
)
def test_a_file_that_cannot_be_read_is_reported_and_stops_nobody(home: Path, content: bytes) -> None:
    (home / corrections.FILE).write_bytes(content)
    (problem,) = calendars.problems([APPLE], datetime(2024, 6, 1, tzinfo=UTC))
    assert problem.message.startswith(f"{home / corrections.FILE}: ")
    assert calendars.is_open(APPLE, datetime(2024, 6, 3, 15, tzinfo=UTC))


def test_a_year_that_the_library_does_not_know_whole_has_the_sessions_that_its_exchange_announced() -> None:
    """The Indonesia Stock Exchange counts 239 in 2026; the library has none of that year's lunar holidays."""
    assert calendars.schedule("XIDX", date(2026, 1, 1), date(2026, 12, 31)).dates.size == 239


def test_the_packaged_corrections_can_all_be_used() -> None:
    assert corrections.corrections().problems == ()
    assert date(2025, 2, 1) in calendars.schedule("XNSE", date(2025, 2, 1), date(2025, 2, 2)).dates.tolist()


def test_an_end_is_reported_sixty_days_before_and_for_all_instruments_of_the_calendar(home: Path, ends: int) -> None:
    infosys = Instrument("INFY.NS", "Infosys", AssetType.STOCK, "XNSE")
    odd = Instrument("ODD", "Odd", AssetType.STOCK, "XXYZ")
    everyone = [MAHINDRA, APPLE, odd, infosys]
    end = datetime(ends, 12, 31, 12, tzinfo=UTC)
    before = calendars.problems(everyone, end - timedelta(days=60))
    assert [each.symbols for each in before] == [("ODD",)]
    assert "no sessions are known for exchange 'XXYZ'" in before[0].message
    for now in (end - timedelta(days=59), end + timedelta(days=400)):
        by_symbols = {each.symbols: each.message for each in calendars.problems(everyone, now)}
        assert set(by_symbols) == {("M&M.NS", "INFY.NS"), ("ODD",)}
        assert by_symbols["M&M.NS", "INFY.NS"] == (
            f"the sessions of XBOM are known to {ends}-12-31 only: upgrade exchange-calendars,"
            f" or list the holidays of {ends + 1} in {home / corrections.FILE}"
        )
