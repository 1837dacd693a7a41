"""No call takes longer than it may, whatever keeps it: what each vendor's patience is, and that it is kept."""

import pytest

from financehub_dagster.gateway.errors import Transient
from financehub_dagster.gateway.policy import Meaning, Timeouts
from financehub_dagster.providers.resource import Vendor
from financehub_dagster_tests.faults.bad_days.bad_day_runs import Week, provider_of
from financehub_dagster_tests.faults.bad_days.bad_days import TRIES, VENDORS, Day, Fails

CALL_SECONDS = 30.0
LATE = 8.0
"""Seconds that a busy machine may add."""
ENDLESS = Day(
    "endless",
    {"kind": "timeout", "seconds": 60},
    Fails(Transient),
    fields={"timeout": 50.0, "first_pause": 40.0},
    deadline=dict.fromkeys(VENDORS, 1.0),
)
"""A try may take 50 seconds, a pause 40, and the call, which another vendor could answer, one."""


def timeouts_of(vendor: str, **fields: float) -> Timeouts:
    """The patience of a vendor's requests, as configured by `fields`."""
    provider: Vendor = provider_of(VENDORS[vendor], **fields)
    return provider.policy(Meaning(refusal=lambda _reply: None)).timeouts


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_call_may_take_thirty_seconds_and_four_tries_whatever_is_configured(vendor: str) -> None:
    for fields in ({}, {"timeout": 300.0, "first_pause": 300.0}):
        timeouts = timeouts_of(vendor, **fields)
        assert (timeouts.deadline, timeouts.tries) == (CALL_SECONDS, TRIES)


def test_a_call_ends_with_its_budget_however_patient_a_try_or_a_pause_is(week: Week) -> None:
    for vendor, observed in week.play(dict.fromkeys(VENDORS, ENDLESS)).items():
        assert type(observed.found) is Transient, vendor
        assert 1.0 <= observed.seconds < 1.0 + LATE, vendor
        assert observed.tries <= 2, vendor
