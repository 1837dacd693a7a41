"""PostgreSQL's binary COPY format, whole arrays at a time.

Belongs here: arrays to the bytes of COPY FROM. Does not belong here: anything about tables. Imports numpy: import it
inside functions.

Format: PostgreSQL documentation, COPY, "Binary Format": a header, then per row the number of fields and for each field
its length (-1 for NULL) and its bytes in network order, then a trailer.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
CHUNK_BYTES = 1 << 20
"""Bytes per piece handed to the socket: large enough to be cheap, small enough to stay in the cache."""


@dataclass(frozen=True)
class Fixed:
    """A column of fixed width: big-endian values of shape (rows,), and which of them are NULL (None: none is)."""

    values: NDArray[np.generic]
    null: NDArray[np.bool_] | None = None

    @property
    def width(self) -> int:
        """Bytes per value."""
        return self.values.dtype.itemsize

    def take(self, rows: NDArray[np.intp]) -> "Fixed":
        """The column with `rows` only, in their order."""
        return Fixed(self.values[rows], None if self.null is None else self.null[rows])


@dataclass(frozen=True)
class Coded:
    """A column of any width: one code per row of shape (rows,) into `values`; code -1 is NULL."""

    codes: NDArray[np.intp]
    values: Sequence[bytes]

    @property
    def width(self) -> int:
        """Bytes of the longest value."""
        return max(map(len, self.values), default=0)

    @property
    def null(self) -> NDArray[np.bool_] | None:
        """Which rows are NULL (None: none is)."""
        null = self.codes < 0
        return null if null.any() else None

    def take(self, rows: NDArray[np.intp]) -> "Coded":
        """The column with `rows` only, in their order."""
        return Coded(self.codes[rows], self.values)


type Field = Fixed | Coded


def encode(fields: Sequence[Field], rows: int) -> Iterator[bytes]:
    """The bytes of a binary COPY of `rows` rows, in pieces."""
    width = 2 + sum(4 + field.width for field in fields)
    step = max(1, CHUNK_BYTES // width)
    yield HEADER
    for start in range(0, rows, step):
        yield _encode_rows(fields, slice(start, min(start + step, rows)))
    yield TRAILER


def _encode_rows(fields: Sequence[Field], rows: slice) -> bytes:
    """Lay the rows out at full width, then drop the bytes that NULLs and short values do not have."""
    count = rows.stop - rows.start
    width = 2 + sum(4 + field.width for field in fields)
    laid_out = np.zeros((count, width), np.uint8)
    laid_out[:, :2] = np.frombuffer(len(fields).to_bytes(2), np.uint8)
    present: NDArray[np.bool_] | None = None
    at = 2
    for field in fields:
        lengths, content = _content(field, rows)
        laid_out[:, at : at + 4] = lengths.astype(">i4").view(np.uint8).reshape(-1, 4)
        at += 4
        laid_out[:, at : at + field.width] = content
        if (lengths != field.width).any():
            if present is None:
                present = np.ones((count, width), np.bool_)
            present[:, at : at + field.width] = np.arange(field.width) < lengths[:, None]
        at += field.width
    return laid_out.tobytes() if present is None else laid_out.ravel()[present.ravel()].tobytes()


def _content(field: Field, rows: slice) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Lengths of shape (rows,), -1 for NULL, and bytes of shape (rows, width)."""
    if isinstance(field, Fixed):
        values = np.ascontiguousarray(field.values[rows])
        lengths = np.full(len(values), field.width, np.int32)
        if field.null is not None:
            lengths[field.null[rows]] = -1
        return lengths, values.view(np.uint8).reshape(-1, field.width)
    used, where = np.unique(field.codes[rows], return_inverse=True)
    values_used = [b"" if code < 0 else field.values[code] for code in used]
    table = np.array(values_used, f"S{max(field.width, 1)}").view(np.uint8).reshape(len(used), -1)[:, : field.width]
    sizes = np.array([-1 if code < 0 else len(value) for code, value in zip(used, values_used, strict=True)], np.int32)
    return sizes[where], table[where]
