"""The sample market: one price history per instrument, recorded where possible and continued where not.

Belongs here: joining recording and continuation on the calendar, what is visible at a given instant, and the changes
that a test makes to the market. Does not belong here: anything of a vendor's wire format.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from datetime import time as clock_time
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.sandbox.market.amendments import BAR_COLUMNS, Amendments
from financehub_dagster.sandbox.market.continuation import (
    Origin,
    action_plan,
    continue_from,
    origin_without_recording,
    price_decimals,
)
from financehub_dagster.sandbox.market.history import History, unfinished
from financehub_dagster.sandbox.market.listings import Register, default_listing
from financehub_dagster.sandbox.market.minutes import Bars, Day, added_up, minutes_of, until
from financehub_dagster.sandbox.market.recordings import (
    DailyRecording,
    IntradayRecording,
    recorded_daily,
    recorded_intraday,
    recorded_symbols,
)
from financehub_dagster.sandbox.market.sessions import Sessions, breaks_of, currency_sessions, sessions_of

#: First trading days of what was not recorded: the recordings' own first day, and Binance's.
_FIRST_DAY = {AssetType.CRYPTO: np.datetime64("2017-08-17", "D")}
_FIRST_DAY_OTHERWISE = np.datetime64("2013-02-08", "D")
_EVENING = 4 * 3600
_MANY_COINS = 1e7
_DIVIDEND_MONTHS = (2, 5, 8, 11)


class Market:
    """Every vendor's single source of prices; `now` gives UTC epoch seconds and can be frozen by a test."""

    def __init__(self, instruments: Iterable[Instrument] | None = None, now: Callable[[], float] = time.time) -> None:
        self.listed = Register(default_listing() if instruments is None else instruments)
        self.amendments = Amendments()
        self._clock = now
        self.frozen_at: float | None = None
        self.ahead = 0.0

    def now(self) -> float:
        """The market's time in UTC epoch seconds."""
        return self._clock() + self.ahead if self.frozen_at is None else self.frozen_at

    def set_clock(self, now: float | None, *, running: bool) -> None:
        """Stop the clock at `now`, or let it run on from there; None: the real time again."""
        self.frozen_at = None if running else now
        self.ahead = now - self._clock() if running and now is not None else 0.0

    def daily(self, instrument: Instrument, vendor: str | None = None) -> History:
        """All sessions that have opened by now, as `vendor` serves them; the last one is unfinished until its close."""
        now = self.now()
        full = full_history(instrument.symbol, instrument.asset_type, instrument.exchange)
        visible = int(np.searchsorted(full.opens, now, side="right"))
        if not visible:
            return full[:0]
        history = self.amendments.apply(instrument.symbol, full[:visible], vendor)
        return unfinished(history, now, price_decimals(instrument.asset_type, float(full.close[visible - 1])))

    def intraday(
        self,
        instrument: Instrument,
        seconds: int,
        first: float,
        last: float,
        *,
        vendor: str,
        limit: int | None = None,
        newest: bool = False,
        by_the_clock: bool = False,
        as_traded: bool = False,
    ) -> Bars:
        """Bars of `seconds` that open from `first` to `last`, both included, the running one as it is now.

        limit: at most so many, the oldest ones or the `newest`. Longer bars begin with their session or,
        `by_the_clock`, at full hours of UTC. as_traded: before anybody adjusted prices for later splits.
        """
        days = self._days(instrument).as_traded() if as_traded else self._days(instrument)
        opens, closes = days.opens, days.closes
        rows = np.flatnonzero((closes > first - seconds) & (opens <= last)).tolist()
        breaks = breaks_of(instrument.exchange)
        parts: list[Bars] = []
        found = 0
        for row in reversed(rows) if newest else rows:
            bars = self._minutes(instrument, _day_of(instrument, days, row, breaks), seconds, vendor)
            bars = added_up(bars, seconds, 0 if by_the_clock else int(opens[row]))
            bars = bars[(bars.open_time >= first) & (bars.open_time <= last)]
            parts.append(bars)
            found += len(bars)
            if limit is not None and found >= limit:
                break
        joined = Bars.joined([Bars.none(), *(parts[::-1] if newest else parts)])
        if limit is None:
            return joined
        return joined[max(len(joined) - limit, 0) :] if newest else joined[:limit]

    def beside(self, instrument: Instrument, first: float, last: float, minutes: Sequence[int], volume: float) -> Bars:
        """Bars that are not of the regular sessions: so many minutes after each close, before the open if negative.

        Those of them that open from `first` to `last` and have begun, at the session's last or first price.
        """
        days = self._days(instrument)
        found: list[tuple[int, float]] = []
        for row in np.flatnonzero((days.closes > first - _EVENING) & (days.opens < last + _EVENING)).tolist():
            for after in minutes:
                edge, price = (days.closes[row], days.close[row]) if after >= 0 else (days.opens[row], days.open[row])
                found.append((int(edge) + 60 * after, float(price)))
        times = np.array([at for at, _ in found], np.int64)
        prices = np.array([price for _, price in found], np.float64)
        volumes, generated = np.full(len(times), volume), np.zeros(len(times), np.bool_)
        bars = Bars(prices, prices, prices, prices, volumes, times, generated)
        return bars[(times >= first) & (times <= min(last, self.now()))]

    def _days(self, instrument: Instrument) -> History:
        """Every session that has opened, with the daily bar that it will have in the end."""
        full = full_history(instrument.symbol, instrument.asset_type, instrument.exchange)
        visible = int(np.searchsorted(full.opens, self.now(), side="right"))
        return self.amendments.apply(instrument.symbol, full[:visible])

    def _minutes(self, instrument: Instrument, day: Day, seconds: int, vendor: str) -> Bars:
        """What can be seen of a session's minutes; a stretch that was recorded, finely enough, as it was recorded."""
        bars = minutes_of(day)
        for recording in recorded_intraday():
            if recording.symbol == instrument.symbol and seconds % _seconds(recording.interval) == 0:
                bars = _with_recording(bars, recording, day)
        bars = self.amendments.apply_to_minutes(instrument.symbol, bars, vendor)
        return until(bars, self.now(), day.decimals)

    def sessions(self, instrument: Instrument) -> Sessions:
        """The trading calendar of an instrument."""
        return calendar_of(instrument.asset_type, instrument.exchange)

    def warm_up(self) -> None:
        """Load recordings and calendars, so that the first answer is as fast as the next."""
        recorded_symbols()
        for exchange in {each.exchange for each in self.listed}:
            sessions_of(exchange)

    def reset(self) -> None:
        """Undo every change: listings, amendments, clock."""
        self.listed.reset()
        self.amendments = Amendments()
        self.set_clock(None, running=True)


@lru_cache(maxsize=4096)
def full_history(symbol: str, asset_type: AssetType, exchange: str) -> History:
    """The history of one instrument to the end of the calendar, whatever the time is."""
    calendar = calendar_of(asset_type, exchange)
    recording = recorded_daily(symbol) if symbol in recorded_symbols() else None
    if recording is None:
        first = int(np.searchsorted(calendar.date, _FIRST_DAY.get(asset_type, _FIRST_DAY_OTHERWISE)))
        origin = _origin_meeting_minutes(symbol, asset_type, calendar, first)
        return _with_actions(_generated(symbol, origin, calendar, first), symbol, asset_type)
    first = int(np.searchsorted(calendar.date, recording.date[-1], side="right"))
    generated = _generated(symbol, _origin(recording, asset_type), calendar, first)
    history = History.joined([_recorded(recording, calendar), generated])
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


def calendar_of(asset_type: AssetType, exchange: str) -> Sessions:
    """The sessions of an instrument of this kind."""
    return currency_sessions() if asset_type is AssetType.FX else sessions_of(exchange)


def _day_of(instrument: Instrument, days: History, row: int, breaks: tuple[tuple[clock_time, clock_time], ...]) -> Day:
    kind, close = instrument.asset_type, float(days.close[row])
    zone, date = ZoneInfo(instrument.timezone), days.date[row].item()
    edges = tuple(
        (int(datetime.combine(date, begins, zone).timestamp()), int(datetime.combine(date, ends, zone).timestamp()))
        for begins, ends in breaks
    )
    return Day(
        instrument.symbol,
        int(days.opens[row]),
        int(days.closes[row]),
        edges,
        float(days.open[row]),
        float(days.high[row]),
        float(days.low[row]),
        close,
        float(days.volume[row]),
        price_decimals(kind, close) if close > 0 else 2,
        _coin_decimals(float(days.volume[row])) if kind is AssetType.CRYPTO else 0,
        kind not in (AssetType.STOCK, AssetType.ETF),
    )


def _coin_decimals(volume: float) -> int:
    """As many as recordings have, where doubles hold them."""
    return 8 if volume < _MANY_COINS else 2


def _with_recording(bars: Bars, recording: IntradayRecording, day: Day) -> Bars:
    """The session's bars, those of the recorded stretch replaced by the recording's own."""
    times = recording.open_time
    # A recorded auction is labelled by the close; a day that ends where the next begins has none.
    inside = (times >= day.opens) & ((times < day.closes) | ((times == day.closes) & (not day.dense)))
    if not inside.any():
        return bars
    step = _seconds(recording.interval)
    begins, ends = max(day.opens, int(times[0])), min(day.closes, int(times[-1]) + step)
    open_, high, low, close, volume = (getattr(recording, name)[inside] for name in BAR_COLUMNS)
    own = Bars(open_, high, low, close, volume, times[inside], np.ones(int(inside.sum()), np.bool_))
    return Bars.joined([bars[bars.open_time < begins], own, bars[bars.open_time >= ends]])
