"""Threads that ask at once share a statement, and each still gets its own answer or its own error."""

import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain

import pytest
import sqlalchemy as sa

from financehub_dagster.storage.rate_limits import coalescing
from financehub_dagster_tests.fixtures.eventually import eventually

PATIENCE = 10.0


class Vendor:
    """Answers a question with itself doubled; holds the first batch back until it is let go."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.began, self.may_answer = threading.Event(), threading.Event()
        self.fails = False

    def __call__(self, questions: Sequence[int]) -> list[int]:
        self.batches.append(list(questions))
        if len(self.batches) == 1:
            self.began.set()
            assert self.may_answer.wait(PATIENCE)
            if self.fails:
                raise ValueError("the first one fails")
        return [2 * question for question in questions]


class Crowd:
    """Threads asking `vendor`, the first of which is being answered."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self.engine, self.vendor, self.pool = sa.create_engine("postgresql+psycopg://"), Vendor(), pool
        self.first = self.ask(0)
        assert self.vendor.began.wait(PATIENCE)

    def ask(self, question: int) -> "Future[int]":
        return self.pool.submit(coalescing.ask, self.engine, "key", question, self.vendor)

    def ask_behind(self, questions: Sequence[int]) -> "list[Future[int]]":
        """Asked while the first is being answered; returns once all of them queue."""
        queue = coalescing._queues[self.engine]["key"]
        asked = [self.ask(question) for question in questions]
        eventually(lambda: len(queue._seats) == len(questions))
        return asked


@pytest.fixture
def crowd() -> Iterator[Crowd]:
    with ThreadPoolExecutor(8) as pool:
        crowd = Crowd(pool)
        try:
            yield crowd
        finally:
            crowd.vendor.may_answer.set()


def test_those_who_come_meanwhile_are_answered_together(crowd: Crowd) -> None:
    behind = crowd.ask_behind(range(1, 8))
    crowd.vendor.may_answer.set()
    assert [crowd.first.result(PATIENCE), *(each.result(PATIENCE) for each in behind)] == list(range(0, 16, 2))
    assert [len(batch) for batch in crowd.vendor.batches] == [1, 7]


def test_an_error_is_told_to_who_asked_and_the_others_are_answered(crowd: Crowd) -> None:
    crowd.vendor.fails = True
    behind = crowd.ask_behind(range(1, 8))
    crowd.vendor.may_answer.set()
    with pytest.raises(ValueError, match="the first one fails"):
        crowd.first.result(PATIENCE)
    assert [each.result(PATIENCE) for each in behind] == list(range(2, 16, 2))


def test_who_is_interrupted_while_queueing_is_in_nobodys_way(crowd: Crowd) -> None:
    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, interrupt)
    main = threading.main_thread().ident
    assert main is not None
    timer = threading.Timer(0.2, signal.pthread_kill, (main, signal.SIGUSR1))
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            coalescing.ask(crowd.engine, "key", 100, crowd.vendor)
    finally:
        timer.join()
        signal.signal(signal.SIGUSR1, before)
    behind = crowd.ask_behind([1, 2])
    crowd.vendor.may_answer.set()
    assert [each.result(PATIENCE) for each in behind] == [2, 4]
    assert 100 not in chain.from_iterable(crowd.vendor.batches)


def test_a_thousand_questions_of_eight_threads_get_their_own_answers() -> None:
    engine, vendor = sa.create_engine("postgresql+psycopg://"), Vendor()
    vendor.may_answer.set()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda question: coalescing.ask(engine, "key", question, vendor), range(1000)))
    assert answers == list(range(0, 2000, 2))
    assert sorted(chain.from_iterable(vendor.batches)) == list(range(1000))
