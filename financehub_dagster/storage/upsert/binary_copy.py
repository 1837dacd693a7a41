"""PostgreSQL's binary COPY format, whole arrays at a time.

Belongs here: arrays to the bytes of COPY FROM. Does not belong here: anything about tables. Imports numpy: import it
inside functions.

Format: PostgreSQL documentation, COPY, "Binary Format": a header, then per row the number of fields and for each field
its length (-1 for NULL) and its bytes in network order, then a trailer.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
CHUNK_BYTES = 1 << 19
"""Bytes per piece handed to the socket: large enough to be cheap, small enough to be made while the server reads."""
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

    def lengths(self, rows: slice) -> NDArray[np.int32] | None:
        """Bytes of each value, -1 for NULL; None where all have the full width."""
        if self.null is None:
            return None
        return np.where(self.null[rows], np.int32(-1), np.int32(self.width))

    @property
    def kind(self) -> str:
        """What numpy calls the type, without its width."""
        return f"{self.values.dtype.byteorder}{self.values.dtype.kind}"

    def content(self, rows: slice) -> NDArray[np.generic]:
        """The values, anything where there is none."""
        return self.values[rows]

    def take(self, rows: slice | NDArray[np.intp]) -> "Fixed":
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

    def lengths(self, rows: slice) -> NDArray[np.int32] | None:
        """Bytes of each value, -1 for NULL; None where all have the full width."""
        return self._sizes[self.codes[rows]]

    @property
    def kind(self) -> str:
        """What numpy calls the type, without its width."""
        return "S"

    def content(self, rows: slice) -> NDArray[np.generic]:
        """The values, nothing where there is none."""
        codes = self.codes[rows]
        if codes.min() == codes.max():  # as in most pieces, and finding out is cheaper than sorting
            return np.broadcast_to(self._values(codes[:1]), codes.shape)
        used, where = np.unique(codes, return_inverse=True)
        return self._values(used)[where]

    def take(self, rows: slice | NDArray[np.intp]) -> "Coded":
        """The column with `rows` only, in their order."""
        return Coded(self.codes[rows], self.values)

    def _values(self, codes: NDArray[np.intp]) -> NDArray[np.bytes_]:
        return np.array([b"" if code < 0 else self.values[code] for code in codes], "S")

    @cached_property
    def _sizes(self) -> NDArray[np.int32]:
        """Bytes of each of `values`, and at the end, where code -1 finds it, -1 for NULL."""
        return np.array([*map(len, self.values), -1], np.int32)


type Field = Fixed | Coded


def encode(fields: Sequence[Field], rows: int) -> Iterator[bytes | bytearray]:
    """The bytes of a binary COPY of `rows` rows, in pieces."""
    yield HEADER
    yield from encode_rows(fields, rows)
    yield TRAILER


def encode_rows(fields: Sequence[Field], rows: int) -> Iterator[bytes | bytearray]:
    """The bytes of so many rows alone, in pieces.

    Rows of the same lengths lie alike and are written together; where those change too often, all are at once.
    """
    lengths = [field.lengths(slice(0, rows)) for field in fields]
    widths, kinds = tuple(field.width for field in fields), tuple(field.kind for field in fields)
    starts = _starts(lengths, rows)
    if len(starts) * SHORTEST_RUN > rows:
        layout = _layout(kinds, widths)
        for piece in _pieces(0, rows, widths):
            yield _encode_mixed(fields, layout, piece, [None if each is None else each[piece] for each in lengths])
    else:
        shapes = [
            np.full(len(starts), width) if own is None else own[starts]
            for width, own in zip(widths, lengths, strict=True)
        ]
        ends = [*starts[1:], rows]
        for first, end, shape in zip(starts, ends, np.stack(shapes, axis=1).tolist(), strict=True):
            layout = _layout(kinds, tuple(shape))
            for piece in _pieces(first, end, shape):
                yield _encode_alike(fields, layout, piece)


def row_sizes(fields: Sequence[Field], rows: int) -> NDArray[np.int64]:
    """Bytes of each encoded row."""
    sizes = np.full(rows, 2 + 4 * len(fields), np.int64)
    for field in fields:
        own = field.lengths(slice(0, rows))
        sizes += field.width if own is None else np.maximum(own, 0)
    return sizes


def _starts(lengths: Sequence[NDArray[np.int32] | None], rows: int) -> list[int]:
    """The rows that do not lie as the one before them does, the first one among them."""
    differs = np.zeros(rows, np.bool_)
    differs[:1] = True
    for own in lengths:
        if own is not None:
            differs[1:] |= own[1:] != own[:-1]
    starts: list[int] = np.flatnonzero(differs).tolist()
    return starts


def _pieces(start: int, stop: int, lengths: Sequence[int]) -> Iterator[slice]:
    """The rows from `start` until before `stop` in pieces, when their fields have these lengths."""
    step = max(1, CHUNK_BYTES // (2 + sum(4 + max(length, 0) for length in lengths)))
    for first in range(start, stop, step):
        yield slice(first, min(first + step, stop))


class _Layout(NamedTuple):
    """A row without its values, and where they go: `places` are named by the numbers of the `columns` that have any."""

    row: bytes
    places: np.dtype[np.void]
    columns: Sequence[int]


@lru_cache(maxsize=256)
def _layout(kinds: tuple[str, ...], lengths: tuple[int, ...]) -> _Layout:
    row = bytearray(len(lengths).to_bytes(2))
    places: dict[str, tuple[str, int]] = {}
    for number, (kind, length) in enumerate(zip(kinds, lengths, strict=True)):
        row += length.to_bytes(4, signed=True)
        if length > 0:
            places[str(number)] = f"{kind}{length}", len(row)
            row += bytes(length)
    formats, offsets = zip(*places.values(), strict=True) if places else ((), ())
    layout = {"names": list(places), "formats": formats, "offsets": offsets, "itemsize": len(row)}
    return _Layout(bytes(row), np.dtype(layout), tuple(map(int, places)))  # type: ignore[call-overload]


def _encode_alike(fields: Sequence[Field], layout: _Layout, rows: slice) -> bytearray:
    """Rows that lie as `layout` says."""
    count: int = rows.stop - rows.start
    encoded = bytearray(layout.row) * count
    records = np.frombuffer(encoded, layout.places)
    for number in layout.columns:
        records[str(number)] = fields[number].content(rows)
    return encoded


def _encode_mixed(
    fields: Sequence[Field], layout: _Layout, rows: slice, lengths: Sequence[NDArray[np.int32] | None]
) -> bytes:
    """Lay the rows out at full width, as `layout` says, then drop the bytes that NULLs and short values do not have."""
    laid_out = np.frombuffer(_encode_alike(fields, layout, rows), np.uint8).reshape(rows.stop - rows.start, -1)
    present = np.ones(laid_out.shape, np.bool_)
    at = 2
    for field, own in zip(fields, lengths, strict=True):
        if own is not None:
            laid_out[:, at : at + 4] = own.astype(">i4").view(np.uint8).reshape(-1, 4)
            present[:, at + 4 : at + 4 + field.width] = np.arange(field.width) < own[:, None]
        at += 4 + field.width
    return laid_out[present].tobytes()
