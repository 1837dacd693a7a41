"""A checksum of rows that does not depend on how they are cut into batches or encoded in a file.

Belongs here: the checksum alone. Imports pyarrow and numpy: import it inside functions.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


class Checksum:
    """BLAKE2b over every column of rows that are added in order: lengths, values, and where NULLs are."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = {name: _Column() for name in columns}
        self.rows = 0

    def add(self, rows: pa.Table) -> None:
        """Count the next rows in."""
        self.rows += rows.num_rows
        for name, column in self._columns.items():
            for chunk in rows[name].chunks:
                column.add(chunk)

    def hexdigest(self) -> str:
        """The checksum of all rows so far."""
        whole = _hash()
        for name, column in self._columns.items():
            whole.update(name.encode() + b"\0" + column.digest())
        text: str = whole.hexdigest()
        return text


class _Column:
    """The values of one column, or of the lists in one."""

    def __init__(self) -> None:
        self._nulls, self._lengths, self._values = _hash(), _hash(), _hash()
        self._elements: _Column | None = None

    def add(self, array: Any) -> None:
        if pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        self._nulls.update(array.is_valid().to_numpy(zero_copy_only=False).tobytes())
        array = array.drop_null()
        if not len(array):
            return
        if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
            array = array.cast(pa.large_string())
            _, ends, texts = array.buffers()
            bounds = np.frombuffer(ends, np.int64)[array.offset : array.offset + len(array) + 1]
            self._lengths.update(np.diff(bounds).tobytes())
            self._values.update(memoryview(texts or b"")[bounds[0] : bounds[-1]])
        elif pa.types.is_list(array.type):
            self._lengths.update(pc.list_value_length(array).to_numpy().astype(np.int64).tobytes())
            self._elements = self._elements or _Column()
            self._elements.add(array.flatten())
        else:
            self._values.update(np.ascontiguousarray(array.to_numpy(zero_copy_only=False)).tobytes())

    def digest(self) -> bytes:
        own: bytes = self._nulls.digest() + self._lengths.digest() + self._values.digest()
        return own + (b"" if self._elements is None else self._elements.digest())


def _hash() -> Any:
    return hashlib.blake2b(digest_size=16)
