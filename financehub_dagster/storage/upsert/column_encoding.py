"""From an array to a column of a table: types, NULLs, and what a column refuses.

Belongs here: one conversion per SQL type. Does not belong here: anything about several columns. Imports numpy and
pandas: import it inside functions.

Missing is NaN, NaT, None or pandas.NA and becomes NULL. Times without a zone are UTC.
"""

import json
import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.dialects.postgresql import JSONB

from financehub_dagster.storage.upsert.binary_copy import Coded, Field, Fixed

EPOCH = np.datetime64("2000-01-01")
"""PostgreSQL counts days and microseconds from here (date.h, timestamp.h)."""

type Bools = NDArray[np.bool_]


class Refused(Exception):
    """A value no row of the column can have; `row` is its position in the array, `what` says what is wrong with it."""

    def __init__(self, row: int, what: str) -> None:
        super().__init__(what)
        self.row = row
        self.what = what


def to_field(column: sa.Column[object], array: NDArray[np.generic]) -> Field:
    """`array` as the values of `column`; raises Refused at the first value that it cannot hold."""
    for kind, convert in _CONVERSIONS.items():
        if isinstance(column.type, kind):
            field = convert(np.asarray(array))
            break
    else:
        raise TypeError(f"{column}: the writer has no conversion for {column.type!r}")
    if not column.nullable and field.null is not None:
        _refuse(field.null, "is missing")
    return field


def _refuse(wrong: Bools, what: str) -> None:
    """Raise Refused at the first wrong row."""
    if wrong.any():
        raise Refused(int(wrong.argmax()), what)


def _null(missing: Bools) -> Bools | None:
    return missing if missing.any() else None


def _double(array: NDArray[np.generic]) -> Field:
    values = _floats(array)
    if np.isfinite(values).all():
        return Fixed(values.astype(">f8"))
    _refuse(np.isinf(values), "is infinite")
    return Fixed(values.astype(">f8"), np.isnan(values))


def _floats(array: NDArray[np.generic]) -> NDArray[np.float64]:
    try:
        return array.astype(np.float64, copy=False)
    except (TypeError, ValueError):
        numbers = pd.to_numeric(pd.Series(array), errors="coerce").to_numpy(np.float64, na_value=np.nan)
        _refuse(np.isnan(numbers) & ~np.asarray(pd.isna(array)), "is not a number")
        return numbers


def _integer(dtype: str) -> Callable[[NDArray[np.generic]], Field]:
    limits = np.iinfo(dtype)

    def convert(array: NDArray[np.generic]) -> Field:
        whole: NDArray[Any] = array
        missing: Bools = np.zeros(len(array), np.bool_)
        if array.dtype.kind not in "iu":
            values = _floats(array)
            missing = np.isnan(values)
            whole = np.where(missing, 0, values)
            _refuse(whole != np.floor(whole), "is not a whole number")
        _refuse((whole < limits.min) | (whole > limits.max), "does not fit the column")
        return Fixed(whole.astype(dtype), _null(missing))

    return convert


def _boolean(array: NDArray[np.generic]) -> Field:
    missing = np.asarray(pd.isna(array))
    values = np.where(missing, False, array)
    _refuse(np.array([value not in (True, False) for value in values], np.bool_), "is not true or false")
    return Fixed(values.astype(np.uint8), _null(missing))


def _date(array: NDArray[np.generic]) -> Field:
    instants = _instants(array)
    days = instants.astype("datetime64[D]")
    missing = np.isnat(instants)
    _refuse(~missing & (days != instants), "is a time, not a date")
    return Fixed((days - EPOCH).astype(np.int64).astype(">i4"), _null(missing))


def _instant(array: NDArray[np.generic]) -> Field:
    instants = _instants(array).astype("datetime64[us]")
    return Fixed((instants - EPOCH).astype(np.int64).astype(">i8"), _null(np.isnat(instants)))


def _instants(array: NDArray[np.generic]) -> NDArray[np.datetime64]:
    if array.dtype.kind == "M":
        return array.astype(array.dtype)
    missing = np.asarray(pd.isna(array))
    parsed = pd.to_datetime(pd.Series(array, dtype=object), utc=True, errors="coerce")
    _refuse(np.asarray(parsed.isna()) & ~missing, "is not a time")
    return parsed.dt.tz_localize(None).to_numpy("datetime64[us]")


def _text(array: NDArray[np.generic]) -> Field:
    codes, values = pd.factorize(array.astype(object))
    for code, value in enumerate(values):
        if not isinstance(value, str) or "\0" in value:
            raise Refused(int((codes == code).argmax()), "is not text")
    return Coded(codes, [value.encode() for value in values])


def _json(array: NDArray[np.generic]) -> Field:
    missing = np.array([value is None for value in array], np.bool_)
    texts = np.array([None if value is None else json.dumps(value, sort_keys=True) for value in array], object)
    codes, values = pd.factorize(texts)
    return Coded(np.where(missing, -1, codes), [b"\x01" + value.encode() for value in values])


TEXT_OID = 25
"""The type of an array's elements (pg_type.dat)."""
NO_TEXTS = struct.pack(">iii", 0, 0, TEXT_OID)
"""An array without elements: no dimensions, no NULLs, and what its elements would be (array_send)."""


def _texts(array: NDArray[np.generic]) -> Field:
    """Lists or tuples of texts, few different ones: each object is looked at once."""
    given = array.astype(object)
    ids = np.fromiter(map(id, given), np.int64, len(given))
    _, first, codes = np.unique(ids, return_index=True, return_inverse=True)
    values: list[bytes] = []
    missing = np.zeros(len(first), np.bool_)
    for place, row in enumerate(first.tolist()):
        texts = given[row]
        missing[place] = texts is None or isinstance(texts, float)
        if missing[place]:
            texts = ()
        if not isinstance(texts, list | tuple) or any(not isinstance(text, str) or "\0" in text for text in texts):
            raise Refused(row, "is not a list of texts")
        values.append(_encoded_texts(texts))
    return Coded(np.where(missing[codes], -1, codes), values)


def _encoded_texts(texts: Sequence[str]) -> bytes:
    """One dimension from 1 on, no NULLs, and each text with its length (array_send)."""
    if not texts:
        return NO_TEXTS
    elements = b"".join(struct.pack(">i", len(text)) + text for text in (each.encode() for each in texts))
    return struct.pack(">iiiii", 1, 0, TEXT_OID, len(texts), 1) + elements


def no_texts(rows: int) -> Field:
    """So many empty lists."""
    return Coded(np.zeros(rows, np.intp), [NO_TEXTS])


_CONVERSIONS: dict[type[sa.types.TypeEngine[Any]], Callable[[NDArray[np.generic]], Field]] = {
    JSONB: _json,
    sa.ARRAY: _texts,
    sa.Text: _text,
    sa.Boolean: _boolean,
    sa.SmallInteger: _integer(">i2"),
    sa.BigInteger: _integer(">i8"),
    sa.Integer: _integer(">i4"),
    sa.Double: _double,
    sa.Date: _date,
    sa.DateTime: _instant,
}
"""By SQL type, the more special one first; JSONB's binary form is version 1 and the text."""
