"""Resampling as slowly and plainly as it can be written: the reference for the one on arrays."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from financehub_dagster.market.calendar_source import Instants
from financehub_dagster.market.intraday.resampling import IntradayBars
from financehub_dagster.market.intraday.trading_hours import MINUTE, TradingHours


@dataclass
class PlainBar:
    """A bar in the making; instants are naive datetimes in UTC."""

    opens: datetime
    ends: datetime
    final: bool
    open: float
    high: float
    low: float
    close: float
    volume: float
    minutes: int = 1


def expected_bars(
    hours: TradingHours, start: np.datetime64, stop: np.datetime64, length: int
) -> tuple[Instants, Instants]:
    """The opening and closing instants of all bars that open at or after `start` and end by `stop`."""
    opens, ends = [np.empty(0, "datetime64[s]")], [np.empty(0, "datetime64[s]")]
    touched = (hours.stops > start) & (hours.starts < stop)
    for begins, closes in zip(hours.starts[touched], hours.stops[touched], strict=True):
        opens.append(np.arange(begins, closes, length * MINUTE))
        ends.append(np.minimum(opens[-1] + length * MINUTE, closes))
    opening, end = np.concatenate(opens), np.concatenate(ends)
    wanted = (opening >= start) & (end <= stop)
    return opening[wanted], end[wanted]


def derived_by_hand(bars: IntradayBars, hours: TradingHours, length: int, complete_to: np.datetime64) -> list[PlainBar]:
    """The bars of one instrument: a loop over its minutes, and for each over all intervals of those days."""
    intervals = [
        (start, stop)
        for start, stop in zip(hours.starts.tolist(), hours.stops.tolist(), strict=True)
        if abs(start - bars.ts[0].item()) < timedelta(days=2)
    ]
    made: list[PlainBar] = []
    for ts, first, high, low, last, volume in zip(
        bars.ts.tolist(), *(values.tolist() for values in bars.ohlcv), strict=True
    ):
        for start, stop in intervals:
            if not start <= ts < stop:
                continue
            opens = made[-1].opens if made and made[-1].opens >= start else start
            while opens + timedelta(minutes=length) <= ts:
                opens += timedelta(minutes=length)
            ends = min(opens + timedelta(minutes=length), stop)
            if made and made[-1].opens == opens:
                bar = made[-1]
                bar.high, bar.low, bar.close = max(bar.high, high), min(bar.low, low), last
                bar.volume += volume
                bar.minutes += 1
            else:
                final = bool(ends <= complete_to.item())
                made.append(PlainBar(opens, ends, final, first, high, low, last, volume))
    return made
