"""When a part counts as dead: not at its first failure, nor for being slow on a busy machine or for our sleep."""

import threading

import pytest

from financehub_dagster.cli.supervisor.judging import AwakeClock, Judge
from financehub_dagster.operations.probes import BROKEN, BUSIEST, SLOW, Trouble, silent


class Time:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self.clock = AwakeClock(lambda: self.seconds)

    def awake(self, seconds: float) -> None:
        """Time passes while we look at the clock."""
        for _ in range(int(seconds)):
            self.seconds += 1.0
            self.clock.tick()

    def asleep(self, seconds: float) -> float:
        """Time passes while nobody looks."""
        self.seconds += seconds
        return self.clock.tick()


class Part:
    """Answers as a test wants it to."""

    def __init__(self) -> None:
        self.trouble: Trouble | None = None

    def __call__(self) -> None:
        if self.trouble is not None:
            raise self.trouble


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def part() -> Part:
    return Part()


@pytest.fixture
def judge(time, part) -> Judge:
    """Of a part that has worked before."""
    judge = Judge(part, time.clock)
    judge.ask()
    return judge


def test_a_part_that_fails_on_and_on_is_dead_after_its_patience(judge, time, part):
    part.trouble = Trouble("gone")
    judge.ask()
    assert judge.trouble is part.trouble
    assert judge.verdict() is None
    time.awake(BROKEN)
    assert judge.verdict() is None, "one failure is no proof"
    judge.ask()
    assert judge.verdict() is part.trouble
    part.trouble = None
    judge.ask()
    assert judge.verdict() is judge.trouble is None


def test_time_asleep_counts_against_nobody(judge, time, part):
    part.trouble = Trouble("gone")
    judge.ask()
    assert time.asleep(150) == 150
    judge.ask()
    assert judge.verdict() is None
    time.awake(BROKEN)
    assert judge.verdict() is part.trouble


def test_what_is_slow_gets_more_time_each_time_unless_it_is_stopped(judge, time, part):
    part.trouble = silent(10)
    judge.ask()
    time.awake(SLOW - 1)
    judge.ask()
    assert judge.verdict() is None
    assert judge.verdict(stopped=lambda: True) is part.trouble
    time.awake(BUSIEST * SLOW)
    assert judge.verdict(weariness=8.0) is None
    assert judge.verdict() is part.trouble


def test_what_was_just_started_gets_the_time_to_start(time, part):
    judge = Judge(part, time.clock)
    part.trouble = Trouble("nobody there yet")
    judge.ask()
    judge.ask()
    time.awake(100)
    assert judge.verdict(starting=120) is None
    time.awake(BUSIEST * 120)
    assert judge.verdict(starting=120) is part.trouble


def test_what_will_never_work_without_a_restart_gets_no_time_to_start(time, part):
    judge = Judge(part, time.clock)
    part.trouble = Trouble("the code location does not load", final=True)
    judge.ask()
    judge.ask()
    time.awake(BUSIEST * BROKEN)
    assert judge.verdict(starting=120) is part.trouble


def test_a_failure_with_another_reason_is_forgotten(judge, time, part):
    part.trouble = Trouble("no database")
    judge.ask()
    judge.ask()
    time.awake(60)
    judge.excuse()
    assert judge.verdict() is None


def test_a_call_that_never_returns_is_a_failure_too(time):
    hangs = threading.Event()

    def hang() -> None:
        hangs.wait()

    judge = Judge(hang, time.clock)
    caller = threading.Thread(target=judge.ask, daemon=True)
    caller.start()
    try:
        while judge.trouble is None:
            time.awake(1)
        time.awake(BUSIEST * 120)
        assert "gave no answer" in str(judge.verdict(starting=120))
    finally:
        hangs.set()
        caller.join()
