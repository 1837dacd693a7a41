"""Every bad day of every vendor ends as the table says, over real HTTP and through the real client libraries."""

from collections.abc import Collection
from typing import Any

import pandas as pd
import pytest

from financehub_dagster.gateway.errors import Limited, ProviderError
from financehub_dagster.providers import all_providers
from financehub_dagster.sandbox.client import Sandbox
from financehub_dagster.sandbox.errors import SandboxError
from financehub_dagster_tests.faults.bad_days.bad_day_runs import ELSEWHERE, Observed, Week, rounds
from financehub_dagster_tests.faults.bad_days.bad_days import (
    CELLS,
    DAYS,
    IN_SHORT,
    TRIES,
    VENDORS,
    Day,
    End,
    Excused,
    Fails,
    Rows,
)
from financehub_dagster_tests.faults.canary.canary import assert_unseen

CALL_SECONDS = 30.0
NAMED = {
    "401": ["401"],
    "403": ["403"],
    "404": ["404"],
    "418": ["418"],
    "429 without Retry-After": ["429"],
    "429 with Retry-After in seconds": ["429_with_seconds", "429_for_some_seconds_as_seconds"],
    "429 with Retry-After as a date": ["429_with_date", "429_for_some_seconds_as_date"],
    "451": ["451"],
    "500": ["500"],
    "502 with HTML": ["502_with_html"],
    "503": ["503"],
    "connect timeout": ["connect_timeout"],
    "read timeout": ["read_timeout"],
    "one byte a second": ["one_byte_a_second", "headers_byte_by_byte"],
    "reset": ["reset"],
    "truncated JSON": ["truncated"],
    "garbage": ["garbage", "html_in_200"],
    "empty 200": ["empty"],
    "error in 200": [name for name in DAYS if name.endswith("_in_200") and name != "html_in_200"],
    "wrong symbol": ["wrong_symbol"],
    "NaN": ["nan"],
    "numbers as strings": ["strings"],
    "duplicates": ["duplicated"],
    "out of order": ["shuffled"],
    "unfinished bar": ["unfinished"],
}
"""What a vendor can do to us, and the days on which it does."""
PLAYED = [
    pytest.param(vendor, DAYS[day], id=f"{vendor}-{day}", marks=[] if (vendor, day) in IN_SHORT else pytest.mark.full)
    for vendor, day in CELLS
]
EXCUSED = [
    pytest.param(vendor, day, id=f"{vendor}-{name}")
    for vendor in VENDORS
    for name, day in DAYS.items()
    if isinstance(day.end(vendor), Excused)
]


def assert_rows(found: Any, good: Any) -> None:
    assert isinstance(found, pd.DataFrame), found
    assert len(good)
    shared = [column for column in good if column != "author"]  # of several, in any order
    pd.testing.assert_frame_equal(found[shared], good[shared])


def assert_error(observed: Observed, end: Fails, vendor: str) -> None:
    error = observed.found
    assert type(error) is end.error, error
    assert str(error).startswith(f"{vendor}: ")
    assert "\n" not in str(error)
    assert "http://" not in str(error)
    assert error.__cause__ is None
    if end.wait is not None:
        known = isinstance(error, Limited) and error.retry_after is not None
        rested = error if known else observed.meanwhile[0]
        assert isinstance(rested, Limited)
        assert rested.until is not None
        assert rested.retry_after == pytest.approx(end.wait, abs=20)


def assert_silence(observed: Observed) -> None:
    """Nobody asked again before the time was over, and then everything went on."""
    assert all(isinstance(each, ProviderError) for each in observed.meanwhile), observed.meanwhile
    assert observed.asked == 0
    assert_rows(observed.afterwards, observed.good[1])


@pytest.mark.parametrize(("vendor", "day"), PLAYED)
def test_a_bad_day_ends_in_the_right_rows_or_the_right_error(week: Week, vendor: str, day: Day) -> None:
    observed, end = week.observed(day.name, vendor), day.end(vendor)
    more = VENDORS[vendor].requests - 1
    tries = end.tries if isinstance(end, Fails) else end.tries + more
    if isinstance(end, Fails):
        assert_error(observed, end, vendor)
        assert observed.tries == tries or (end.at_most and 1 <= observed.tries <= tries)
    else:
        assert_rows(observed.found, observed.good[0])
        assert observed.tries == tries
        assert observed.seconds >= end.at_least
    assert observed.tries <= TRIES + more
    assert observed.seconds < CALL_SECONDS
    assert observed.arrived == (0 if day.special in ELSEWHERE else observed.tries)
    if isinstance(end, Fails) and end.silent:
        assert_silence(observed)
    else:
        assert_rows(observed.meanwhile[0], observed.good[1])
        assert observed.asked == more + 1


@pytest.mark.timeout(600)
def test_no_key_is_seen_on_any_bad_day_of_any_vendor(week: Week) -> None:
    for vendor, day in week.cells:
        week.observed(day, vendor)
    assert_unseen(week.overheard, "errors", "table breakers")


def test_every_kind_of_bad_day_is_in_the_table() -> None:
    assert {name for names in NAMED.values() for name in names} == set(DAYS)
    assert all(NAMED.values())


def test_every_vendor_and_every_day_meet_or_are_excused_with_a_reason() -> None:
    assert set(VENDORS) == set(all_providers())
    ends: list[End] = [day.end(vendor) for day in DAYS.values() for vendor in VENDORS]
    assert len(ends) == len(CELLS) + len(EXCUSED)
    assert all(set(day.own) <= set(VENDORS) for day in DAYS.values())
    assert all(end.reason for end in ends if isinstance(end, Excused))


def test_the_short_form_plays_a_third_of_them_and_every_vendor_and_every_day() -> None:
    assert len(CELLS) / 4 < len(IN_SHORT) < len(CELLS) / 2.5
    assert set(CELLS) > IN_SHORT
    assert {vendor for vendor, _ in IN_SHORT} == set(VENDORS)
    assert {day for _, day in IN_SHORT} == set(DAYS)


@pytest.mark.parametrize("cells", [CELLS, IN_SHORT], ids=["full", "short"])
def test_each_is_played_once(cells: Collection[tuple[str, str]]) -> None:
    assert sorted((vendor, day.name) for each in rounds(cells) for vendor, day in each.items()) == sorted(cells)


def test_no_vendor_has_more_patience_than_a_call_may_take() -> None:
    for day in DAYS.values():
        for vendor in VENDORS:
            end = day.end(vendor)
            assert isinstance(end, Excused | Rows) or end.tries <= TRIES


@pytest.mark.parametrize(("vendor", "day"), [each for each in EXCUSED if each.values[1].fault.get("kind") == "error"])
def test_a_vendor_without_words_for_an_error_has_none_in_the_sandbox_either(
    sandbox: Sandbox, vendor: str, day: Day
) -> None:
    with pytest.raises(SandboxError, match=f"vendor {vendor} knows no {day.fault['situation']}"):
        sandbox.fault(**day.fault, vendor=vendor)
