"""Weeks of the journal: from Saturday to Friday, with the names of ISO weeks."""

from datetime import UTC, date, datetime, timedelta

import pytest

from financehub_dagster.market.journal.week import Week, WeekError, last_complete, named


def test_a_week_is_named_like_the_iso_week_of_its_friday():
    week = named("2026-W48")
    assert (week.start, week.end, week.before) == (date(2026, 11, 21), date(2026, 11, 27), date(2026, 11, 20))
    assert str(week) == "2026-W48"
    assert named("2026w48") == named(" 2026-W48 ") == week
    assert named("2026-W53").end == date(2027, 1, 1)
    assert str(named("2026-W1")) == "2026-W01"


@pytest.mark.parametrize(
    "text", ["", "2026", "2026-48", "2026-W00", "2025-W53", "2026-W54", "0001-W01", "2026-W4x", "٢٠٢٦-W48"]
)
def test_what_is_no_week_is_refused_with_an_example(text):
    with pytest.raises(WeekError, match="write an ISO week as 2026-W48"):
        named(text)


def test_every_day_belongs_to_one_week():
    first = date(2020, 1, 1)
    for number in range(800):
        day = first + timedelta(days=number)
        weeks = [week for week in (Week(date(2019, 12, 27) + timedelta(weeks=n)) for n in range(125)) if day in week]
        assert len(weeks) == 1
        assert named(str(weeks[0])) == weeks[0]


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (datetime(2026, 11, 27, 23, 59, tzinfo=UTC), "2026-W47"),
        (datetime(2026, 11, 28, 0, 0, tzinfo=UTC), "2026-W48"),
        (datetime(2026, 12, 4, 12, 0, tzinfo=UTC), "2026-W48"),
        (datetime(2026, 11, 28, 1, 0, tzinfo=UTC) - timedelta(hours=2), "2026-W47"),
    ],
)
def test_the_last_complete_week_ended_on_a_friday_that_is_over(now, expected):
    week = last_complete(now)
    assert str(week) == expected
    assert week.complete_at <= now < week.complete_at + timedelta(days=7)
