"""PostgreSQL's binary COPY format, whole arrays at a time.

Belongs here: arrays to the bytes of COPY FROM. Does not belong here: anything about tables. Imports numpy: import it
inside functions.

Format: PostgreSQL documentation, COPY, "Binary Format": a header, then per row the number of fields and for each field
its length (-1 for NULL) and its bytes in network order, then a trailer.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
CHUNK_BYTES = 1 << 20
"""Bytes per piece handed to the socket: large enough to be cheap, small enough to stay in the cache."""
SHORTEST_RUN = 16
"""Rows that lie alike one after another, on average, from which on it pays to write them run by run."""


@dataclass(frozen=True)
class Fixed:
    """A column of fixed width: big-endian values of shape (rows,), and which of them are NULL (None: none is)."""

    values: NDArray[np.generic]
    null: NDArray[np.bool_] | None = None

    @property
    def width(self) -> int:
        """Bytes per value."""
        return self.values.dtype.itemsize

    def lengths(self, rows: slice) -> NDArray[np.int32]:
        """Bytes of each value, -1 for NULL."""
        lengths = np.full(rows.stop - rows.start, self.width, np.int32)
        if self.null is not None:
            lengths[self.null[rows]] = -1
        return lengths

    @property
    def kind(self) -> str:
        """What numpy calls the type, without its width."""
        return f"{self.values.dtype.byteorder}{self.values.dtype.kind}"

    def content(self, rows: slice) -> NDArray[np.generic]:
        """The values, anything where there is none."""
        return self.values[rows]

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

    def lengths(self, rows: slice) -> NDArray[np.int32]:
        """Bytes of each value, -1 for NULL."""
        used, where = np.unique(self.codes[rows], return_inverse=True)
        sizes = np.array([-1 if code < 0 else len(self.values[code]) for code in used], np.int32)
        return sizes[where]

    @property
    def kind(self) -> str:
        """What numpy calls the type, without its width."""
        return "S"

    def content(self, rows: slice) -> NDArray[np.generic]:
        """The values, nothing where there is none."""
        used, where = np.unique(self.codes[rows], return_inverse=True)
        return np.array([b"" if code < 0 else self.values[code] for code in used], "S")[where]

    def take(self, rows: NDArray[np.intp]) -> "Coded":
        """The column with `rows` only, in their order."""
        return Coded(self.codes[rows], self.values)


type Field = Fixed | Coded


def encode(fields: Sequence[Field], rows: int) -> Iterator[bytes]:
    """The bytes of a binary COPY of `rows` rows, in pieces."""
    yield HEADER
    yield from encode_rows(fields, 0, rows)
    yield TRAILER


def encode_rows(fields: Sequence[Field], start: int, stop: int) -> Iterator[bytes]:
    """The bytes of the rows from `start` until before `stop` alone, in pieces."""
    step = max(1, CHUNK_BYTES // _row_bytes([field.width for field in fields]))
    for first in range(start, stop, step):
        yield _encode_piece(fields, first, min(first + step, stop))


def _row_bytes(lengths: Sequence[int]) -> int:
    return 2 + sum(4 + max(length, 0) for length in lengths)


def _encode_piece(fields: Sequence[Field], start: int, stop: int) -> bytes:
    """Rows of the same lengths lie alike and are written together; where they change too often, all are at once."""
    lengths = np.stack([field.lengths(slice(start, stop)) for field in fields])
    changes = np.flatnonzero((lengths[:, 1:] != lengths[:, :-1]).any(axis=0)) + 1
    if len(changes) * SHORTEST_RUN > stop - start:
        return _encode_mixed(fields, slice(start, stop), lengths)
    edges = [0, *changes.tolist(), stop - start]
    return b"".join(
        _encode_alike(fields, slice(start + first, start + end), tuple(lengths[:, first].tolist()))
        for first, end in pairwise(edges)
    )


def _encode_alike(fields: Sequence[Field], rows: slice, lengths: tuple[int, ...]) -> bytearray:
    """Rows whose fields all have these lengths."""
    row, layout = _layout(tuple(field.kind for field in fields), lengths)
    count: int = rows.stop - rows.start
    encoded = bytearray(row) * count
    records = np.frombuffer(encoded, layout)
    for number, field in enumerate(fields):
        if lengths[number] > 0:
            records[str(number)] = field.content(rows)
    return encoded


@lru_cache(maxsize=256)
def _layout(kinds: tuple[str, ...], lengths: tuple[int, ...]) -> tuple[bytes, np.dtype[np.void]]:
    """A row without its values, and where they go: named by the number of their column, for those that have any."""
    row = bytearray(len(lengths).to_bytes(2))
    places: dict[str, tuple[str, int]] = {}
    for number, (kind, length) in enumerate(zip(kinds, lengths, strict=True)):
        row += length.to_bytes(4, signed=True)
        if length > 0:
            places[str(number)] = f"{kind}{length}", len(row)
            row += bytes(length)
    formats, offsets = zip(*places.values(), strict=True) if places else ((), ())
    layout = {"names": list(places), "formats": formats, "offsets": offsets, "itemsize": len(row)}
    return bytes(row), np.dtype(layout)  # type: ignore[call-overload]


def _encode_mixed(fields: Sequence[Field], rows: slice, lengths: NDArray[np.int32]) -> bytes:
    """Lay the rows out at full width, then drop the bytes that NULLs and short values do not have."""
    widths = tuple(field.width for field in fields)
    laid_out = np.frombuffer(_encode_alike(fields, rows, widths), np.uint8).reshape(rows.stop - rows.start, -1)
    present = np.ones(laid_out.shape, np.bool_)
    at = 2
    for width, own in zip(widths, lengths, strict=True):
        laid_out[:, at : at + 4] = own.astype(">i4").view(np.uint8).reshape(-1, 4)
        at += 4
        present[:, at : at + width] = np.arange(width) < own[:, None]
        at += width
    return laid_out[present].tobytes()
