"""What of a batch is stored already, symbol by symbol, told without writing anything.

Belongs here: comparing the rows of a batch with the stored ones, byte for byte. Does not belong here: writing, and what
differs within a symbol. Imports numpy: import it inside functions.

The server packs the rows it has of a symbol as a binary COPY would encode them. Equal bytes are equal rows; unequal
ones may still be (0.0 and -0.0, the order of keys in JSON), so that whoever writes looks closer.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cache
from itertools import groupby
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.dialects.postgresql import JSONB

from financehub_dagster.storage.database.engine import Connection, raw_cursor
from financehub_dagster.storage.database.sql_text import DIALECT, quoted
from financehub_dagster.storage.upsert.batch import Batch
from financehub_dagster.storage.upsert.binary_copy import Coded, Field, encode_rows, row_sizes
from financehub_dagster.storage.upsert.column_encoding import EPOCH

_SENDS: dict[type[sa.types.TypeEngine[Any]], tuple[str, int | None]] = {
    JSONB: ("jsonb_send", None),
    sa.ARRAY: ("array_send", None),
    sa.Text: ("textsend", None),
    sa.Boolean: ("boolsend", 1),
    sa.SmallInteger: ("int2send", 2),
    sa.BigInteger: ("int8send", 8),
    sa.Integer: ("int4send", 4),
    sa.Date: ("date_send", 4),
    sa.DateTime: ("timestamptz_send", 8),
}
"""By SQL type, the more special one first: the function of its binary form, and how long that is where it is fixed."""


@dataclass(frozen=True)
class Stretch:
    """The rows of one symbol in a batch, and the times of the first and the last: dates, or instants in UTC."""

    symbol: str
    rows: slice
    first: date
    last: date

    @property
    def days(self) -> tuple[date, date]:
        """The UTC days of the first and the last."""
        first, last = (time.date() if isinstance(time, datetime) else time for time in (self.first, self.last))
        return first, last


@dataclass(frozen=True)
class Split:
    """A batch without the symbols whose rows are all stored as they are.

    absent: symbols of which nothing is stored from the first to the last row; unclear: the rows of all others.
    """

    absent: list[Stretch] = field(default_factory=list)
    unclear: list[slice] = field(default_factory=list)


def split(connection: Connection, table: sa.Table, batch: Batch) -> Split:
    """Tell apart what is absent, stored, and unclear: everything, where the key does not begin with symbol and time."""
    key = list(table.primary_key.columns)[:2]
    if [column.name for column in key[:1]] != ["symbol"] or not isinstance(key[-1].type, sa.Date | sa.DateTime):
        return Split(unclear=[slice(0, batch.rows)])
    found = Split()
    stretches = list(_stretches(table, batch))
    compared = {column.name for column in _compared(table)}
    fields = [own for own, column in zip(batch.fields, table.columns, strict=True) if column.name in compared]
    asked = {
        "symbols": [each.symbol for each in stretches],
        "firsts": [each.first for each in stretches],
        "lasts": [each.last for each in stretches],
        "counts": [each.rows.stop - each.rows.start for each in stretches],
    }
    # All rows are encoded at once, since most of that work is per call, not per row.
    encoded, at = bytearray(), np.array([], np.int64)
    with raw_cursor(connection, binary=True) as cursor:
        for number, stored in cursor.stream(_packed(table), asked):
            stretch = stretches[number - 1]
            if stored is None:
                found.absent.append(stretch)
                continue
            if not encoded:
                encoded, at = _encoded(fields, batch.rows)
            if stored != encoded[at[stretch.rows.start] : at[stretch.rows.stop]]:
                found.unclear.append(stretch.rows)
    return found


def _encoded(fields: Sequence[Field], rows: int) -> tuple[bytearray, NDArray[np.int64]]:
    """The rows as COPY encodes them, and where each begins, and the last ends."""
    encoded = bytearray()
    for piece in encode_rows(fields, rows):
        encoded += piece
    return encoded, np.append(0, np.cumsum(row_sizes(fields, rows)))


def _stretches(table: sa.Table, batch: Batch) -> Iterator[Stretch]:
    symbol, time = list(table.primary_key.columns)[:2]
    symbols, times = (batch.fields[list(table.columns).index(column)] for column in (symbol, time))
    assert isinstance(symbols, Coded)
    assert not isinstance(times, Coded)
    starts = np.append(0, np.flatnonzero(np.diff(symbols.codes)) + 1)
    unit = "D" if isinstance(time.type, sa.Date) else "us"
    instants = EPOCH.astype(f"datetime64[{unit}]") + times.values.astype(np.int64).astype(f"timedelta64[{unit}]")
    for start, stop in zip(starts.tolist(), [*starts[1:].tolist(), batch.rows], strict=True):
        first, last = (_aware(instants[row].item()) for row in (start, stop - 1))
        yield Stretch(symbols.values[symbols.codes[start]].decode(), slice(start, stop), first, last)


def _aware(time: date) -> date:
    return time.replace(tzinfo=UTC) if isinstance(time, datetime) else time


def _compared(table: sa.Table) -> list[sa.Column[Any]]:
    """All but the symbol, by which rows are found, and the stamps."""
    return [column for column in table.columns if column.name != "symbol" and not column.info.get("stamp")]


@cache
def _packed(table: sa.Table) -> str:
    """Number of each asked symbol and its rows from first to last as COPY encodes what is compared; NULL for none.

    No more rows are read than are compared: if one more is there, the last of those read is not the last asked for.
    """
    _, time, *rest = (quoted(column.name) for column in table.primary_key.columns)
    kind = table.primary_key.columns[1].type.compile(dialect=DIALECT)
    return f"""
        SELECT number, packed
        FROM unnest(
            %(symbols)s::text[], %(firsts)s::{kind}[], %(lasts)s::{kind}[], %(counts)s::bigint[]
        ) WITH ORDINALITY AS asked (symbol, first, last, count, number)
        CROSS JOIN LATERAL (
            SELECT string_agg({_row(_compared(table))}, ''::bytea) AS packed
            FROM (
                SELECT * FROM {quoted(table.name)} AS t
                WHERE t.symbol = asked.symbol AND t.{time} BETWEEN asked.first AND asked.last
                ORDER BY {", ".join([time, *rest])} LIMIT asked.count
            ) AS t
        ) AS stored
    """


def _row(columns: Sequence[sa.Column[Any]]) -> str:
    """One row as COPY encodes it: how many fields, and of each its length (-1 for NULL) and its bytes."""
    parts = [_literal(len(columns).to_bytes(2))]
    for is_double, group in groupby(columns, key=lambda column: isinstance(column.type, sa.Double)):
        if is_double:
            # An array is sent as a header of 20 bytes and its elements as fields are (array_send): one call for many.
            names = ", ".join(f"t.{quoted(column.name)}" for column in group)
            parts.append(f"substr(array_send(ARRAY[{names}]), 21)")
        else:
            parts += map(_field, group)
    return " || ".join(parts)


def _field(column: sa.Column[Any]) -> str:
    name = f"t.{quoted(column.name)}"
    function, width = next(send for kind, send in _SENDS.items() if isinstance(column.type, kind))
    value = f"{function}({name})"
    sized = name if isinstance(column.type, sa.Text) else value
    length = f"int4send(octet_length({sized}))" if width is None else _literal(width.to_bytes(4))
    own = f"{length} || {value}"
    return f"coalesce({own}, {_literal(bytes([255] * 4))})" if column.nullable else own


def _literal(data: bytes) -> str:
    return rf"'\x{data.hex()}'::bytea"
