"""Quotas on a real PostgreSQL: bursts are fine, more than the amount never is, and the vendor's own count wins."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from financehub_dagster.storage.database.schema import quotas as table
from financehub_dagster.storage.database.schema import rate_limits
from financehub_dagster.storage.rate_limits import limiter, quotas
from financehub_dagster.storage.rate_limits.limiter import Limit, Slot
from financehub_dagster.storage.rate_limits.quotas import Quota, Reading
from financehub_dagster_tests.fixtures.database import Database

DAY = Quota("day", 5, period=86_400.0)
MINUTE = Quota("minute", 8, period=60.0)

HAMMER = """
import time
from financehub_dagster.storage.rate_limits import limiter
from financehub_dagster.storage.database.engine import market_engine
from financehub_dagster.storage.rate_limits.limiter import Limit
from financehub_dagster.storage.rate_limits.quotas import Quota
pace, day = Limit("second", 50, 1.0), Quota("day", 25, period=86_400.0)
for _ in range(40):
    print(int(limiter.reserve(market_engine(), "vendor", "key", (pace,), (day,)).granted))
"""


@pytest.fixture
def database(shared_database: Database) -> Database:
    """One for the module: these tests write the gateway's state alone."""
    return shared_database


def take(database: Database, *budgets: Quota, weight: int = 1, max_wait: float = 0.0) -> Slot:
    return limiter.reserve(database.engine, "v", "key", (), budgets, weight=weight, max_wait=max_wait)


def used(database: Database) -> dict[str, int]:
    with database.engine.connect() as connection:
        return {row.quota_name: sum(row.units) for row in connection.execute(sa.select(table))}


def passes(database: Database, seconds: float) -> None:
    """Let `seconds` pass for every booking."""
    with database.engine.begin() as connection:
        moved = "array(select e - make_interval(secs => :s) from unnest(expires) with ordinality as a(e, n) order by n)"
        connection.execute(sa.text(f"update quotas set expires = {moved}"), {"s": seconds})


def test_a_burst_may_use_all_of_a_day_at_once_and_nothing_more(database: Database) -> None:
    assert [take(database, DAY).granted for _ in range(7)] == [True] * 5 + [False] * 2
    refused = take(database, DAY)
    assert refused.quota == "day"
    assert refused.wait == pytest.approx(86_400 + DAY.margin, abs=10)


def test_in_a_rolling_window_each_booking_counts_for_one_period(database: Database) -> None:
    assert take(database, MINUTE, weight=5).granted
    passes(database, 30.0)
    assert take(database, MINUTE, weight=3).granted
    assert take(database, MINUTE, weight=1).wait == pytest.approx(31.2, abs=1)
    passes(database, 31.3)
    assert take(database, MINUTE, weight=5).granted
    assert not take(database, MINUTE, weight=1).granted


def test_a_call_that_waits_is_booked_for_the_time_at_which_it_leaves(database: Database) -> None:
    assert take(database, MINUTE, weight=8).granted
    later = take(database, MINUTE, weight=8, max_wait=70.0)
    assert later.granted
    assert later.wait == pytest.approx(61.2, abs=1)
    assert take(database, MINUTE).wait == pytest.approx(122.4, abs=2)


@pytest.mark.parametrize(("per", "zone"), [("minute", "UTC"), ("day", "UTC"), ("day", "US/Eastern"), ("month", "UTC")])
def test_a_calendar_window_resets_at_its_end_in_its_zone(database: Database, per: quotas.Unit, zone: str) -> None:
    quota = Quota("window", 2, per=per, zone=zone)
    assert [take(database, quota).granted for _ in range(2)] == [True, True]
    now = datetime.now(UTC)
    resets = quota.resets_after(now)
    until = now + timedelta(seconds=take(database, quota).wait)
    # A call in the last seconds of a window counts in the next one too.
    ends = (resets, quota.resets_after(resets))
    assert min(abs((until - end).total_seconds() - quota.margin) for end in ends) < 2


def test_calls_at_either_side_of_a_reset_are_never_more_than_the_amount(database: Database) -> None:
    quota = Quota("day", 3, per="day")
    assert take(database, quota, weight=3).granted
    with database.engine.begin() as connection:
        connection.execute(sa.text("update quotas set resets_at = clock_timestamp() + interval '3 seconds'"))
    quotas.correct(database.engine, "v", "key", (quota,), [Reading("day", 0, datetime.now(UTC) + timedelta(seconds=3))])
    assert take(database, quota).wait == pytest.approx(3 + quota.margin, abs=1)


def test_of_limits_and_quotas_all_or_none_are_taken(database: Database) -> None:
    pace = Limit("second", 10, 1.0)
    assert limiter.reserve(database.engine, "v", "key", (pace,), (DAY, MINUTE)).granted
    assert take(database, DAY, weight=4).granted
    before = used(database)
    with database.engine.connect() as connection:
        tat = connection.execute(sa.select(rate_limits.c.tat)).scalar_one()
        refused = limiter.reserve(database.engine, "v", "key", (pace,), (DAY, MINUTE))
        assert (refused.granted, refused.quota) == (False, "day")
        assert connection.execute(sa.select(rate_limits.c.tat)).scalar_one() == tat
    assert used(database) == before == {"day": 5, "minute": 1}


def test_credits_and_requests_are_counted_side_by_side(database: Database) -> None:
    requests = Quota("requests", 100, per="day", weighted=False)
    take(database, MINUTE, requests, weight=4)
    take(database, MINUTE, requests, weight=3)
    assert used(database) == {"minute": 7, "requests": 2}


def test_a_call_without_cost_uses_no_credits(database: Database) -> None:
    take(database, MINUTE, weight=8)
    assert take(database, MINUTE, weight=0).granted


def test_a_batch_that_can_never_fit_is_refused(database: Database) -> None:
    with pytest.raises(ValueError, match="quota minute: weight 9"):
        take(database, MINUTE, weight=9)


@pytest.mark.parametrize("fields", [{"per": "day", "period": 60.0}, {}, {"per": "day", "amount": 0}])
def test_a_quota_without_a_window_or_an_amount_is_refused(fields: dict) -> None:
    with pytest.raises(ValueError, match="quota q"):
        Quota(**{"name": "q", "amount": 1, **fields})


def test_the_vendor_may_count_more_than_we_do(database: Database) -> None:
    take(database, DAY)
    quotas.correct(database.engine, "v", "key", (DAY,), [Reading("day", 1)])
    assert used(database) == {"day": 4}
    assert [take(database, DAY).granted for _ in range(2)] == [True, False]


def test_an_older_count_of_the_vendor_gives_nothing_back(database: Database) -> None:
    take(database, DAY, weight=4)
    quotas.correct(database.engine, "v", "key", (DAY,), [Reading("day", 4), Reading("unheard of", 0)])
    assert used(database) == {"day": 4}


def test_a_first_word_of_the_vendor_is_believed_before_any_call_of_ours(database: Database) -> None:
    quotas.correct(database.engine, "v", "key", (DAY,), [Reading("day", 0)])
    assert not take(database, DAY).granted


def test_the_reset_the_vendor_names_goes_before_the_calendar(database: Database) -> None:
    month = Quota("month", 100, per="month")
    take(database, month, weight=90)
    reset = datetime.now(UTC) + timedelta(days=45)
    quotas.correct(database.engine, "v", "key", (month,), [Reading("month", 5, reset)])
    refused = take(database, month, weight=6)
    assert refused.wait == pytest.approx(45 * 86_400 + month.margin, abs=10)
    assert take(database, month, weight=5).granted
    assert take(database, month).wait == pytest.approx(45 * 86_400 + month.margin, abs=10)


def test_a_call_that_cost_more_than_expected_is_booked_in_full(database: Database) -> None:
    take(database, MINUTE, weight=2)
    quotas.add(database.engine, "v", "key", (MINUTE,), 5)
    assert [take(database, MINUTE).granted for _ in range(2)] == [True, False]


def test_what_has_expired_is_forgotten(database: Database) -> None:
    for _ in range(3):
        take(database, MINUTE, weight=8)
        passes(database, 62.0)
    take(database, MINUTE, weight=1)
    assert used(database) == {"minute": 1}


def test_many_small_bookings_do_not_grow_the_row_without_end(database: Database) -> None:
    large = Quota("large", 100_000, period=3600.0)
    for _ in range(300):
        take(database, large)
    with database.engine.connect() as connection:
        row = connection.execute(sa.select(table)).one()
    assert sum(row.units) == 300
    assert len(row.units) <= 4


def test_processes_that_hammer_never_exceed_a_quota(database: Database) -> None:
    workers = [subprocess.Popen([sys.executable, "-c", HAMMER], stdout=subprocess.PIPE, text=True) for _ in range(4)]
    granted = 0
    for worker in workers:
        output, _ = worker.communicate(timeout=120)
        assert worker.returncode == 0
        granted += sum(map(int, output.split()))
    assert granted == 25
    assert used(database) == {"day": 25}
