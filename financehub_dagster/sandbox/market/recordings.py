"""Reads the recorded prices that are packaged beside this module.

Belongs here: the layout of the packaged files. Does not belong here: anything generated or anything of a vendor.
The sources and licences of the numbers are in `data/PROVENANCE.md`. NumPy is imported at the top: only the sandbox
server and tests import this module.
"""

import csv
import gzip
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import date
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

_DATA = Path(__file__).parents[1] / "data"
_DAILY_FILES = ("stocks_daily.csv.gz", "crypto_daily.csv.gz")
_INTRADAY_FILE = "intraday.csv.gz"

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Prices:
    """Bars in order, each column of shape (bars,): prices in one currency, and the volume traded."""

    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """The bars of all parts, of which there is one at least."""
        return cls(*(np.concatenate([getattr(part, each.name) for part in parts]) for each in fields(cls)))

    def __len__(self) -> int:
        return len(self.close)

    def __getitem__(self, rows: slice | NDArray[np.bool_] | NDArray[np.intp]) -> Self:
        return type(self)(*(getattr(self, each.name)[rows] for each in fields(self)))


@dataclass(frozen=True, slots=True)
class DailyRecording(Prices):
    """Recorded daily bars of one symbol in date order, prices in USD.

    date is datetime64[D]; the other columns are float64 and hold the nearest double of the recorded decimals, which
    prints as those decimals again. volume counts shares for stocks, coins for cryptos.
    """

    date: NDArray[np.datetime64]


@dataclass(frozen=True, slots=True)
class IntradayRecording(Prices):
    """Recorded bars of `interval` in time order; open_time is UTC epoch seconds, the rest as in DailyRecording."""

    symbol: str
    interval: str
    open_time: NDArray[np.int64]


def recorded_symbols() -> tuple[str, ...]:
    """Symbols with recorded daily bars, in alphabetical order, spelled as the default universe spells them."""
    return tuple(sorted(_daily()))


def recorded_span(symbol: str) -> tuple[date, date] | None:
    """The first and last recorded day of `symbol`, found without parsing prices; None where there is none."""
    line = f"\n{symbol},"
    for text in map(_text, _DAILY_FILES):
        if line in text:
            first, last = (text[at + len(line) :][:10] for at in (text.find(line), text.rfind(line)))
            return date.fromisoformat(first), date.fromisoformat(last)
    return None


def recorded_daily(symbol: str) -> DailyRecording:
    """The recorded daily bars of `symbol`; raises KeyError where nothing was recorded."""
    return _daily()[symbol]


def recorded_intraday() -> tuple[IntradayRecording, ...]:
    """Every recorded intraday series."""
    return _intraday()


@cache
def _daily() -> dict[str, DailyRecording]:
    found = {}
    for name in _DAILY_FILES:
        for symbol, lines in groupby(_rows(name), key=lambda row: row[0]):
            _, date, *numbers = zip(*lines, strict=True)
            found[symbol] = DailyRecording(*_columns(numbers), np.array(date, "datetime64[D]"))
    return found


@cache
def _intraday() -> tuple[IntradayRecording, ...]:
    found = []
    for (symbol, interval), lines in groupby(_rows(_INTRADAY_FILE), key=lambda row: (row[0], row[1])):
        _, _, open_time, *numbers = zip(*lines, strict=True)
        times = np.array([int(second) for second in open_time], np.int64)
        found.append(IntradayRecording(*_columns(numbers), symbol, interval, times))
    return tuple(found)


def _columns(numbers: list[tuple[str, ...]]) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """float() and not NumPy's parser: it is the one that promises the nearest double."""
    open_, high, low, close, volume = (np.array([float(text) for text in column], np.float64) for column in numbers)
    return open_, high, low, close, volume


def _rows(name: str) -> Iterator[list[str]]:
    reader = csv.reader(io.StringIO(_text(name)))
    next(reader)
    yield from reader


@cache
def _text(name: str) -> str:
    return gzip.decompress((_DATA / name).read_bytes()).decode("ascii")
