"""Several questions to vendors or to the database at once, their answers in the order of the questions.

Belongs here: the threads, and which answers are stored together. Does not belong here: limits (PostgreSQL holds them,
whoever asks) and what is asked.
"""

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from contextvars import copy_context
from threading import Event

from financehub_dagster.gateway.pausing import end_with

CONNECTIONS = 8
"""Questions under way at once. Vendors' own limits are lower; only waiting for answers gains by more."""
AHEAD = 100
"""Questions begun before the first of them has been taken: enough to go on asking while answers are being stored."""
BATCH = 25
"""Answers in one transaction at least: a write of so many is cheap."""
QUICK_SECONDS, QUICK_BATCH = 1.0, 100
"""Of answers that come quickly, those of so many seconds, up to so many: each costs half as much to store.

A killed run loses at most one batch: 25 answers, or those of a second.
"""
GRACE_SECONDS = 3.0
"""How long questions under way are waited for when their answers are not wanted any more: a commit, a quick answer."""


def at_once[Q, A](ask: Callable[[Q], A], questions: Iterable[Q], connections: int = CONNECTIONS) -> Generator[A]:
    """The answers to `questions`, in their order; what `ask` raises is raised here.

    Questions are asked in the caller's context: their requests count where those of the caller do.

    When the caller stops taking answers, since the run is cancelled or has failed, questions that were not begun are
    not asked, and pauses end at once (`gateway.pausing`). What takes longer than GRACE_SECONDS ends by itself, unheard.
    """
    abandoned = Event()
    context = copy_context()
    context.run(end_with, abandoned)
    pool = ThreadPoolExecutor(connections, "ask")
    begun: deque[Future[A]] = deque()
    try:
        for question in questions:
            begun.append(pool.submit(context.copy().run, ask, question))
            if len(begun) == AHEAD:
                yield _taken(begun)
        while begun:
            yield _taken(begun)
    finally:
        abandoned.set()
        pool.shutdown(wait=False, cancel_futures=True)
        wait([future for future in begun if not future.cancelled()], GRACE_SECONDS)


def batches[A](answers: Iterable[A], is_full: Callable[[list[A]], bool] = lambda _: False) -> Iterator[list[A]]:
    """The answers that are stored in one transaction each: by their number and the time they took, or when is_full."""
    batch: list[A] = []
    began = time.monotonic()
    for answer in answers:
        batch.append(answer)
        quick = len(batch) < QUICK_BATCH and time.monotonic() - began < QUICK_SECONDS
        if is_full(batch) or (len(batch) >= BATCH and not quick):
            yield batch
            batch, began = [], time.monotonic()
    if batch:
        yield batch


def apart[Q, A](ask: Callable[[Q], A], question: Q) -> A:
    """The answer to one question, asked in a thread of its own: a signal does not reach into a vendor's client."""
    with closing(at_once(ask, [question], 1)) as answers:
        return next(answers)


def _taken[A](begun: deque[Future[A]]) -> A:
    answer = begun[0].result()
    begun.popleft()
    return answer
