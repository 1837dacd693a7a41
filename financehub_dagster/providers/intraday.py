"""What the bars within a day have in common, whoever sends them.

Belongs here: which bars are over and by whose clock, what belongs to a regular session, and up to when an answer is
complete. Does not belong here: any vendor's document or limits, and deriving longer bars (market). Imports numpy and
pandas inside functions only.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from financehub_dagster.gateway.errors import BadRequest, NotInPlan
from financehub_dagster.gateway.response import Reply
from financehub_dagster.market.currencies import scaled
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.providers.base import IntradayBars
from financehub_dagster.providers.items import known, read_or_none
from financehub_dagster.providers.values import OtherQuestion

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

INTERVALS = (1, 5, 15, 60)
"""Lengths of bars in minutes."""
SETTLES = timedelta(minutes=20)
"""Vendors publish some exchanges' trades so much later (Yahoo's list of delays: https://help.yahoo.com/kb/SLN2310.html,
15 to 20 minutes for most): until then a minute without a bar may still get one."""
MARGIN = timedelta(hours=2)
"""So much less than a vendor keeps is asked for."""
CLOCK_TOLERANCE = 60.0
"""Seconds our clock may be off before it is said, and no longer believed."""
FEW = 3
"""So many bars of another time may be what a vendor appends to any answer."""
COLUMNS = ("open", "high", "low", "close", "volume")

_logger = logging.getLogger("financehub.providers")


@dataclass(frozen=True, slots=True)
class Range:
    """What was asked for: bars of `interval` minutes that open in [first, last), epoch seconds on whole bars."""

    instrument: Instrument
    interval: int
    first: int
    last: int

    @property
    def seconds(self) -> int:
        """The length of a bar."""
        return 60 * self.interval

    @property
    def start(self) -> datetime:
        """When the range begins, in UTC."""
        return datetime.fromtimestamp(self.first, UTC)

    @property
    def end(self) -> datetime:
        """When the range ends, in UTC; that instant is outside."""
        return datetime.fromtimestamp(self.last, UTC)


def asked(
    provider: str, instrument: Instrument, interval: int, start: datetime, end: datetime, *, hours: bool = True
) -> Range:
    """The range of whole minutes that covers [start, end).

    hours: whether the vendor's hours begin with the session. Raises BadRequest for an interval that it has not,
    ValueError for a range without time zone or that ends before it starts.
    """
    if start.tzinfo is None or end.tzinfo is None or end < start:
        raise ValueError(f"from {start} to {end} is no range: give aware times in order")
    if interval not in INTERVALS:
        problem = f"has no bars of {interval} minutes: ask for one of {', '.join(map(str, INTERVALS))}"
        raise BadRequest(provider, problem, symbol=instrument.symbol)
    if interval == 60 and not hours:
        problem = "its hours begin at full hours, not with the session: ask for minutes"
        raise BadRequest(provider, problem, symbol=instrument.symbol)
    return Range(instrument, interval, int(start.timestamp()) // 60 * 60, -(-int(end.timestamp()) // 60) * 60)


def our_clock() -> datetime:
    """This machine's time, which tells how far back a vendor keeps bars."""
    return datetime.now(UTC)


def within_reach(provider: str, of: Range, reach: timedelta) -> tuple[Range, datetime | None]:
    """The part of a range that a vendor keeps for `reach`, and its beginning where that is not the whole range's.

    A little less than that is asked for, whole days of UTC: our clock may be off. Raises NotInPlan where it keeps
    nothing of it.
    """
    oldest = our_clock() - reach + MARGIN
    if of.start >= oldest:
        return of, None
    first = -(-int(oldest.timestamp()) // 86_400) * 86_400
    if first >= of.last:
        problem = f"keeps bars of {of.interval} min for {reach.days} days only"
        raise NotInPlan(provider, problem, symbol=of.instrument.symbol)
    return Range(of.instrument, of.interval, first, of.last), datetime.fromtimestamp(first, UTC)


@dataclass(frozen=True, slots=True)
class Minutes:
    """Bars as a vendor sent them, in any order: opens in epoch seconds, columns of COLUMNS as (5, bars) float64."""

    opens: "NDArray[np.int64]"
    columns: "NDArray[np.float64]"

    @classmethod
    def of(cls, opens: Sequence[int], columns: Sequence[Sequence[float]]) -> "Minutes":
        """From plain lists; columns by COLUMNS."""
        import numpy as np

        times = np.array(opens, np.int64)
        return cls(times, np.array(columns, np.float64).reshape(len(COLUMNS), len(times)))

    @classmethod
    def read[R](cls, rows: Iterable[R], read: Callable[[R], tuple[float, Sequence[Any]]], power: int) -> "Minutes":
        """The bar of each row: `read` gives its opening in epoch seconds and COLUMNS as they were sent.

        Prices are multiplied by 10 to the `power`, what is no number is NaN, and rows without an opening are left out.
        """
        opens, columns = [], []
        for row in rows:
            found = read_or_none(read, row)
            if found is not None:
                *prices, volume = map(known, found[1])
                opens.append(int(found[0]))
                columns.append([*(scaled(price, power) for price in prices), volume])
        return cls.of(opens, list(zip(*columns, strict=True)))

    @classmethod
    def joined(cls, parts: "Sequence[Minutes]") -> "Minutes":
        """All bars of several answers; a later answer's bar replaces the same one of an earlier answer."""
        import numpy as np

        if not parts:
            return cls.of([], [])
        opens = np.concatenate([part.opens for part in parts])
        return cls(opens, np.concatenate([part.columns for part in parts], axis=1))

    def kept(self, mask: "NDArray[np.bool_]") -> "Minutes":
        """Those where `mask` is true."""
        return Minutes(self.opens[mask], self.columns[:, mask])


def answer(
    of: Range,
    found: Minutes,
    source: str,
    calls: int,
    reply: Reply | None,
    *,
    settles: timedelta = SETTLES,
    traded_to: int | None = None,
    told_since: datetime | None = None,
    ahead: float | None = None,
) -> IntradayBars:
    """The bars of a range that are over by the vendor's clock, and up to when the vendor has answered for every minute.

    settles: how long after a minute a bar of it may still appear. traded_to: the epoch second of a trade that the
    vendor knows, beside the bars. ahead: seconds by which the vendor's clock is ahead of ours, where `reply` does not
    say.
    """
    if (reply is None or reply.told_time is None) and ahead is not None:
        now = datetime.now(UTC)
        clock, offset = now + timedelta(seconds=ahead), ahead
    else:
        clock = clock_of(reply)
        now = datetime.now(UTC)
        offset = 0.0 if reply is None or reply.told_time is None else (reply.told_time - now).total_seconds()
    off = abs(offset) > CLOCK_TOLERANCE
    if off:
        _tell_clock(source, round(-offset / 60))
    return IntradayBars(
        of.instrument.symbol,
        of.interval,
        _table(of, found, clock),
        source,
        clock if off else now,
        calls,
        _complete_to(of, found, clock, settles, traded_to),
        told_since,
        offset if off else 0.0,
    )


@cache
def _tell_clock(source: str, minutes: int) -> None:
    """Once per process, vendor and difference."""
    _logger.warning("this machine's clock is %d min off by the clock of %s: set it right", minutes, source)


def clock_of(reply: Reply | None) -> datetime:
    """The vendor's clock at its last answer; the database's where the vendor does not say, since ours may be wrong."""
    told = None if reply is None else reply.told_time
    if told is not None:
        return told
    from financehub_dagster.storage.database.engine import database_now

    return database_now()


def _table(of: Range, found: Minutes, clock: datetime) -> "pd.DataFrame":
    """Finished bars of the range in order, each once, the last said wins."""
    import numpy as np
    import pandas as pd

    opens = found.opens
    kept = (opens >= of.first) & (opens < of.last) & (opens % 60 == 0)
    kept &= opens + of.seconds <= int(clock.timestamp())
    rows = np.flatnonzero(kept)
    rows = rows[np.argsort(opens[rows], kind="stable")]
    times = opens[rows]
    last_said = np.r_[times[1:] != times[:-1], True] if len(times) else np.zeros(0, np.bool_)
    rows = rows[last_said]
    bars = pd.DataFrame(found.columns[:, rows].T, columns=pd.Index(COLUMNS))
    bars.insert(0, "ts", pd.Series(opens[rows].astype("datetime64[s]")))
    return bars


def _complete_to(of: Range, found: Minutes, clock: datetime, settles: timedelta, traded_to: int | None) -> datetime:
    """Everything is settled a while after it; before that, what precedes the newest bar or trade is."""
    now = int(clock.timestamp())
    known = now - int(settles.total_seconds())
    told = found.opens[found.opens < of.last]
    if len(told):
        newest = int(told.max())
        over = newest % 60 == 0 and newest + of.seconds <= now
        known = max(known, newest + of.seconds if over else newest)
    if traded_to is not None:
        known = max(known, traded_to)
    return datetime.fromtimestamp(min(known, now, of.last) // 60 * 60, UTC)


def regular(of: Instrument, opens: "NDArray[np.int64]") -> "NDArray[np.bool_]":
    """Which bars open in the trading hours of the exchange; on days without a known session, all of them do.

    Bars before and after the market, and one that repeats the last price at the close, are none of ours. Cryptos and
    currencies have no such hours.
    """
    import numpy as np

    from financehub_dagster.market.intraday.trading_hours import trading_hours

    if of.asset_type in (AssetType.CRYPTO, AssetType.FX) or not len(opens):
        return np.ones(len(opens), np.bool_)
    hours = trading_hours(of, datetime.fromtimestamp(int(opens.max()), UTC).date())
    days = opens.astype("datetime64[s]").astype("datetime64[D]")
    known = hours.starts.astype("datetime64[D]")
    return np.asarray(hours.is_open(opens.astype("datetime64[s]")) | ~np.isin(days, known))


def require_range(found: Minutes, of: Range) -> None:
    """Raise OtherQuestion where bars lie off the minutes, or are all outside of the range that was asked for.

    A few of either may be what vendors append to any answer: the running bar, or the latest price.
    """
    opens = found.opens
    if int((opens % 60 != 0).sum()) > FEW:
        odd = int(opens[opens % 60 != 0][0])
        raise OtherQuestion(f"asked for bars of {of.interval} minutes, got one that opens at {odd} s")
    inside = (opens >= of.first - of.seconds) & (opens <= of.last + of.seconds)
    if len(opens) > FEW and not inside.any():
        opened = datetime.fromtimestamp(int(opens[0]), UTC)
        raise OtherQuestion(f"asked for {of.start} to {of.end}, got bars of {opened}")


def require_readable(found: Minutes) -> None:
    """Raise ValueError where there are bars, and the prices of not one can be read."""
    import numpy as np

    if len(found.opens) and np.isnan(found.columns[:4]).any(axis=0).all():
        opened = datetime.fromtimestamp(int(found.opens[0]), UTC)
        raise ValueError(f"the prices of {opened:%Y-%m-%d %H:%M} cannot be read")


def told_in(opens: "NDArray[np.int64]", zone: str) -> "NDArray[np.int64]":
    """Epoch seconds of times that were read as if the clock on the wall in `zone` were UTC's.

    A time that the clock skips is taken to be an hour later, one that it shows twice the first of them.
    """
    import numpy as np
    import pandas as pd

    local = pd.DatetimeIndex(opens.astype("datetime64[s]"))
    there = local.tz_localize(zone, ambiguous=np.ones(len(local), np.bool_), nonexistent="shift_forward")
    return there.tz_convert("UTC").tz_localize(None).to_numpy().astype("datetime64[s]").astype(np.int64)


def in_utc(opens: "NDArray[np.int64]", of: Range) -> "NDArray[np.int64]":
    """Times that were asked for in UTC, put right where a vendor gave them in exchange time all the same.

    It did so where they all fit sessions and range by the exchange's clock, and by UTC's some do not.
    """
    import numpy as np

    zone = of.instrument.timezone
    if of.instrument.asset_type in (AssetType.CRYPTO, AssetType.FX) or zone == "UTC" or not len(opens):
        return opens

    def fits(times: "NDArray[np.int64]") -> bool:
        inside = (times >= of.first) & (times <= of.last)
        return bool((inside & regular(of.instrument, times)).all())

    if fits(opens):
        return opens
    there = told_in(opens, zone)
    return there if fits(there) and not np.array_equal(there, opens) else opens
