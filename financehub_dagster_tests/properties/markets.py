"""Invented markets for tests and benchmarks: random walks that look like daily bars, and strategies that draw them."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

type Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Bars:
    """One instrument's bars, oldest first."""

    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats

    @classmethod
    def of(cls, columns: Iterable[Floats]) -> "Bars":
        """From open, high, low, close and volume."""
        return cls(*columns)

    def __len__(self) -> int:
        return self.close.size

    def __getitem__(self, rows: slice) -> "Bars":
        return Bars.of(column[rows] for column in self.columns)

    @property
    def columns(self) -> tuple[Floats, Floats, Floats, Floats, Floats]:
        return self.open, self.high, self.low, self.close, self.volume


def random_bars(count: int, seed: int = 0, *, volatility: float = 0.015, decimals: int = 4) -> Bars:
    """A random walk of `count` bars around 100, with prices of `decimals` decimals and whole volumes."""
    random = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(random.normal(0, volatility, count)))
    open_ = close * np.exp(random.normal(0, volatility / 3, count))
    high = np.maximum(open_, close) * np.exp(np.abs(random.normal(0, volatility / 3, count)))
    low = np.minimum(open_, close) * np.exp(-np.abs(random.normal(0, volatility / 3, count)))
    prices = (np.round(prices, decimals) for prices in (open_, high, low, close))
    return Bars.of([*prices, random.integers(100_000, 10_000_000, count).astype(np.float64)])


def end_to_end(markets: list[Bars]) -> tuple[NDArray[np.int64], list[Floats]]:
    """The offsets and the five columns of several instruments laid end to end."""
    offsets = np.concatenate([[0], np.cumsum([len(bars) for bars in markets])]).astype(np.int64)
    columns = [np.concatenate([bars.columns[number] for bars in markets]) for number in range(5)]
    return offsets, columns


@st.composite
def histories(draw: st.DrawFn, max_size: int = 320) -> Bars:
    """Bars of any length: calm, wild, crashing, standing still or untraded."""
    count = draw(st.integers(0, max_size))
    volatility = draw(st.sampled_from([0.0, 0.002, 0.02, 0.2]))
    bars = random_bars(count, draw(st.integers(0, 10_000)), volatility=volatility, decimals=draw(st.integers(2, 6)))
    prices = [np.maximum(column, 0.0001) for column in bars.columns[:4]]
    volume = bars.volume * draw(st.sampled_from([0.0, 1.0, 1000.0]))
    return Bars.of([*prices, volume])
