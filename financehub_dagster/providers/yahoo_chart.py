"""Yahoo's chart of daily bars, read into arrays.

Belongs here: from a usable chart to sessions, prices and actions, each quirk as yfinance settles it. Does not belong
here: telling a usable chart from an error (yahoo_wire) and asking for one (yahoo_client). Imports pandas: import this
module inside functions only.

yfinance 1.7 (scrapers/history.py, utils.py) makes the same rows by way of a dozen frames, at several times the CPU time
(docs/adr/0027); a test holds this module to its results on recorded and on random charts.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache, lru_cache
from math import isnan, prod
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from financehub_dagster.market.bars import shortest_float32

PRICES = ("open", "high", "low", "close", "adj_close")
FUNDS = ("ETF", "MUTUALFUND")
"""Instrument types whose charts tell capital gains; elsewhere they are not believed."""
SETTLES = timedelta(hours=1)
"""A session whose last trade came before its close (a thinly traded share) counts as finished this long after it."""
DAY, HOUR, MINUTE = 86_400, 3_600, 60
LATE_EVENING = 22 * HOUR
"""Around changes of the clock Yahoo's midnight of some exchanges (Brazil's) comes out as 22:00 or 23:00."""

_NUMBERED = pd.Index((*PRICES, "volume"))

type Days = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Chart:
    """days: sessions in order, once each, as days since 1970; prices: (5, sessions), of PRICES; volume: (sessions).

    actions are (day, kind, value) by day and kind. Prices and cash are in the unit they are quoted in (`quoted`), NaN
    where Yahoo has none; opens, closes (of the current session) and last_trade are in the exchange's timezone.
    """

    quoted: str
    opens: datetime
    closes: datetime
    last_trade: datetime
    days: Days
    prices: NDArray[np.float64]
    volume: NDArray[np.float64]
    actions: Sequence[tuple[int, str, float]]

    def bars(self, first: date, last: date, divisor: float, now: datetime) -> pd.DataFrame:
        """Finished sessions of [first, last] with all four prices; float32 prices as the decimals they came from."""
        open_day = min(_day(last) + 1, self._unfinished(now))
        kept = (self.days >= _day(first)) & (self.days < open_day) & ~np.isnan(self.prices[:4]).any(axis=0)
        prices = self.prices[:, kept]
        single = prices.astype(np.float32).astype(np.float64) == prices
        decimals = np.where(single, shortest_float32(prices), prices) / divisor
        # One block for all numbers: pandas takes three times as long for six columns.
        bars = pd.DataFrame(np.vstack([decimals, self.volume[kept]]).T, columns=_NUMBERED, copy=False)
        bars.insert(0, "date", _dates(self.days[kept]))
        return bars

    def told(self, first: date, last: date, divisor: float) -> pd.DataFrame:
        """One row per dividend, split and capital gain of [first, last]."""
        kept = [action for action in self.actions if _day(first) <= action[0] <= _day(last)]
        if not kept:
            return no_actions()
        days, kinds, values = zip(*kept, strict=True)
        over = np.array([1.0 if kind == "split" else divisor for kind in kinds])
        dates = _dates(np.array(days, np.int64))
        return pd.DataFrame({"date": dates, "kind": pd.array(kinds, dtype="str"), "value": np.array(values) / over})

    def _unfinished(self, now: datetime) -> int:
        """The first day whose session has not closed.

        Yahoo appends the running session as a row like any other, and says in its meta when that session closes: an
        early close included, which a fixed closing time would miss, and its own delay (up to 20 minutes on some
        exchanges), which a calendar would miss. The session is over once a trade at or after the close is in, or an
        hour later without one.
        """
        session = _day(self.opens)
        if now < self.closes or (self.last_trade < self.closes and now < self.closes + SETTLES):
            return session
        return max(session + 1, _day(now.astimezone(self.opens.tzinfo)))


def read(document: Mapping[str, Any], end: int) -> Chart | None:
    """The chart as asked for up to `end` (epoch seconds, excluded); None when it has no bars.

    Raises LookupError, TypeError, ValueError or ArithmeticError for what is no chart.
    """
    results = document["chart"]["result"]
    if not results or not results[0].get("timestamp"):
        return None
    result = results[0]
    meta = result["meta"]
    zone = ZoneInfo(meta["exchangeTimezoneName"])
    period = meta["currentTradingPeriod"]["regular"]
    opens, closes, last_trade = (
        datetime.fromtimestamp(at, zone) for at in (period["start"], period["end"], meta["regularMarketTime"])
    )
    days, columns = _rows(result, zone, end)
    actions = _actions(result.get("events") or {}, meta["instrumentType"], days, zone, end)
    days, columns = _without_twins(days, columns)
    prices, volume = columns[:5], np.trunc(np.nan_to_num(columns[5]))
    nothing = (np.nan_to_num(prices) == 0).all(axis=0) & (volume == 0)
    nothing &= ~np.isin(days, [day for day, _, _ in actions])
    kept = ~nothing
    return Chart(str(meta["currency"]), opens, closes, last_trade, days[kept], prices[:, kept], volume[kept], actions)


def _rows(result: Mapping[str, Any], zone: ZoneInfo, end: int) -> tuple[Days, NDArray[np.float64]]:
    """The day of each row, in order, and (6, rows): PRICES and the volume."""
    quote = result["indicators"]["quote"][0]
    adjusted = result["indicators"]["adjclose"][0]["adjclose"] if "adjclose" in result["indicators"] else quote["close"]
    given = [quote["open"], quote["high"], quote["low"], quote["close"], adjusted, quote["volume"]]
    for column in given:
        if not set(map(type, column)) <= _NUMBERS:
            raise TypeError("a price or volume is not a number")
    columns = np.array(given, np.float64)
    if not set(map(type, result["timestamp"])) <= {int}:
        raise TypeError("a timestamp is not a whole number")
    stamps = np.array(result["timestamp"], np.int64)
    order = np.argsort(stamps, kind="stable")
    if stamps[order[-1]] >= end:
        order = order[:-1]  # the latest price, which Yahoo appends to ranges that end before it
    return _local_days(stamps[order].tobytes(), zone), columns[:, order]


_NUMBERS = {int, float, type(None)}


@lru_cache(maxsize=64)
def _local_days(stamps: bytes, zone: ZoneInfo) -> Days:
    """The day of each of the times, int64 in epoch seconds; the charts of one exchange have the same ones."""
    local = pd.DatetimeIndex(np.frombuffer(stamps, "datetime64[s]"), tz="UTC").tz_convert(zone).tz_localize(None)
    seconds = local.to_numpy().astype("datetime64[s]").astype(np.int64)
    clock = seconds % DAY
    late = (clock >= LATE_EVENING) & (clock % HOUR < MINUTE)
    days: Days = seconds // DAY + late
    days.flags.writeable = False
    return days


def _without_twins(days: Days, columns: NDArray[np.float64]) -> tuple[Days, NDArray[np.float64]]:
    """One row per day: the live row of the last session replaces its twin, of others the first row counts."""
    if len(days) > 1 and days[-1] == days[-2]:
        days, columns = np.delete(days, -2), np.delete(columns, -2, axis=1)
    first = np.r_[True, days[1:] != days[:-1]] if len(days) else np.empty(0, bool)
    return days[first], columns[:, first]


def _actions(
    events: Mapping[str, Any], instrument_type: str, days: Days, zone: ZoneInfo, end: int
) -> list[tuple[int, str, float]]:
    """(day, kind, value) of each session with an action: one between sessions belongs to the session before it.

    An action after the last session has its own day. What falls on one session is added up, of splits multiplied.
    """
    if not len(days):
        return []
    kinds = {
        "dividend": [(event["date"], float(event["amount"])) for event in _of(events, "dividends")],
        "split": [(event["date"], event["numerator"] / event["denominator"]) for event in _of(events, "splits")],
        "capital_gain": [(event["date"], float(event["amount"])) for event in _of(events, "capitalGains")],
    }
    if instrument_type not in FUNDS:
        del kinds["capital_gain"]
    found = []
    sessions: list[int] = []
    for kind, told in kinds.items():
        if not told:
            continue
        sessions = sessions or days.tolist()
        values: dict[int, list[float]] = {}
        last = sessions[-1]
        for stamp, value in sorted(told):
            day = _day(datetime.fromtimestamp(stamp, zone))
            if stamp < end and day >= days[0]:
                on = day if day > last else sessions[bisect_right(sessions, day) - 1]
                values.setdefault(on, []).append(value)
        sessions = sorted({*sessions, *values})
        found += [(day, kind, (prod if kind == "split" else sum)(parts)) for day, parts in values.items()]
    return sorted(action for action in found if action[2] != 0 and not isnan(action[2]))


def _of(events: Mapping[str, Any], name: str) -> Iterable[Mapping[str, Any]]:
    told: Mapping[str, Mapping[str, Any]] = events.get(name) or {}
    return told.values()


def _day(day: date) -> int:
    return day.toordinal() - _EPOCH


_EPOCH = date(1970, 1, 1).toordinal()


def _dates(days: Days) -> np.ndarray[tuple[int], np.dtype[np.datetime64]]:
    return days.astype("datetime64[D]").astype("datetime64[s]").ravel()


def no_bars() -> pd.DataFrame:
    """No bars, with their columns."""
    return _no_bars().copy()


def no_actions() -> pd.DataFrame:
    """No actions, with their columns."""
    return _no_actions().copy()


@cache
def _no_bars() -> pd.DataFrame:
    numbers = dict.fromkeys((*PRICES, "volume"), pd.Series([], dtype="float64"))
    return pd.DataFrame({"date": pd.Series([], dtype="datetime64[s]"), **numbers})


@cache
def _no_actions() -> pd.DataFrame:
    dates, kinds = pd.Series([], dtype="datetime64[s]"), pd.Series([], dtype="str")
    return pd.DataFrame({"date": dates, "kind": kinds, "value": pd.Series([], dtype="float64")})
