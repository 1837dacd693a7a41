"""Several questions to vendors or to the database at once, their answers in the order of the questions.

Belongs here: the threads. Does not belong here: limits (PostgreSQL holds them, whoever asks) and what is asked.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor

CONNECTIONS = 8
"""Questions under way at once. Vendors' own limits are lower; only waiting for answers gains by more."""
AHEAD = 100
"""Questions begun before the first of them has been taken: enough to go on asking while answers are being stored."""


def at_once[Q, A](ask: Callable[[Q], A], questions: Iterable[Q], connections: int = CONNECTIONS) -> Generator[A]:
    """The answers to `questions`, in their order; what `ask` raises is raised here.

    Questions that were not begun when the caller stops taking answers are not asked.
    """
    with ThreadPoolExecutor(connections, thread_name_prefix="ask") as pool:
        begun: deque[Future[A]] = deque()
        try:
            for question in questions:
                begun.append(pool.submit(ask, question))
                if len(begun) == AHEAD:
                    yield begun.popleft().result()
            while begun:
                yield begun.popleft().result()
        finally:
            for future in begun:
                future.cancel()
