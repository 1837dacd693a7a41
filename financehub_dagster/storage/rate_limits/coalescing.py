"""Threads that ask the database the same at once ask it together, with one statement for all of them.

Belongs here: gathering the questions of one process and handing out the answers. Does not belong here: any statement.
While one thread asks, the others queue; the first of these then asks for all that came meanwhile. A thread that is
alone asks at once, as if nothing of this were here.
"""

import os
import threading
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    import sqlalchemy as sa


class _Seat[Q, A]:
    """One thread's question, and its answer once somebody asked; woken without one, the thread has to ask itself."""

    def __init__(self, question: Q) -> None:
        self.question = question
        self.answer: tuple[A] | None = None
        self.woken = threading.Event()


class _Queue[Q, A]:
    """Who waits for an answer; one thread at a time leads, which is asking for those that sit."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._led = False
        self._seats: list[_Seat[Q, A]] = []

    def ask(self, question: Q, serve: Callable[[Sequence[Q]], Sequence[A]]) -> A:
        seat: _Seat[Q, A] = _Seat(question)
        with self._lock:
            self._seats.append(seat)
            leads, self._led = not self._led, True
        if not leads:
            try:
                seat.woken.wait()
            except BaseException:
                self._leave(seat)
                raise
        if seat.answer is None:
            self._lead(seat, serve)
        assert seat.answer is not None
        return seat.answer[0]

    def _lead(self, own: _Seat[Q, A], serve: Callable[[Sequence[Q]], Sequence[A]]) -> None:
        """Ask for all that sit; an error is the leader's alone, and the others ask again."""
        with self._lock:
            seats, self._seats = self._seats, []
        try:
            answers = serve([seat.question for seat in seats])
            for seat, answer in zip(seats, answers, strict=True):
                seat.answer = (answer,)
        finally:
            with self._lock:
                self._seats = [seat for seat in seats if seat.answer is None and seat is not own] + self._seats
                self._wake_next()
            for seat in seats:
                if seat.answer is not None:
                    seat.woken.set()

    def _wake_next(self) -> None:
        """Let the first that sits lead; with the lock held."""
        self._led = bool(self._seats)
        if self._seats:
            self._seats[0].woken.set()

    def _leave(self, seat: _Seat[Q, A]) -> None:
        """An interrupted thread wants no answer any more, nor can it lead."""
        with self._lock:
            if seat in self._seats:
                self._seats.remove(seat)
                if seat.woken.is_set():
                    self._wake_next()


_queues: "WeakKeyDictionary[sa.Engine, dict[Hashable, _Queue[Any, Any]]]" = WeakKeyDictionary()
_lock = threading.Lock()


def ask[Q, A](engine: "sa.Engine", key: Hashable, question: Q, serve: Callable[[Sequence[Q]], Sequence[A]]) -> A:
    """The answer to `question`, which may be asked together with those of other threads under the same `key`.

    serve gets the questions in the order they came and returns as many answers; it runs in one of the asking threads.
    Only questions that were put before it began are in it, so that no answer is older than its question.
    """
    with _lock:
        queue: _Queue[Q, A] = _queues.setdefault(engine, {}).setdefault(key, _Queue())
    return queue.ask(question, serve)


def _start_anew() -> None:
    """A forked child has none of the threads that sit and lead here."""
    _queues.clear()
    _lock.release()


os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_start_anew)
