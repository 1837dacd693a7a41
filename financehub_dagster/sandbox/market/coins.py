"""A crypto as the market-data aggregators see it: price, changes, capitalisation, supply.

Belongs here: figures that several vendors derive from the same bars. Does not belong here: any vendor's names or number
formats for them. Supplies are invented, in proportion to the universe's market values.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.sandbox.market.companies import shares_of
from financehub_dagster.sandbox.market.continuation import random_stream
from financehub_dagster.sandbox.market.history import History
from financehub_dagster.sandbox.market.market import Market
from financehub_dagster.sandbox.market.recordings import Floats

_HOUR = 3600
_CHANGES = {"1h": 1, "24h": 24, "7d": 168, "30d": 720, "60d": 1440, "90d": 2160}


@dataclass(frozen=True, slots=True)
class Coin:
    """Figures in USD, changes in percent, times in UTC epoch seconds; what a test made missing is NaN.

    The aggregators renew once a minute: updated is the last full one. volume is the turnover of the running day.
    """

    instrument: Instrument
    rank: int
    price: float
    volume: float
    high: float
    low: float
    day_ago: float
    changes: dict[str, float]
    circulating: float
    total: float
    maximum: float | None
    highest: tuple[float, int]
    lowest: tuple[float, int]
    first: int
    updated: int
    origin: str

    @property
    def market_cap(self) -> float:
        """Price by circulating supply."""
        return self.price * self.circulating

    @property
    def fully_diluted(self) -> float:
        """Price by the supply there can be."""
        return self.price * (self.maximum or self.total)


def coins(market: Market, instruments: Iterable[Instrument]) -> list[Coin]:
    """The coins among `instruments` that trade by now, by market value, the largest first."""
    listed = {each.symbol: each for each in market.listed if each.asset_type is AssetType.CRYPTO}
    histories = {symbol: market.daily(each) for symbol, each in listed.items()}
    caps = {symbol: _last_close(history) * shares_of(listed[symbol]) for symbol, history in histories.items()}
    ranks = {symbol: rank for rank, symbol in enumerate(sorted(caps, key=lambda symbol: -caps[symbol]), start=1)}
    asked = sorted((each for each in instruments if len(histories[each.symbol])), key=lambda each: ranks[each.symbol])
    return [_coin(each, histories[each.symbol], market.now(), ranks[each.symbol]) for each in asked]


def _last_close(history: History) -> float:
    """Nothing where a test made it missing, or before the first day."""
    return float(np.nan_to_num(history.close[-1])) if len(history) else 0.0


def _coin(instrument: Instrument, history: History, now: float, rank: int) -> Coin:
    draw = random_stream(instrument.symbol, "supply").random(3).tolist()
    circulating = shares_of(instrument)
    total = circulating * (1 + 0.2 * draw[0])
    price = float(history.close[-1])
    ago = _prices_at(history, now, np.array([now - hours * _HOUR for hours in _CHANGES.values()], np.float64))
    top, bottom = int(np.nanargmax(history.high)), int(np.nanargmin(history.low))
    return Coin(
        instrument=instrument,
        rank=rank,
        price=price,
        volume=float(history.volume[-1]) * price,
        high=float(history.high[-1]),
        low=float(history.low[-1]),
        day_ago=float(ago[1]),
        changes=dict(zip(_CHANGES, (100 * (price / ago - 1)).tolist(), strict=True)),
        circulating=circulating,
        total=total,
        maximum=total * (1 + draw[1]) if draw[2] < 0.5 else None,
        highest=(float(history.high[top]), int(history.opens[top])),
        lowest=(float(history.low[bottom]), int(history.opens[bottom])),
        first=int(history.opens[0]),
        updated=int(min(now, history.closes[-1]) // 60 * 60),
        origin=history[-1:].origin,
    )


def _prices_at(history: History, now: float, times: NDArray[np.float64]) -> Floats:
    """Prices at UTC epoch seconds, on straight lines from each day's open to its close; NaN before the first day.

    Midnight still has the close of the day that ends.
    """
    rows = np.searchsorted(history.opens, times, side="left") - 1
    known = np.maximum(rows, 0)
    ends = np.minimum(history.closes[known], now)
    elapsed = np.clip((times - history.opens[known]) / np.maximum(ends - history.opens[known], 1), 0.0, 1.0)
    prices: Floats = history.open[known] + (history.close[known] - history.open[known]) * elapsed
    prices[rows < 0] = np.nan
    return prices


def iso(at: float) -> str:
    """A time as the aggregators write it."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%S}.000Z"
