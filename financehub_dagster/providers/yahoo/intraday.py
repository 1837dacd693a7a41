"""Yahoo's chart of the bars within days, read into arrays.

Belongs here: from a usable chart to minutes, and how many days of which interval Yahoo keeps. Does not belong here:
telling a usable chart from an error (errors) and asking for one (client). Imports pandas: import this module inside
functions only.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from financehub_dagster.market import calendars
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.market.intraday import resampling
from financehub_dagster.market.intraday.trading_hours import trading_hours
from financehub_dagster.providers import intraday
from financehub_dagster.providers.base import IntradayBars
from financehub_dagster.providers.intraday import Minutes, Range
from financehub_dagster.providers.yahoo import charts, errors

AROUND_THE_CLOCK = (AssetType.CRYPTO, AssetType.FX)
"""Their days end at 23:59 in Yahoo's words, and have a bar that opens then."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Yahoo's name for an interval, how much of it one answer holds, and how far back it is kept."""

    name: str
    per_request: timedelta
    reach: timedelta


INTERVALS = {
    1: Interval("1m", timedelta(days=7), timedelta(days=30)),
    5: Interval("5m", timedelta(days=59), timedelta(days=60)),
    15: Interval("15m", timedelta(days=59), timedelta(days=60)),
    60: Interval("1h", timedelta(days=729), timedelta(days=730)),
}
"""By minutes: eight days of minutes in one request (formerly seven), the last 30, 60 and 730 days (yfinance 1.7,
scrapers/history.py, and Yahoo's own messages)."""


@dataclass(frozen=True, slots=True)
class Chart:
    """Regular bars with prices as quoted in `quoted`; opens is when the session of now begins, at the exchange."""

    quoted: str
    instrument_type: str
    opens: datetime
    traded_to: int
    minutes: Minutes


def pages(of: Range) -> Iterator[Range]:
    """The range in pieces that Yahoo answers at once, the oldest first."""
    step = int(INTERVALS[of.interval].per_request.total_seconds())
    for first in range(of.first, of.last, step):
        yield Range(of.instrument, of.interval, first, min(first + step, of.last))


def read(document: Mapping[str, Any], of: Range) -> Chart | None:
    """The chart as asked for; None when it has no bars.

    A row that cannot be read has NaN, one of nulls is no bar. Bars outside of the regular sessions, of which Yahoo
    appends one at the close, are left out. Raises LookupError, TypeError, ValueError or ArithmeticError for what is no
    chart, and for one of another range.
    """
    results = document["chart"]["result"]
    if not results or not results[0].get("timestamp"):
        return None
    result = results[0]
    meta, quote = result["meta"], result["indicators"]["quote"][0]
    rows = [row for row, stamp in enumerate(result["timestamp"]) if errors.is_time(stamp)]
    opens = np.array([result["timestamp"][row] for row in rows], np.int64)
    columns, unread = zip(*(charts.numbers(quote[name]) for name in intraday.COLUMNS), strict=True)
    wrong = np.logical_or.reduce(unread)[rows]
    prices = np.array(columns[:4])[:, rows]
    volume = np.where(unread[4], np.nan, np.nan_to_num(columns[4], nan=0.0))[rows]
    kept = ~np.isnan(prices).any(axis=0) | wrong
    kept &= intraday.regular(of.instrument, opens)
    if of.instrument.asset_type not in AROUND_THE_CLOCK:
        kept &= _in_trading_periods(meta, opens)
    found = Minutes(opens, np.vstack([prices, volume]))
    intraday.require_range(found, of)
    zone = ZoneInfo(meta["exchangeTimezoneName"])
    opened = datetime.fromtimestamp(meta["currentTradingPeriod"]["regular"]["start"], zone)
    return Chart(
        str(meta["currency"]), str(meta["instrumentType"]), opened, int(meta["regularMarketTime"]), found.kept(kept)
    )


def oldest_day() -> date:
    """The first day of which Yahoo still keeps all hours, by our clock and with room for it."""
    return (intraday.our_clock() - INTERVALS[60].reach + timedelta(days=3)).date()


def hours_of_sessions(of: Instrument, start: date, end: date) -> Range | None:
    """From the open of the first session from `start` on to the close of the last one up to `end`; None without one."""
    sessions = calendars.known(of, start, end)
    if not len(sessions.dates):
        return None
    return Range(of, 60, int(sessions.opens[0].astype(np.int64)), int(sessions.closes[-1].astype(np.int64)))


def sessions(found: IntradayBars, of: Instrument) -> pd.DataFrame:
    """Daily bars of the sessions that are over and confirmed, made of bars within them; adj_close is the close."""
    readable = found.bars.dropna()
    hours = trading_hours(of, found.complete_to.date())
    columns = (readable[name].to_numpy() for name in intraday.COLUMNS)
    rows, ts = np.zeros(len(readable), np.int64), readable["ts"].to_numpy().astype("datetime64[s]")
    complete_to = np.array([found.complete_to.replace(tzinfo=None)], "datetime64[s]")
    made = resampling.resample_sessions(resampling.IntradayBars.of(rows, ts, *columns), [hours], complete_to)
    bars = made.bars.where(made.final)
    prices = {"open": bars.open, "high": bars.high, "low": bars.low, "close": bars.close}
    days = made.days[made.final].astype("datetime64[s]")
    return pd.DataFrame({"date": days, **prices, "adj_close": bars.close, "volume": bars.volume})


def scaled(found: Minutes, power: int) -> Minutes:
    """Prices in a unit that is 10 to the `power` of the quoted one, as the decimals that they were made from."""
    return Minutes(found.opens, np.vstack([charts.as_quoted(found.columns[:4], power), found.columns[4:]]))


def _in_trading_periods(meta: Mapping[str, Any], opens: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which bars lie in the sessions that Yahoo itself lists, early closes included; all where it lists none."""
    listed = meta.get("tradingPeriods")
    listed = listed.get("regular") if isinstance(listed, Mapping) else listed
    periods = [period for each in listed or [] for period in (each if isinstance(each, list) else [each])]
    inside = np.zeros(len(opens), np.bool_)
    for period in periods:
        inside |= (opens >= period["start"]) & (opens < period["end"])
    return inside if periods else np.ones(len(opens), np.bool_)
