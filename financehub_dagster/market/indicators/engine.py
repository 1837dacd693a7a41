"""Computes declared indicator columns over the bars of one or many instruments.

Belongs here: how each engine is called and where its values go. Does not belong here: which columns exist (`columns`)
and formulas of our own (`formulas`). Imports numpy and TA-Lib, so it is itself imported only where values are computed.

Inputs must be finite: the tables hold no NULL in open, high, low, close and volume, and one NaN would make every later
value of TA-Lib's recursive averages NaN. A value that is not defined, yet (warm-up) or at all (0 / 0), is NaN.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, partial
from itertools import pairwise
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from financehub_dagster.market.indicators.columns import INDICATORS, IndicatorColumn, Parameter
from financehub_dagster.market.indicators.formulas import FORMULAS, UNDEFINED
from financehub_dagster.plain_imports import without

with without("polars"):  # TA-Lib would import it to take its series: 0.2 s in each process
    import talib

type Floats = NDArray[np.float64]
type Parameters = Mapping[str, Parameter]
type Outputs = Mapping[int | str, Floats]


class _UnknownFunction(Exception):
    """A column names a function that its engine does not have."""


class Bars:
    """The bars of instruments laid end to end; instrument i owns rows offsets[i] to offsets[i + 1].

    Every call is computed once, however many columns and formulas ask for it.
    """

    def __init__(
        self,
        offsets: ArrayLike,
        arrays: Mapping[str, ArrayLike],
        dates: ArrayLike | None = None,
        sessions: ArrayLike | None = None,
    ) -> None:
        """arrays: open, high, low, close, volume. Raises ValueError where these cannot be computed with."""
        self.offsets: NDArray[np.int64] = np.asarray(offsets, dtype=np.int64)
        self.arrays = {name: np.ascontiguousarray(values, dtype=np.float64) for name, values in arrays.items()}
        self.dates = None if dates is None else np.asarray(dates, dtype="datetime64[s]")
        self.sessions = None if sessions is None else np.asarray(sessions, dtype="datetime64[D]")
        self.rows = self.arrays["close"].size
        self._done: dict[object, Outputs] = {}
        self._parts: dict[str, list[Floats]] = {}
        self._check()

    def _check(self) -> None:
        at = self.offsets
        if at.ndim != 1 or not at.size or at[0] != 0 or at[-1] != self.rows or (np.diff(at) < 0).any():
            raise ValueError(f"offsets must rise from 0 to the number of rows, {self.rows}")
        days = {"dates": self.dates, "sessions": self.sessions}
        given: dict[str, NDArray[Any]] = {name: values for name, values in days.items() if values is not None}
        for name, values in (self.arrays | given).items():
            if values.shape != (self.rows,):
                raise ValueError(
                    f"{name} has shape {values.shape}, close has {self.rows} rows: give arrays of one length"
                )
            if not np.isfinite(values).all():
                row = int(np.flatnonzero(~np.isfinite(values))[0])
                raise ValueError(f"{name} of row {row} is not finite: indicators take complete bars only")

    @cached_property
    def slices(self) -> list[slice]:
        """The rows of each instrument that has any."""
        at = self.offsets.tolist()
        return [slice(start, stop) for start, stop in pairwise(at) if stop > start]

    def parts(self, name: str) -> list[Floats]:
        """The values of `name` of each instrument that has any."""
        if name not in self._parts:
            self._parts[name] = [self.arrays[name][rows] for rows in self.slices]
        return self._parts[name]

    def run(self, engine: str, function: str, inputs: Sequence[str], parameters: Parameters) -> Outputs:
        """Every output of one call, by number and, where the engine names them, by name: one value per row."""
        key = (engine, function, tuple(inputs), tuple(sorted(parameters.items())))
        if key not in self._done:
            self._done[key] = _ENGINES[engine](self, function, inputs, parameters)
        return self._done[key]

    def talib(self, function: str, *inputs: str, **parameters: Parameter) -> Floats:
        """The first output of TA-Lib's `function`, applied to each instrument."""
        return self.run("talib", function, inputs, parameters)[0]

    def column(self, column: IndicatorColumn) -> Floats:
        """The values of a declared column; raises ValueError when its engine has no such function or output."""
        try:
            outputs = self.run(column.engine, column.function, column.inputs, column.parameters)
        except _UnknownFunction as error:
            raise ValueError(f"{column.name}: {error}") from None
        if not outputs:
            return np.full(self.rows, np.nan)
        if column.output not in outputs:
            known = ", ".join(map(repr, outputs))
            raise ValueError(f"{column.name}: {column.function} has no output {column.output!r}, only {known}")
        values = outputs[column.output]
        if column.undefined is None:
            return values
        return np.where(UNDEFINED[column.undefined](self), np.nan, values)


def compute(
    open: ArrayLike,  # noqa: A002 - bars are open, high, low, close, volume everywhere
    high: ArrayLike,
    low: ArrayLike,
    close: ArrayLike,
    volume: ArrayLike,
    *,
    dates: ArrayLike | None = None,
    sessions: ArrayLike | None = None,
    columns: Iterable[IndicatorColumn] = INDICATORS,
) -> dict[str, Floats]:
    """Indicators of one instrument's whole history, oldest bar first: column name -> one float64 per bar."""
    offsets = [0, np.size(close)]
    return compute_many(offsets, open, high, low, close, volume, dates=dates, sessions=sessions, columns=columns)


def compute_many(
    offsets: ArrayLike,
    open: ArrayLike,  # noqa: A002 - bars are open, high, low, close, volume everywhere
    high: ArrayLike,
    low: ArrayLike,
    close: ArrayLike,
    volume: ArrayLike,
    *,
    dates: ArrayLike | None = None,
    sessions: ArrayLike | None = None,
    columns: Iterable[IndicatorColumn] = INDICATORS,
) -> dict[str, Floats]:
    """Indicators of many instruments, whose whole histories are laid end to end, each oldest bar first.

    Instrument i owns rows offsets[i] to offsets[i + 1], so offsets has one entry more than there are instruments;
    an instrument may have no rows. dates (session dates) matter only to pandas-ta functions that ask for them, sessions
    (the session date of each bar, ascending) only to `vwap`.
    Returns column name -> one float64 per row, NaN in warm-up, and holds about 400 bytes per row meanwhile. Raises
    ValueError on input that cannot be computed with.
    """
    arrays = {"open": open, "high": high, "low": low, "close": close, "volume": volume}
    bars = Bars(offsets, arrays, dates, sessions)
    return {column.name: bars.column(column) for column in columns}


def _function(library: ModuleType, name: str) -> Callable[..., Any]:
    function: Callable[..., Any] | None = getattr(library, name, None)
    if function is None:
        raise _UnknownFunction(f"{library.__name__} has no function {name!r}")
    return function


def _as_tuple(found: Floats | tuple[Floats, ...]) -> tuple[Floats, ...]:
    return found if isinstance(found, tuple) else (found,)


def _talib(bars: Bars, function: str, inputs: Sequence[str], parameters: Parameters) -> Outputs:
    apply = partial(_function(talib, function), **parameters)
    outputs = [np.empty(bars.rows) for _ in _as_tuple(apply(*(bars.arrays[name][:0] for name in inputs)))]
    found: Iterable[Any] = map(apply, *(bars.parts(name) for name in inputs))
    if len(outputs) == 1:
        found = ((value,) for value in found)
    for rows, values in zip(bars.slices, found, strict=True):
        for output, value in zip(outputs, values, strict=True):
            output[rows] = value
    return dict(enumerate(outputs))


def _own(bars: Bars, function: str, inputs: Sequence[str], parameters: Parameters) -> Outputs:
    if function not in FORMULAS:
        raise _UnknownFunction(f"formulas has no function {function!r}, only {', '.join(FORMULAS)}")
    return dict(enumerate(FORMULAS[function](bars, *inputs, **parameters)))


def _pandas_ta(bars: Bars, function: str, inputs: Sequence[str], parameters: Parameters) -> Outputs:
    """pandas-ta answers None where a history is too short, else a series, a frame, or a tuple that begins with one."""
    import pandas as pd
    import pandas_ta

    apply = _function(pandas_ta, function)
    outputs: dict[int | str, Floats] = {}
    for rows in bars.slices:
        index = None if bars.dates is None else pd.DatetimeIndex(bars.dates[rows])
        series = {name: pd.Series(bars.arrays[name][rows], index=index) for name in inputs}
        found = apply(**{"open_" if name == "open" else name: s for name, s in series.items()}, **parameters)
        found = found[0] if isinstance(found, tuple) else found
        frame: pd.DataFrame = pd.DataFrame() if found is None else pd.DataFrame(found)
        for number, name in enumerate(frame.columns):
            values = outputs.setdefault(number, np.full(bars.rows, np.nan))
            values[rows] = frame.iloc[:, number].to_numpy(dtype=np.float64)
            outputs[str(name)] = values
    return outputs


_ENGINES: Mapping[str, Callable[[Bars, str, Sequence[str], Parameters], Outputs]] = {
    "talib": _talib,
    "own": _own,
    "pandas_ta": _pandas_ta,
}
