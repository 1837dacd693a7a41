"""Answers in pieces: what polars and DuckDB ask an address for when they read a file there (RFC 9110, range requests).

Belongs here: which piece of an answer a request means, and keeping answers for the pieces to come. Does not belong
here: making answers (`rows`).

The pieces that a client puts together must be of one answer, and making it anew for each would cost as often. So
whole answers are kept for a minute, in memory, for requests for pieces alone: a whole answer is always a new one.
"""

import hashlib
import re
import threading
import time

from fastapi import Request, Response

KEPT_SECONDS = 60.0
MOST_KEPT = 64 * 2**20
"""Bytes of all answers that are kept; a longer one is made anew for each piece."""
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


class Kept:
    """The answers of an application that were made lately, by the address that they answer."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._answers: dict[str, tuple[float, Response]] = {}

    def for_piece(self, request: Request) -> Response | None:
        """The answer that a request for a piece is about; None where it asks for a whole one, or none is kept."""
        if "range" not in request.headers:
            return None
        with self._turn:
            made, answer = self._answers.get(str(request.url), (0.0, None))
        return answer if _is_fresh(made) else None

    def keep(self, request: Request, answer: Response) -> None:
        """Keep the answer to a request, as long as there is room for newer ones."""
        answer.headers["accept-ranges"] = "bytes"
        answer.headers["etag"] = f'"{hashlib.blake2b(bytes(answer.body), digest_size=8).hexdigest()}"'
        address = str(request.url)
        with self._turn:
            others = {of: each for of, each in self._answers.items() if of != address and _is_fresh(each[0])}
            self._answers = {**others, address: (time.monotonic(), answer)}
            while sum(len(each.body) for _, each in self._answers.values()) > MOST_KEPT:
                del self._answers[next(iter(self._answers))]


def _is_fresh(made: float) -> bool:
    return time.monotonic() - made <= KEPT_SECONDS


def asked_for(request: Request, answer: Response) -> Response:
    """The piece of an answer that a request asks for: all of it without a range, or where the answer is another one.

    Several ranges at once, which nobody needs who can ask twice, get the whole too.
    """
    found = _RANGE.fullmatch(request.headers.get("range", ""))
    if found is None or request.headers.get("if-range", answer.headers["etag"]) != answer.headers["etag"]:
        return answer
    first, last = found.groups()
    size = len(answer.body)
    start = int(first) if first else size - min(int(last or 0), size)
    stop = min(int(last) + 1, size) if first and last else size
    if start >= stop:
        return Response(status_code=416, headers={"content-range": f"bytes */{size}"})
    own = {name: text for name, text in answer.headers.items() if name != "content-length"}
    of_all = {**own, "content-range": f"bytes {start}-{stop - 1}/{size}"}
    return Response(bytes(answer.body)[start:stop], 206, headers=of_all)
