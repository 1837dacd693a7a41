"""Catching a function at its moment, from outside: the product knows nothing of it.

Belongs here: replacing a function by one that calls it and acts before, after or between its pieces. Does not belong
here: which functions (kill_points).
"""

import os
import signal
from collections.abc import Callable, Iterator
from functools import wraps
from importlib import import_module
from itertools import count
from typing import Any

from financehub_dagster_tests.faults.kill.kill_points import Point

type Action = Callable[[], None]


def kill_self(number: signal.Signals) -> Action:
    """Send the signal to this process, as another one would."""
    return lambda: os.kill(os.getpid(), number)


def install(point: Point, action: Action) -> None:
    """Have `action` happen at `point`, once; raises AttributeError or ImportError if the product has no such name."""
    owner, name = _find(point.target)
    original = getattr(owner, name)
    turns = count(1)

    def passed() -> None:
        # next() of a counter is one step for all threads.
        if next(turns) == point.turn:
            action()

    @wraps(original)
    def caught(*arguments: Any, **options: Any) -> Any:
        if not point.counts(*arguments, **options):
            return original(*arguments, **options)
        if point.moment == "between":
            return _pieces(original(*arguments, **options), passed)
        if point.moment == "before":
            passed()
        result = original(*arguments, **options)
        if point.moment == "after":
            passed()
        return result

    setattr(owner, name, caught)


def _pieces(pieces: Iterator[Any], passed: Action) -> Iterator[Any]:
    for piece in pieces:
        yield piece
        passed()


def _find(target: str) -> tuple[Any, str]:
    module, _, path = target.partition(":")
    *owners, name = path.split(".")
    owner: Any = import_module(module)
    for step in owners:
        owner = getattr(owner, step)
    return owner, name
