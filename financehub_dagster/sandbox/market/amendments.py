"""Changes a test makes to the market: new splits, edited bars and minutes, dropped ones.

Belongs here: what was changed and how it alters a history. Does not belong here: the control endpoint's wire format.
"""

from dataclasses import dataclass, field, replace
from datetime import date

import numpy as np

from financehub_dagster.sandbox.errors import SandboxError
from financehub_dagster.sandbox.market.history import History
from financehub_dagster.sandbox.market.minutes import Bars

PRICE_COLUMNS = ("open", "high", "low", "close")
BAR_COLUMNS = (*PRICE_COLUMNS, "volume")
_DAY_SECONDS = 24 * 3600


@dataclass(slots=True)
class _Changes:
    """What was declared; where a vendor is named, it alone serves it."""

    splits: dict[date, float] = field(default_factory=dict)
    dividends: dict[tuple[str | None, date], float] = field(default_factory=dict)
    bars: dict[tuple[str | None, date], dict[str, float]] = field(default_factory=dict)
    dropped: set[tuple[str | None, date]] = field(default_factory=set)
    minutes: dict[int, dict[str, float]] = field(default_factory=dict)
    silent: list[tuple[int, int, str | None]] = field(default_factory=list)


class Amendments:
    """What tests declared, by symbol."""

    def __init__(self) -> None:
        self._changes: dict[str, _Changes] = {}

    def declare_split(self, symbol: str, day: date, ratio: float) -> None:
        """`ratio` new shares per old one from `day` on: earlier prices are served divided by it."""
        if not ratio > 0:
            raise SandboxError(f"split ratio {ratio} of {symbol} is not positive")
        self._of(symbol).splits[day] = ratio

    def declare_dividend(self, symbol: str, day: date, amount: float, vendor: str | None = None) -> None:
        """A dividend of `amount` per share with ex-date `day`; vendor: reported there alone."""
        self._of(symbol).dividends[vendor, day] = amount

    def edit_bar(self, symbol: str, day: date, values: dict[str, float], vendor: str | None = None) -> None:
        """Serve these columns of one bar instead, at one vendor or at all.

        NaN stands for a missing value, nonsense is served as it is. A day without a session gets a bar where all
        columns are named.
        """
        self._of(symbol).bars.setdefault((vendor, day), {}).update(values)

    def drop_bar(self, symbol: str, day: date, vendor: str | None = None) -> None:
        """Serve no bar for this session, at one vendor or at all."""
        self._of(symbol).dropped.add((vendor, day))

    def edit_minute(self, symbol: str, at: int, values: dict[str, float]) -> None:
        """Serve these columns of the minute that opens at epoch second `at` instead."""
        self._of(symbol).minutes.setdefault(at, {}).update(values)

    def drop_minutes(self, symbol: str, first: int, last: int, vendor: str | None) -> None:
        """Serve no minutes that open in [first, last), or no longer; vendor: only there."""
        self._of(symbol).silent.append((first, last, vendor))

    def restore_minutes(self, symbol: str) -> None:
        """Serve all minutes again, as they were."""
        self._of(symbol).silent.clear()
        self._of(symbol).minutes.clear()

    def apply_to_minutes(self, symbol: str, bars: Bars, vendor: str) -> Bars:
        """`bars` of one minute as amended."""
        changes = self._changes.get(symbol)
        if changes is None or not (changes.minutes or changes.silent):
            return bars
        columns = {name: getattr(bars, name).copy() for name in BAR_COLUMNS}
        for at, values in changes.minutes.items():
            for name, value in values.items():
                columns[name][bars.open_time == at] = value
        heard = np.ones(len(bars), np.bool_)
        for first, last, only in changes.silent:
            if only in (None, vendor):
                heard &= (bars.open_time < first) | (bars.open_time >= last)
        return replace(bars, **columns)[heard]

    def apply(self, symbol: str, history: History, vendor: str | None = None) -> History:
        """`history` as amended, as `vendor` serves it; a split after its last row has not happened yet.

        Without a vendor, what single vendors serve otherwise is left out.
        """
        changes = self._changes.get(symbol)
        if changes is None:
            return history
        edits = {day: values for (of, day), values in changes.bars.items() if of in (None, vendor)}
        history = _with_days(history, [day for day, values in edits.items() if values.keys() >= set(BAR_COLUMNS)])
        columns = {name: getattr(history, name).copy() for name in (*BAR_COLUMNS, "dividend", "split")}
        for (of, day), amount in changes.dividends.items():
            if of in (None, vendor):
                # On a day without a session it is paid with the next one's, as a split then is.
                columns["dividend"][np.searchsorted(history.date, np.datetime64(day, "D")) :][:1] = amount
        for day, ratio in changes.splits.items():
            row = int(np.searchsorted(history.date, np.datetime64(day, "D")))
            if row == len(history):
                continue
            for name in (*PRICE_COLUMNS, "dividend"):
                columns[name][:row] /= ratio
            columns["volume"][:row] *= ratio
            columns["split"][row] *= ratio
        for day, values in edits.items():
            for name, value in values.items():
                columns[name][history.date == np.datetime64(day, "D")] = value
        dropped = sorted(day for of, day in changes.dropped if of in (None, vendor))
        kept = ~np.isin(history.date, np.array(dropped, "datetime64[D]"))
        return replace(history, **columns)[kept]

    def _of(self, symbol: str) -> _Changes:
        return self._changes.setdefault(symbol, _Changes())


def _with_days(history: History, days: list[date]) -> History:
    """`history` with rows, like those before them, for days that are no session."""
    new = np.setdiff1d(np.array(sorted(days), "datetime64[D]"), history.date)
    if not len(history):
        return history
    new = new[(new > history.date[0]) & (new <= history.date[-1])]
    if not len(new):
        return history
    before = np.searchsorted(history.date, new) - 1
    later = (new - history.date[before]).astype(np.int64) * _DAY_SECONDS
    rows = history[before]
    rows = replace(
        rows,
        date=new,
        opens=rows.opens + later,
        closes=rows.closes + later,
        dividend=np.zeros(len(new)),
        split=np.ones(len(new)),
        recorded=np.zeros(len(new), np.bool_),
    )
    joined = History.joined([history, rows])
    return joined[np.argsort(joined.date, kind="stable")]
