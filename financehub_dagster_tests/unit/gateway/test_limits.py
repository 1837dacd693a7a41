"""The shared limiter on a real PostgreSQL: however many processes ask, never more than the limit in any window."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from itertools import pairwise

import pytest
import sqlalchemy as sa

from financehub_dagster.gateway.errors import BurstLimit
from financehub_dagster.gateway.policy import Meaning, Policy
from financehub_dagster.gateway.throttle import NEARLY, Accounts, keep_slot
from financehub_dagster.storage.database.schema import rate_limits
from financehub_dagster.storage.rate_limits import coalescing, limiter
from financehub_dagster.storage.rate_limits.limiter import Limit, Slot
from financehub_dagster_tests.fixtures.database import Database
from financehub_dagster_tests.fixtures.eventually import eventually

FAST = Limit("fast", 50, 1.0)

HAMMER = """
import time
from financehub_dagster.storage.rate_limits import limiter
from financehub_dagster.storage.database.engine import market_engine
limit = limiter.Limit("hammer", 40, 1.0)
for _ in range(100):
    before = time.time()
    slot = limiter.reserve(market_engine(), "vendor", "ip", (limit,), max_wait=1e6)
    print(before + slot.wait, time.time() + slot.wait)
"""


@pytest.fixture
def database(shared_database: Database) -> Database:
    """One for the module: these tests write the gateway's state alone."""
    return shared_database


def test_slots_are_spaced_two_percent_wider_than_the_limit(database: Database) -> None:
    waits = [limiter.reserve(database.engine, "v", "ip", (Limit("second", 1, 1.0),)).wait for _ in range(4)]
    assert waits[0] == 0.0
    assert waits[1:] == pytest.approx([1.02, 2.04, 3.06], abs=0.3)


def test_a_slot_that_was_slept_through_is_left_for_the_next_one(database: Database) -> None:
    taken: list[Slot] = []

    def another() -> Slot:
        taken.append(limiter.reserve(database.engine, "v", "ip", (FAST,)))
        return taken[-1]

    in_time = another()
    keep_slot(replace(in_time, due=time.monotonic() + 60.0), (FAST,), another)
    kept = len(taken)
    keep_slot(replace(in_time, due=time.monotonic() - 0.1), (FAST,), another)
    assert (kept, len(taken) > kept) == (1, True)
    assert time.monotonic() >= taken[-1].due


def test_a_machine_that_sleeps_through_every_slot_gives_up(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limiter, "LATE", -1e6)
    policy = Policy("v", (FAST,), Meaning(refusal=lambda _: None))
    started = time.monotonic()
    with pytest.raises(BurstLimit, match="no free slot"):
        Accounts(policy, lambda: database.engine).enter(1, max_wait=0.5)
    assert time.monotonic() - started == pytest.approx(0.5 + NEARLY, abs=1.0)


def test_a_slot_beyond_the_patience_of_the_caller_is_not_taken(database: Database) -> None:
    slow = (Limit("minute", 1, 60.0),)
    assert limiter.reserve(database.engine, "v", "ip", slow) == Slot(granted=True, wait=0.0)
    refused = [limiter.reserve(database.engine, "v", "ip", slow, max_wait=10.0) for _ in range(3)]
    assert [slot.granted for slot in refused] == [False, False, False]
    assert [slot.wait for slot in refused] == pytest.approx([61.2] * 3, abs=1.0)
    assert limiter.reserve(database.engine, "v", "ip", slow, max_wait=120.0).granted


def test_threads_that_ask_at_once_get_slots_of_their_own(database: Database) -> None:
    tenth = Limit("tenth", 10, 1.0)
    with ThreadPoolExecutor(8) as pool:
        slots = list(
            pool.map(lambda _: limiter.reserve(database.engine, "v", "ip", (tenth,), max_wait=1e6), range(100))
        )
    due = sorted(slot.due for slot in slots)
    assert min(later - sooner for sooner, later in pairwise(due)) > 0.05
    assert due[-1] - due[0] == pytest.approx(99 * tenth.spacing(1), abs=0.1)


def test_of_threads_that_ask_at_once_the_patient_are_served_and_the_others_told_when(database: Database) -> None:
    slow = Limit("minute", 1, 60.0)

    def ask(max_wait: float) -> Slot:
        return limiter.reserve(database.engine, "v", "ip", (slow,), max_wait=max_wait)

    ask(0.0)
    with ThreadPoolExecutor(8) as pool:
        with database.engine.begin() as connection:
            connection.execute(sa.select(rate_limits).with_for_update())
            asked = [pool.submit(ask, max_wait) for max_wait in (150.0, 150.0, 1.0, 1.0, 1.0, 150.0, 150.0, 150.0)]
            eventually(lambda: len(coalescing._queues[database.engine]["space", "v", "ip", "minute"]._seats) == 7)
        slots = [each.result() for each in asked]
    assert sorted(slot.wait for slot in slots if slot.granted) == pytest.approx([61.2, 122.4], abs=5.0)
    assert {slot.granted for slot in slots[2:5]} == {False}
    assert min(slot.wait for slot in slots if not slot.granted) > 60.0


def test_of_several_limits_all_or_none_are_taken(database: Database) -> None:
    second, minute = Limit("second", 10, 1.0), Limit("minute", 1, 60.0)
    assert limiter.reserve(database.engine, "v", "ip", (second, minute)).granted
    for _ in range(20):
        assert not limiter.reserve(database.engine, "v", "ip", (second, minute), max_wait=1.0).granted
    assert limiter.reserve(database.engine, "v", "ip", (second,), max_wait=1.0).wait < 0.2


def test_calls_delayed_by_one_limit_do_not_bunch_up_in_another(database: Database) -> None:
    wide, narrow = Limit("wide", 100, 1.0), Limit("narrow", 2, 1.0)
    limiter.hold(database.engine, "v", "ip", (wide,), 5.0)
    started = time.monotonic()
    due = []
    for _ in range(6):
        slot = limiter.reserve(database.engine, "v", "ip", (wide, narrow))
        due.append(time.monotonic() - started + slot.wait)
    assert min(later - sooner for sooner, later in pairwise(due)) > 0.45


def test_a_heavy_call_takes_the_room_of_several(database: Database) -> None:
    weighty = (Limit("weight", 6000, 60.0, heaviest=20),)
    limiter.reserve(database.engine, "v", "ip", weighty, weight=20)
    wait = limiter.reserve(database.engine, "v", "ip", weighty, weight=2).wait
    assert 0.0 < wait <= 20 * 60.0 * 1.02 / 5981


@pytest.mark.parametrize("weights", [[8, 1, 8, 1, 8], [1, 8, 8, 1, 8], [3, 8, 2, 7, 8], [8, 8, 8]])
def test_weights_never_add_up_to_more_than_the_limit_in_any_window(weights: list[int]) -> None:
    limit = Limit("credits", 20, 60.0, heaviest=8)
    sent, at = [], 0.0
    for weight in weights * 20:
        sent.append((at, weight))
        at += limit.spacing(weight)
    worst = max(sum(w for t, w in sent if begin <= t < begin + limit.period) for begin, _ in sent)
    assert 8 < worst <= limit.amount


@pytest.mark.parametrize("weight", [0, 21])
def test_a_weight_outside_the_declared_range_is_refused(weight: int) -> None:
    with pytest.raises(ValueError, match="limit weight: weight"):
        Limit("weight", 6000, 60.0, heaviest=20).spacing(weight)


def test_a_limit_that_allows_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="limit none"):
        Limit("none", 0, 1.0)


def test_nobody_gets_a_slot_while_the_limits_are_on_hold(database: Database) -> None:
    limiter.hold(database.engine, "v", "ip", (FAST,), 30.0)
    limiter.hold(database.engine, "v", "ip", (FAST,), 5.0)
    slot = limiter.reserve(database.engine, "v", "ip", (FAST,), max_wait=10.0)
    assert not slot.granted
    assert slot.wait == pytest.approx(30.0, abs=2.0)


def test_scopes_and_providers_do_not_share_their_limits(database: Database) -> None:
    limiter.hold(database.engine, "v", "ip", (FAST,), 30.0)
    assert limiter.reserve(database.engine, "v", "key-1", (FAST,)).wait == 0.0
    assert limiter.reserve(database.engine, "w", "ip", (FAST,)).wait == 0.0


def test_threads_that_create_the_rows_at_once_still_share_them(database: Database) -> None:
    with ThreadPoolExecutor(8) as pool:
        slots = list(pool.map(lambda _: limiter.reserve(database.engine, "v", "ip", (FAST,)), range(40)))
    assert all(slot.granted for slot in slots)
    assert max(slot.wait for slot in slots) == pytest.approx(39 * 1.02 / 50, abs=0.3)


def test_processes_that_hammer_never_exceed_the_limit_in_any_window(database: Database) -> None:
    limit = Limit("hammer", 40, 1.0)
    limiter.hold(database.engine, "vendor", "ip", (limit,), 60.0)
    first = next_slot(database)
    workers = [subprocess.Popen([sys.executable, "-c", HAMMER], stdout=subprocess.PIPE, text=True) for _ in range(4)]
    slots: list[tuple[float, float]] = []
    for worker in workers:
        output, _ = worker.communicate(timeout=120)
        assert worker.returncode == 0
        for line in output.splitlines():
            before, after = map(float, line.split())
            slots.append((before, after))
    assert len(slots) == 400
    assert (next_slot(database) - first).total_seconds() == pytest.approx(400 * 1.02 / 40, abs=1e-3)
    # A slot lies between the two instants around its reservation, so the n-th slot lies between the n-th of either; the
    # 40th after it is outside of its window.
    earliest, latest = (sorted(instants) for instants in zip(*slots, strict=True))
    assert min(later - sooner for sooner, later in zip(earliest, latest[40:], strict=False)) > 1.0


def next_slot(database: Database) -> datetime:
    with database.engine.connect() as connection:
        found: datetime = connection.execute(sa.select(rate_limits.c.tat)).scalar_one()
        return found
