"""Answers in pieces: what polars and DuckDB ask an address for when they read a file there (RFC 9110, range requests).

Belongs here: which piece of an answer a request means, and keeping answers for the pieces to come. Does not belong
here: making answers (`rows`).

The pieces that a client puts together must be of one answer, and making it anew for each would cost as often. So
answers are kept for a minute, in memory, for HEAD and requests for pieces alone: a whole answer is always a new one,
and does not take the place of one that others are reading.
"""

import hashlib
import re
import threading
import time
from dataclasses import dataclass

from fastapi import Request, Response

KEPT_SECONDS = 60.0
STILL_READ_SECONDS, LONGEST_SECONDS = 10.0, 120.0
"""An older answer of which a piece was asked for so lately is being read, and stays; and how long it stays at most."""
MOST_KEPT = 64 * 2**20
"""Bytes of all answers that are kept; a longer one is made anew for each piece."""
IS_HEAD = "financehub.head"
"""In an ASGI scope: whether the request, which an application sees as GET, is a HEAD."""
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


@dataclass
class _Answer:
    """An answer, and when it was made and last asked for."""

    response: Response
    made: float
    asked: float

    @property
    def is_kept(self) -> bool:
        now = time.monotonic()
        age = now - self.made
        return age <= KEPT_SECONDS or (age <= LONGEST_SECONDS and now - self.asked <= STILL_READ_SECONDS)


class Kept:
    """The answers of an application that were made lately, by the address that they answer."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._answers: dict[str, _Answer] = {}

    def for_piece(self, request: Request) -> Response | None:
        """The answer that HEAD or a request for a piece is about; None where a whole one is asked for, or none kept."""
        if "range" not in request.headers and not request.scope.get(IS_HEAD):
            return None
        with self._turn:
            found = self._answers.get(str(request.url))
            if found is None or not found.is_kept:
                return None
            found.asked = time.monotonic()
            return found.response

    def keep(self, request: Request, answer: Response) -> Response:
        """Keep the answer to a request, as long as there is room for newer ones; returns what to answer it from.

        That is the one that another request for pieces has had made meanwhile, if any.
        """
        answer.headers["accept-ranges"] = "bytes"
        answer.headers["etag"] = f'"{hashlib.blake2b(bytes(answer.body), digest_size=8).hexdigest()}"'
        now = time.monotonic()
        with self._turn:
            self._answers = {address: each for address, each in self._answers.items() if each.is_kept}
            if len(answer.body) <= MOST_KEPT:
                self._answers.setdefault(str(request.url), _Answer(answer, now, now))
            while sum(len(each.response.body) for each in self._answers.values()) > MOST_KEPT:
                del self._answers[next(iter(self._answers))]
        return self.for_piece(request) or answer


def asked_for(request: Request, answer: Response) -> Response:
    """The piece of an answer that a request asks for: all of it without a range, or where the answer is another one.

    Several ranges at once, which nobody needs who can ask twice, get the whole too. Where the request is for another
    answer alone (If-Match), it gets 412.
    """
    wanted = request.headers.get("if-match", "*")
    if wanted != "*" and answer.headers["etag"] not in re.split(r"\s*,\s*", wanted.strip()):
        return Response(status_code=412, headers={"etag": answer.headers["etag"]})
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
