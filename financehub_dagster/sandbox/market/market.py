"""The sample market: one price history per instrument, recorded where possible and continued where not.

Belongs here: joining recording and continuation on the calendar, what is visible at a given instant, and the changes
that a test makes to the market. Does not belong here: anything of a vendor's wire format.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.sandbox.market.amendments import Amendments
from financehub_dagster.sandbox.market.continuation import (
    Origin,
    action_plan,
    continue_from,
    origin_without_recording,
    price_decimals,
)
from financehub_dagster.sandbox.market.history import History, unfinished
from financehub_dagster.sandbox.market.listings import Register, default_listing
from financehub_dagster.sandbox.market.recordings import (
    DailyRecording,
    Floats,
    IntradayRecording,
    recorded_daily,
    recorded_intraday,
    recorded_symbols,
)
from financehub_dagster.sandbox.market.sessions import Sessions, sessions_of

#: First trading days of what was not recorded: the recordings' own first day, and Binance's.
_FIRST_DAY = {AssetType.CRYPTO: np.datetime64("2017-08-17", "D")}
_FIRST_DAY_OTHERWISE = np.datetime64("2013-02-08", "D")
_DIVIDEND_MONTHS = (2, 5, 8, 11)


class Market:
    """Every vendor's single source of prices; `now` gives UTC epoch seconds and can be frozen by a test."""

    def __init__(self, instruments: Iterable[Instrument] | None = None, now: Callable[[], float] = time.time) -> None:
        self.listed = Register(default_listing() if instruments is None else instruments)
        self.amendments = Amendments()
        self._clock = now
        self.frozen_at: float | None = None

    def now(self) -> float:
        """The market's time in UTC epoch seconds."""
        return self._clock() if self.frozen_at is None else self.frozen_at

    def daily(self, instrument: Instrument) -> History:
        """All sessions that have opened by now; the last one is unfinished where its market is still open."""
        now = self.now()
        full = full_history(instrument.symbol, instrument.asset_type, instrument.exchange)
        visible = int(np.searchsorted(full.opens, now, side="right"))
        if not visible:
            return full[:0]
        history = self.amendments.apply(instrument.symbol, full[:visible])
        return unfinished(history, now, price_decimals(instrument.asset_type, float(full.close[visible - 1])))

    def intraday(self, instrument: Instrument, seconds: int) -> IntradayRecording | None:
        """Recorded bars of `seconds` length up to now, or None where nothing was recorded that finely."""
        for recording in recorded_intraday():
            if recording.symbol == instrument.symbol and seconds % _seconds(recording.interval) == 0:
                return _aggregated(recording, seconds, self.now())
        return None

    def sessions(self, instrument: Instrument) -> Sessions:
        """The trading calendar of an instrument."""
        return sessions_of(instrument.exchange)

    def warm_up(self) -> None:
        """Load recordings and calendars, so that the first answer is as fast as the next."""
        recorded_symbols()
        for exchange in {each.exchange for each in self.listed}:
            sessions_of(exchange)

    def reset(self) -> None:
        """Undo every change: listings, amendments, clock."""
        self.listed.reset()
        self.amendments = Amendments()
        self.frozen_at = None


@lru_cache(maxsize=4096)
def full_history(symbol: str, asset_type: AssetType, exchange: str) -> History:
    """The history of one instrument to the end of the calendar, whatever the time is."""
    calendar = sessions_of(exchange)
    recording = recorded_daily(symbol) if symbol in recorded_symbols() else None
    if recording is None:
        first = int(np.searchsorted(calendar.date, _FIRST_DAY.get(asset_type, _FIRST_DAY_OTHERWISE)))
        origin = _origin_meeting_minutes(symbol, asset_type, calendar, first)
        return _with_actions(_generated(symbol, origin, calendar, first), symbol, asset_type)
    first = int(np.searchsorted(calendar.date, recording.date[-1], side="right"))
    generated = _generated(symbol, _origin(recording, asset_type), calendar, first)
    history = History.join(_recorded(recording, calendar), generated)
    return _with_actions(history, symbol, asset_type)


def _origin(recording: DailyRecording, asset_type: AssetType) -> Origin:
    """Continue as the last year of the recording behaved."""
    last_year = slice(-250, None)
    volatility = float(np.std(np.diff(np.log(recording.close[last_year]))))
    close = float(recording.close[-1])
    volume_decimals = 8 if asset_type is AssetType.CRYPTO else 0
    volume = float(np.median(recording.volume[last_year]))
    decimals = price_decimals(asset_type, close)
    return Origin(close, float(np.clip(volatility, 0.008, 0.045)), volume, decimals, volume_decimals)


def _origin_meeting_minutes(symbol: str, asset_type: AssetType, calendar: Sessions, first: int) -> Origin:
    """An invented start; where minutes were recorded, one whose path is at their price when they begin."""
    origin = origin_without_recording(symbol, asset_type)
    for recording in recorded_intraday():
        if recording.symbol == symbol:
            meets = int(np.searchsorted(calendar.closes, recording.open_time[0], side="right")) - first
            reached = float(continue_from(symbol, origin).close[meets - 1])
            close = origin.close * float(recording.open[0]) / reached
            return replace(origin, close=close, price_decimals=price_decimals(asset_type, close))
    return origin


def _recorded(recording: DailyRecording, calendar: Sessions) -> History:
    rows = np.searchsorted(calendar.date, recording.date)
    columns = (recording.open, recording.high, recording.low, recording.close, recording.volume)
    return History.of(recording.date, calendar.opens[rows], calendar.closes[rows], columns, recorded=True)


def _generated(symbol: str, origin: Origin, calendar: Sessions, first: int) -> History:
    path = continue_from(symbol, origin)
    dates = calendar.date[first:]
    n = len(dates)
    # Copies, so that the cache does not keep the undrawn rest of the path alive.
    prices = (path.open[:n].copy(), path.high[:n].copy(), path.low[:n].copy(), path.close[:n].copy())
    columns = (*prices, path.volume[:n].copy())
    return History.of(dates, calendar.opens[first:], calendar.closes[first:], columns, recorded=False)


def _with_actions(history: History, symbol: str, asset_type: AssetType) -> History:
    """Dividends and splits of the generated part; prices are on the basis after all splits, so only events appear."""
    plan = action_plan(symbol, asset_type)
    dividends, splits = history.dividend.copy(), history.split.copy()
    months = history.date.astype("datetime64[M]")
    if plan.quarterly_yield:
        days = history.date - months.astype("datetime64[D]") + np.timedelta64(1, "D")
        due = np.isin(months.astype(int) % 12 + 1, _DIVIDEND_MONTHS) & (days.astype(int) >= plan.ex_day)
        rows = _first_of_each(months, due & ~history.recorded)
        rows = rows[rows > 0]
        dividends[rows] = np.maximum(np.round(history.close[rows - 1] * plan.quarterly_yield, 2), 0.01)
    if plan.split_month is not None:
        splits[_first_of_each(months, (months == plan.split_month) & ~history.recorded)] = plan.split_ratio
    return replace(history, dividend=dividends, split=splits)


def _first_of_each(months: NDArray[np.datetime64], chosen: NDArray[np.bool_]) -> NDArray[np.intp]:
    """The first chosen row of every month."""
    rows = np.flatnonzero(chosen)
    return rows[np.unique(months[rows], return_index=True)[1]]


def _seconds(interval: str) -> int:
    return int(interval[:-1]) * {"m": 60, "h": 3600}[interval[-1]]


def _aggregated(recording: IntradayRecording, seconds: int, now: float) -> IntradayRecording:
    visible = int(np.searchsorted(recording.open_time, now, side="right"))
    times = recording.open_time[:visible]
    starts, first = np.unique(times - times % seconds, return_index=True)
    if not len(starts):
        empty: Floats = np.empty(0)
        return replace(recording, open_time=starts, open=empty, high=empty, low=empty, close=empty, volume=empty)
    last = np.append(first[1:], visible) - 1
    return replace(
        recording,
        open_time=starts,
        open=recording.open[first],
        high=np.maximum.reduceat(recording.high[:visible], first),
        low=np.minimum.reduceat(recording.low[:visible], first),
        close=recording.close[last],
        volume=np.add.reduceat(recording.volume[:visible], first),
    )
