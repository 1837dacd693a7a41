"""What two vendors' bars of an instrument tell of either's errors, and of which kind these are.

Belongs here: gathering what is known of both vendors (stored flags, refused rows, empty answers, the answer at hand)
and turning findings into what is kept. Does not belong here: kinds and comparisons (market.quality.vendor_errors),
whom to ask (`reconciliation`).
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from math import isfinite
from typing import TYPE_CHECKING, Any

from financehub_dagster.market.bar_arrays import DAILY_VALUES
from financehub_dagster.market.instruments import Instrument
from financehub_dagster.providers.base import DailyBars
from financehub_dagster.storage.database.engine import Connection
from financehub_dagster.storage.measured_bars import COMPARED, Example, Measured
from financehub_dagster.storage.queries import vendor_answers
from financehub_dagster.tables import ACTIONS, TABLES

if TYPE_CHECKING:
    import pandas as pd

    from financehub_dagster.market.quality.vendor_errors import Finding

type Broken = tuple[date, str, str, float | None]
"""The day of a bar, the rule it breaks, a column that shows it, and what that has."""


@dataclass(frozen=True)
class Compared:
    """The bars of one instrument: stored ones, the answers of a second vendor and, if it was asked, of a third."""

    table: str
    instrument: Instrument
    stored: "pd.DataFrame"
    second: DailyBars
    third: DailyBars | None

    @property
    def span(self) -> tuple[date, date]:
        """The first and last session compared: of those stored, as far back as the second vendor answered for."""
        days = self.stored["date"].dt.date
        since = [each for each in (self.second.told_since, self.second.listed_since) if each is not None]
        return max([days.iloc[0], *since]), days.iloc[-1]


def measure(connection: Connection, of: Compared) -> dict[str, list[Measured]]:
    """What is to be kept of each vendor for the sessions of `of.span`: those compared, and those with errors."""
    from financehub_dagster.market.quality import reconciliation, vendor_errors

    symbol, span = of.instrument.symbol, of.span
    stored = _within(of.stored, span)
    if not len(stored):
        return {}
    told, refused = _judged(of)
    answers = vendor_answers.refused(connection, of.table, symbol, span)
    answers += [
        each for each in vendor_answers.refused(connection, ACTIONS, symbol, span) if each[2].startswith("split")
    ]
    splits = vendor_answers.actions(connection, symbol, (span[0], None), "split")
    third = None if of.third is None else of.third.bars
    payments = _payments(connection, of)
    paid = vendor_errors.same_payments(payments, of.second.actions)
    rules = vendor_errors.by_rules(of.second.source, refused, stored, _usual(stored), third, paid)
    for vendor in sorted(set(stored["source"])):
        broken = _broken(vendor, stored, answers)
        rules += vendor_errors.by_rules(vendor, broken, told, of.second.source, third, paid)
    volumes = of.instrument.asset_type not in reconciliation.OWN_VOLUMES
    compared = vendor_errors.by_comparison(stored, of.second.source, told, third, splits, volumes=volumes)
    amiss = {(each.vendor, each.date) for each in rules if each.kind != "dividend"}
    rules += _absent(connection, of, stored, told, {day for day, *_ in refused}, amiss)
    found = vendor_errors.together(rules, compared)
    if of.second.all_actions:
        others = of.third.actions if of.third is not None and of.third.all_actions else None
        actions = _within(of.second.actions, span)
        found += vendor_errors.payments_on_other_days(payments, of.second.source, actions, others)
    days = [(str(source), day) for source, day in zip(stored["source"], stored["date"].dt.date, strict=True)]
    days += [(of.second.source, day) for day in told["date"].dt.date]
    return _kept(days, found)


def _within(bars: "pd.DataFrame", span: tuple[date, date]) -> "pd.DataFrame":
    days = bars["date"].dt.date
    within: pd.DataFrame = bars[(days >= span[0]) & (days <= span[1])].reset_index(drop=True)
    return within


def _usual(stored: "pd.DataFrame") -> str:
    """The vendor of most of the stored bars."""
    return str(stored["source"].mode().iloc[0])


def _judged(of: Compared) -> "tuple[pd.DataFrame, list[Broken]]":
    """The second vendor's bars that a table would take, and what all of its bars break, within the span.

    The bars before the span are what doubtful ones are judged by.
    """
    import numpy as np

    from financehub_dagster.market.quality import acceptance, doubts, series_arrays, vendor_errors

    symbol, declared = of.instrument.symbol, TABLES[of.table]
    good, rejected, unread = acceptance.judge(declared.limits, declared.rules, of.second.bars)
    actions = of.second.actions.assign(symbol=symbol)
    complete = {symbol} if of.second.all_actions else set()
    bits = doubts.judge(series_arrays.arrange(good.assign(symbol=symbol), actions, complete))
    broken = [_of_row(row, row["rule"]) for frame in (rejected, unread) for row in frame.to_dict("records")]
    for row in np.flatnonzero(bits).tolist():
        bar = good.iloc[row]
        for flag in doubts.names(int(bits[row])):
            column = vendor_errors.column_of(flag, bar)
            broken.append((bar["date"].date(), flag, column, _number(bar[column])))
    first, last = of.span
    return _within(good, of.span), [each for each in broken if first <= each[0] <= last]


def _of_row(row: Mapping[Any, Any], rule: str) -> Broken:
    """A refused row by the column that its rule names, or by the first that has no price."""
    column = next((name for name in DAILY_VALUES if rule.startswith(f"{name}_")), None)
    if column is None:
        known = (name for name in ("close", "open", "high", "low") if name in row)
        amiss = (name for name in known if not (_number(row[name]) or 0) > 0)
        column = next(amiss, "volume" if rule == "finite" else "close")
    return row["date"].date(), rule, column, _number(row.get(column))


def _number(value: object) -> float | None:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return number if isfinite(number) else None


def _broken(vendor: str, stored: "pd.DataFrame", answers: Sequence[vendor_answers.Refused]) -> Iterator[Broken]:
    """What a vendor's stored bars, and those that were refused and that it has not corrected since, break."""
    from financehub_dagster.market.quality import vendor_errors

    own = stored[stored["source"] == vendor]
    known = dict(zip(own["date"].dt.date, own.to_dict("records"), strict=True))
    for day, row in known.items():
        for flag in row["flags"]:
            column = vendor_errors.column_of(flag, row)
            yield day, flag, column, _number(row[column])
    for source, day, rule, refused, at in answers:
        corrected = day in known and known[day]["fetched_at"] > at and not rule.startswith("split")
        if source == vendor and not corrected:
            yield _of_row({**refused, "date": datetime.combine(day, time())}, rule)


def _absent(
    connection: Connection,
    of: Compared,
    stored: "pd.DataFrame",
    told: "pd.DataFrame",
    refused: Collection[date],
    amiss: Collection[tuple[str, date]],
) -> "list[Finding]":
    """Bars that one vendor lacks at a session, and that it alone has on a day without.

    refused: days of the second vendor's other bars. amiss: bars with an error, which no other vendor has to have.
    """
    from financehub_dagster.market import calendars
    from financehub_dagster.market.quality.vendor_errors import Finding

    second, known_to = of.second.source, calendars.known_to(of.instrument)
    sessions = set(calendars.known(of.instrument, *of.span).dates.tolist())
    mine = {row["date"].date(): row for row in stored.to_dict("records")}
    theirs = {row["date"].date(): {**row, "source": second} for row in told.to_dict("records")}
    sent = theirs.keys() | refused
    lacks = [(second, day) for day in mine.keys() - sent]
    empty = vendor_answers.empty(connection, of.table, of.instrument.symbol, of.span)
    lacks += [(name, day) for name, day in empty if name != second and mine.get(day, {}).get("source") != name]
    has = _with_trades(theirs) | _with_trades(mine)
    missing = [
        Finding(name, "missing", day, True, "close", None, has[day]["close"], has[day]["source"])
        for name, day in lacks
        if day in sessions and day in has and (has[day]["source"], day) not in amiss
    ]
    beside = [(mine[day], second) for day in mine.keys() - sent] + [
        (theirs[day], _usual(stored)) for day in theirs.keys() - mine.keys()
    ]
    return missing + [
        Finding(str(bar["source"]), "no_session", day, True, "close", bar["close"], None, by)
        for bar, by in beside
        if sessions and (day := bar["date"].date()) not in sessions and day <= known_to
    ]


def _with_trades(bars: Mapping[date, Mapping[Any, Any]]) -> dict[date, Mapping[Any, Any]]:
    """Without bars that have no volume, unless none has: they may be filled where nobody traded."""
    counted = any(bar["volume"] > 0 for bar in bars.values())
    return {day: bar for day, bar in bars.items() if bar["volume"] > 0 or not counted}


def _payments(connection: Connection, of: Compared) -> "pd.DataFrame":
    """The stored payments that other vendors than the second one reported."""
    from financehub_dagster.market.adjustments import CASH

    stored = vendor_answers.actions(connection, of.instrument.symbol, of.span, *CASH)
    return stored[stored["source"] != of.second.source]


def _kept(days: Iterable[tuple[str, date]], found: "Sequence[Finding]") -> dict[str, list[Measured]]:
    """What was compared and found by vendor, of those who have bars: a bar with an error was compared too."""
    compared: dict[str, set[date]] = {}
    for vendor, day in days:
        compared.setdefault(vendor, set()).add(day)
    found = [each for each in found if each.vendor in compared]
    for each in found:
        compared[each.vendor].add(each.date)
    kinds: dict[str, dict[tuple[str, bool], list[Finding]]] = {}
    for each in found:
        kinds.setdefault(each.vendor, {}).setdefault((each.kind, each.decided), []).append(each)
    return {
        vendor: [
            Measured(COMPARED, True, own),
            *(
                Measured(kind, decided, {each.date for each in those}, _example(max(those, key=lambda each: each.date)))
                for (kind, decided), those in kinds.get(vendor, {}).items()
            ),
        ]
        for vendor, own in compared.items()
    }


def _example(of: "Finding") -> Example:
    return Example(of.date, of.column, of.told, of.other, of.against)
