"""Yahoo's chart of daily bars, read into arrays.

Belongs here: from a usable chart to sessions, prices and actions, each quirk as yfinance settles it. Does not belong
here: telling a usable chart from an error (errors) and asking for one (client). Imports pandas: import this
module inside functions only.

yfinance 1.7 (scrapers/history.py, utils.py) makes the same rows by way of a dozen frames, at several times the CPU time
(docs/adr/0027); a test holds this module to its results on recorded and on random charts.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from math import inf, isfinite, nan, prod
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from financehub_dagster.market.bars import shortest_float32
from financehub_dagster.market.currencies import scaled, scaled_all, unit_of
from financehub_dagster.providers.items import known
from financehub_dagster.providers.yahoo.errors import EARLIEST, is_time
from financehub_dagster.wording import counted

PRICES = ("open", "high", "low", "close", "adj_close")
FUNDS = ("ETF", "MUTUALFUND")
"""Instrument types whose charts tell capital gains; elsewhere they are not believed."""
SHARES = ("EQUITY", "ETF")
"""Instrument types of which a session without volume had no trade; indices, currencies and funds have no volume."""
SETTLES = timedelta(hours=1)
"""A session whose last trade came before its close (a thinly traded share) counts as finished this long after it."""
DAY, HOUR, MINUTE = 86_400, 3_600, 60
FEW = 3
"""So many bars outside of the range that was asked for may be the latest ones, which Yahoo appends."""
LATE_EVENING = 22 * HOUR
"""Around changes of the clock Yahoo's midnight of some exchanges (Brazil's) comes out as 22:00 or 23:00."""

_NUMBERED = pd.Index((*PRICES, "volume"))
_NO_DATES, _NO_NUMBERS = pd.Series([], dtype="datetime64[s]"), pd.Series([], dtype="float64")
NO_BARS = pd.DataFrame({"date": _NO_DATES, **dict.fromkeys(_NUMBERED, _NO_NUMBERS)})
NO_ACTIONS = pd.DataFrame({"date": _NO_DATES, "kind": pd.Series([], dtype="str"), "value": _NO_NUMBERS})
"""No bars and no actions, with their columns: copy them."""

type Days = NDArray[np.int64]
type Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Chart:
    """days: sessions in order, once each, as days since 1970; prices: (5, sessions), of PRICES; volume: (sessions).

    Prices and cash are in the unit they are quoted in (`quoted`), NaN where Yahoo has none, and where what stands there
    is no number: such rows are `unread`. actions are (day, kind, value) by day and kind, those with a value that is no
    number above zero among them; empty are days with a row of nulls or zeros. opens, closes (of this session) and
    last_trade are in the exchange's timezone; first_trade is the day of which Yahoo says that its history begins, None
    where it does not.
    """

    quoted: str
    instrument_type: str
    opens: datetime
    closes: datetime
    last_trade: datetime
    first_trade: int | None
    days: Days
    prices: NDArray[np.float64]
    volume: NDArray[np.float64]
    unread: Mask
    actions: Sequence[tuple[int, str, float]]
    empty: Days

    def bars(self, first: date, last: date, power: int, now: datetime) -> pd.DataFrame:
        """Finished sessions of [first, last] that traded, in a unit that is 10 to the `power` of the quoted one.

        float32 prices come as the decimals they were made from, rows that cannot be read with NaN.
        """
        open_day = min(_day(last) + 1, self._unfinished(now))
        kept = (self.days >= _day(first)) & (self.days < open_day) & self._traded(_day(first))
        kept &= ~np.isnan(self.prices[:4]).any(axis=0) | self.unread
        decimals = as_quoted(self.prices[:, kept], power)
        decimals[4, self._unadjusted()[kept]] = nan
        # One block for all numbers: pandas takes three times as long for six columns.
        bars = pd.DataFrame(np.vstack([decimals, self.volume[kept]]).T, columns=_NUMBERED, copy=False)
        bars.insert(0, "date", _dates(self.days[kept]))
        return bars

    def told(self, first: date, last: date, power: int) -> pd.DataFrame:
        """One row per dividend, split and capital gain of [first, last]; money as in `bars`."""
        kept = [action for action in self.actions if _day(first) <= action[0] <= _day(last)]
        if not kept:
            return NO_ACTIONS.copy()
        dates = _dates(np.array([day for day, _, _ in kept], np.int64))
        kinds = pd.array([kind for _, kind, _ in kept], dtype="str")
        values = [value if kind == "split" else scaled(value, power) for _, kind, value in kept]
        return pd.DataFrame({"date": dates, "kind": kinds, "value": np.array(values)})

    def holes(self, first: date, last: date) -> list[date]:
        """The days of [first, last] that Yahoo lists without a price."""
        unpriced = self.days[np.isnan(self.prices[:4]).any(axis=0) & ~self.unread]
        days = np.union1d(self.empty, unpriced)
        inside = days[(days >= _day(first)) & (days <= _day(last))]
        return [date.fromordinal(day + _EPOCH) for day in inside.tolist()]

    def listed_since(self, first: date) -> date | None:
        """The first session there can be, if Yahoo was asked from `first` on; None where it does not say."""
        traded = self._traded(_day(first))
        since, left_out = self.first_trade, self.days[~traded]
        if traded.any():
            begins = int(self.days[traded][0])
            if since is not None:
                since = begins if len(left_out) and left_out[-1] >= since else min(since, begins)
            elif len(left_out):
                since = begins
        return None if since is None else date.fromordinal(since + _EPOCH)

    def _traded(self, first: int) -> Mask:
        """False for what Yahoo puts before the first trade of a share: flat rows without volume.

        Such a row is not believed before the first trade that Yahoo names, nor, where the chart reaches back to it or
        names none, before the first row with a volume. Later ones are sessions without a trade.
        """
        flat = (self.prices[:4] == self.prices[0]).all(axis=0) & (self.volume == 0)
        if self.instrument_type not in SHARES:
            return np.ones(len(flat), np.bool_)
        untraded: Mask = np.zeros(len(flat), np.bool_)
        if self.first_trade is not None:
            untraded |= flat & (self.days < self.first_trade)
        if (self.volume > 0).any() and (self.first_trade is None or self.first_trade >= first):
            untraded[: int(np.argmin(flat))] = True
        return ~untraded

    def _unadjusted(self) -> Mask:
        """Where adj_close is merely the close: no row before a dividend of the chart can have it so."""
        paid = [day for day, kind, value in self.actions if kind != "split" and value > 0 and isfinite(value)]
        reached = [day for day in paid if len(self.days) and day <= self.days[-1]]
        if not reached:
            return np.zeros(len(self.days), np.bool_)
        return np.asarray((self.days < max(reached)) & (self.prices[4] == self.prices[3]))

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


def as_quoted(prices: NDArray[np.float64], power: int) -> NDArray[np.float64]:
    """Prices times 10 to the `power`; those that are float32 as the decimals they were made from."""
    single = prices.astype(np.float32).astype(np.float64) == prices
    return scaled_all(np.where(single, shortest_float32(prices), prices), power)


def read(document: Mapping[str, Any], end: int, start: int = EARLIEST) -> Chart | None:
    """The chart as asked for from `start` to `end` (epoch seconds, the latter excluded); None when it has no bars.

    A row that cannot be read costs no other, and has NaN. Raises LookupError, TypeError, ValueError or ArithmeticError
    for what is no chart, and for one of another range.
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
    days, columns, unread = _rows(result, zone, start, end)
    quoted, kind = str(meta["currency"]), str(meta["instrumentType"])
    actions = _actions(result.get("events") or {}, kind, quoted, days, zone, end)
    once = _without_twins(days)
    days, columns, unread = days[once], columns[:, once], unread[once]
    prices, volume = columns[:5], columns[5]
    nothing = (np.nan_to_num(prices) == 0).all(axis=0) & (volume == 0) & ~unread
    nothing &= ~np.isin(days, [day for day, _, _ in actions])
    kept = ~nothing
    first = meta.get("firstTradeDate")
    return Chart(
        quoted,
        kind,
        opens,
        closes,
        last_trade,
        _day_at(first, zone) if first and is_time(first) else None,
        days[kept],
        prices[:, kept],
        volume[kept],
        unread[kept],
        actions,
        days[nothing],
    )


def _rows(result: Mapping[str, Any], zone: ZoneInfo, start: int, end: int) -> tuple[Days, NDArray[np.float64], Mask]:
    """The day of each row, in order, (6, rows): PRICES and the volume, and which rows cannot be read."""
    quote, adjusted = result["indicators"]["quote"][0], result["indicators"].get("adjclose")
    stamped = [row for row, stamp in enumerate(result["timestamp"]) if is_time(stamp)]
    stamps = np.array([result["timestamp"][row] for row in stamped], np.int64)
    order = np.argsort(stamps, kind="stable")
    if len(stamps) > FEW and not ((stamps >= start - DAY) & (stamps < end + DAY)).any():
        told = date.fromordinal(int(stamps[order[0]]) // DAY + _EPOCH)
        raise ValueError(f"asked for another range than that of its {counted(len(stamps), 'bar')} from {told} on")
    columns, unread = zip(*(numbers(quote[name]) for name in (*PRICES[:4], "volume")), strict=True)
    closes = numbers(adjusted[0]["adjclose"])[0] if adjusted else np.full(len(columns[0]), nan)
    # Yahoo has no volume of what is not traded by number, and says null; 0, as everywhere.
    volume = np.where(unread[4], nan, np.nan_to_num(columns[4], nan=0.0, posinf=inf, neginf=-inf))
    every, wrong = np.array([*columns[:4], closes, volume]), np.logical_or.reduce(unread)
    if stamps[order[-1]] >= end:
        order = order[:-1]  # the latest price, which Yahoo appends to ranges that end before it
    rows = np.array(stamped, np.int64)[order]
    return _local_days(stamps[order].tobytes(), zone), every[:, rows], wrong[rows]


def numbers(column: Sequence[Any]) -> tuple[NDArray[np.float64], Mask]:
    """The numbers of a column, NaN for null, and where something stands that is no number."""
    plain = set(map(type, column)) <= _NUMBERS
    values = np.array(column if plain else [known(each) for each in column], np.float64)
    missing = np.isnan(values)
    if int(missing.sum()) == column.count(None):
        return values, np.zeros(len(values), np.bool_)
    return values, missing & np.array([each is not None for each in column])


_NUMBERS = {int, float, type(None)}


def _whole(text: str) -> int | None:
    return int(text) if text.isdecimal() else None


@lru_cache(maxsize=64)
def _local_days(stamps: bytes, zone: ZoneInfo) -> Days:
    """The day of each of the times, int64 in epoch seconds; the charts of one exchange have the same ones.

    That is the day at the exchange. Midnight in UTC stands for the UTC day: in New York, where it is evening, no
    session begins then, and east of London both are the same day.
    """
    moments = np.frombuffer(stamps, "datetime64[s]")
    local = pd.DatetimeIndex(moments, tz="UTC").tz_convert(zone).tz_localize(None)
    seconds = local.to_numpy().astype("datetime64[s]").astype(np.int64)
    clock = seconds % DAY
    late = (clock >= LATE_EVENING) & (clock % HOUR < MINUTE)
    utc = moments.astype(np.int64)
    days: Days = np.where(utc % DAY == 0, utc // DAY, seconds // DAY + late)
    days.flags.writeable = False
    return days


def _without_twins(days: Days) -> NDArray[np.intp]:
    """One row per day: the live row of the last session replaces its twin, of others the first row counts."""
    rows = np.arange(len(days))
    if len(days) > 1 and days[-1] == days[-2]:
        rows = np.delete(rows, -2)
    return rows[np.r_[True, days[rows][1:] != days[rows][:-1]]] if len(days) else rows


def _actions(
    events: Mapping[str, Any], instrument_type: str, quoted: str, days: Days, zone: ZoneInfo, end: int
) -> list[tuple[int, str, float]]:
    """(day, kind, value) of each session with an action: one between sessions belongs to the session after it.

    That is the first one at whose price it shows; yfinance takes the one before, which would be read as past the split.
    An action after the last session has its own day. What falls on one session is added up, of splits multiplied; an
    event whose value is no number above zero stands for itself. One without a time is left out.
    """
    if not len(days):
        return []
    told: dict[str, list[tuple[int, float]]] = {}
    for kind, stamp, value in _events(events, instrument_type, quoted):
        told.setdefault(kind, []).append((stamp, value))
    found: list[tuple[int, str, float]] = []
    sessions: list[int] = days.tolist() if told else []
    for kind, events_of_kind in told.items():
        values: dict[int, list[float]] = {}
        for stamp, value in sorted(events_of_kind, key=lambda event: event[0]):
            day = _day_at(stamp, zone)
            if stamp < end and day >= days[0]:
                on = day if day > sessions[-1] else sessions[bisect_left(sessions, day)]
                values.setdefault(on, []).append(value)
        for day, parts in values.items():
            usable = [part for part in parts if 0 < part < inf]
            found += [(day, kind, (prod if kind == "split" else sum)(usable))] if usable else []
            found += [(day, kind, part) for part in parts if not 0 < part < inf]
    return sorted(found, key=lambda action: action[:2])


def _events(events: Mapping[str, Any], instrument_type: str, quoted: str) -> Iterator[tuple[str, int, float]]:
    """Kind, time and value of each event that has a time, NaN where the value cannot be read; money as `quoted`."""
    kinds = {"dividend": "dividends", "split": "splits"}
    if instrument_type in FUNDS:
        kinds["capital_gain"] = "capitalGains"
    for kind, name in kinds.items():
        for label, event in (events.get(name) or {}).items():
            fields = event if isinstance(event, Mapping) else {}
            stamp = next((each for each in (fields.get("date"), _whole(label)) if is_time(each)), None)
            if stamp is None:
                continue
            if kind == "split":
                new, old = known(fields.get("numerator")), known(fields.get("denominator"))
                yield kind, stamp, new / old if new > 0 and old > 0 else nan
                continue
            (currency, power), unit = unit_of(str(fields.get("currency") or quoted)), unit_of(quoted)
            if currency == unit[0]:
                yield kind, stamp, scaled(known(fields.get("amount")), power - unit[1])
            else:  # no kind that a table takes: it is written down and left out
                yield f"{kind} in {currency}", stamp, known(fields.get("amount"))


def _day_at(stamp: int, zone: ZoneInfo) -> int:
    """The day of a time as `_local_days` has it, but for late evenings."""
    return stamp // DAY if stamp % DAY == 0 else _day(datetime.fromtimestamp(stamp, zone))


def _day(day: date) -> int:
    return day.toordinal() - _EPOCH


_EPOCH = date(1970, 1, 1).toordinal()


def _dates(days: Days) -> np.ndarray[tuple[int], np.dtype[np.datetime64]]:
    return days.astype("datetime64[D]").astype("datetime64[s]").ravel()
