"""The ledger of minutes by day: counts by state, who lacks most, and the days that are to be asked for.

Belongs here: from settled spans and stretches to UTC days, and to orders. Does not belong here: the arithmetic of one
answer (`minutes`), SQL (`minute_rows`), launching runs (automation). Imports numpy: import it inside functions.

A day of an instrument is expected once minutes of it are due and more than LATE has passed since. It is a gap if any of
them is missing, or beyond what is settled; confirmed empty if all of them are; else it is stored.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from financehub_dagster.market.coverage import DEAD_LETTERED, DEFERRED, EMPTY, GAP, NAMED, STORED, UNEXPECTED
from financehub_dagster.market.instruments import Instrument
from financehub_dagster.market.intraday.trading_hours import trading_hours
from financehub_dagster.storage.coverage import facts, minute_rows
from financehub_dagster.storage.coverage.minutes import Settled, instant
from financehub_dagster.storage.database.engine import Connection
from financehub_dagster.storage.queries.instruments import list_instruments
from financehub_dagster.tables import TABLES

type Days = NDArray[np.datetime64]
type States = NDArray[np.int8]

LATE = 1800
"""Seconds after a minute until which its absence is no gap: vendors publish some exchanges' trades 20 minutes late."""
TAIL_LATE = 2 * 3600
"""Seconds after which minutes beyond what is settled are ordered: until then ticks bring them."""
DAY = 86_400

type Waiting = Mapping[str, Sequence[tuple[int, date, date]]]
"""By symbol, the state and the first and last day of work that waits."""


@dataclass(frozen=True)
class OpenDays:
    """The days of one instrument since its first minute, and the state of each."""

    instrument: Instrument
    settled: Settled
    days: Days
    states: States


def read_days(
    connection: Connection, now: datetime, symbols: Sequence[str] | None = None, *, to_plan: bool = False
) -> list[OpenDays]:
    """The days of all active instruments that have minutes, most important first; of `symbols` alone if given.

    to_plan: work that was deferred and is due again is a gap.
    """
    settled = minute_rows.read(connection, symbols)
    kinds = TABLES[minute_rows.TABLE].instruments
    members = [each for each in list_instruments(connection, asset_types=kinds) if each.symbol in settled]
    waiting = _waiting(connection, [each.symbol for each in members], now if to_plan else None)
    at = int(now.timestamp())
    return [_days(each, settled[each.symbol], waiting.get(each.symbol, ()), at) for each in members]


def _days(instrument: Instrument, settled: Settled, waiting: Sequence[tuple[int, date, date]], now: int) -> OpenDays:
    assert settled.first is not None
    assert settled.complete_to is not None
    hours = trading_hours(instrument)
    days = np.arange(instant(settled.first).astype("datetime64[D]"), instant(now).astype("datetime64[D]") + 1)
    starts = np.maximum(days.astype("datetime64[s]"), instant(settled.first))
    stops = np.minimum((days + 1).astype("datetime64[s]"), instant(now - LATE))
    due = hours.count(starts, stops)
    late = hours.count(np.maximum(starts, instant(settled.complete_to)), stops) > 0
    missing, empty, unknown = late, np.zeros(days.size, np.int64), np.zeros(days.size, np.int64)
    for each in settled.stretches:
        inside = hours.count(np.maximum(starts, instant(each.start)), np.minimum(stops, instant(each.stop)))
        if each.is_gap:
            missing = missing | (inside > 0)
        elif each.is_expected:
            empty += inside
        else:
            unknown += inside
    states = np.where((empty > 0) & (empty == due), np.int8(EMPTY), np.int8(STORED))
    states[missing] = GAP
    for state, first, last in waiting:
        within = (days >= np.datetime64(first)) & (days <= np.datetime64(last))
        states[within & (states == GAP)] = state
    states[(due == 0) | (unknown == due)] = UNEXPECTED
    return OpenDays(instrument, settled, days, states)


def _waiting(
    connection: Connection, symbols: Sequence[str], due_at: datetime | None
) -> dict[str, list[tuple[int, date, date]]]:
    """Work that waits, deferred before dead: a day that is both counts as deferred. What is due by then is left out."""
    due = [] if due_at is None else list(facts.deferred(connection, minute_rows.TABLE, symbols, until=due_at))
    found: dict[str, list[tuple[int, date, date]]] = {}
    table = minute_rows.TABLE
    for state, work in (
        (DEFERRED, facts.deferred(connection, table, symbols)),
        (DEAD_LETTERED, facts.dead_letters(connection, table, symbols)),
    ):
        for symbol, first, last in facts.pieces((each for each in work if each not in due), symbols):
            found.setdefault(symbol, []).append((state, first, last))
    return found


def days_by_state(found: Sequence[OpenDays]) -> dict[str, int]:
    """How many days of these instruments are in each state, `expected` being all of them."""
    counts = np.zeros(max(NAMED.values()) + 1, np.int64)
    for each in found:
        counts += np.bincount(each.states, minlength=counts.size)
    expected = int(counts.sum() - counts[UNEXPECTED])
    return {"expected": expected, "stored": int(counts[STORED]), **{n: int(counts[c]) for n, c in NAMED.items()}}


def lacking(found: Sequence[OpenDays], limit: int) -> list[Mapping[str, object]]:
    """The instruments that lack most days, each with what it lacks, its first and last open month, and its worst."""
    rows: list[tuple[int, str, Mapping[str, object]]] = []
    for each in found:
        open_ = np.isin(each.states, (GAP, DEAD_LETTERED, DEFERRED))
        if not open_.any():
            continue
        months, counts = np.unique(each.days[open_].astype("datetime64[M]"), return_counts=True)
        worst = months[::-1][counts[::-1].argmax()]
        about = {
            "table": minute_rows.TABLE,
            "symbol": each.instrument.symbol,
            "gap": int((each.states == GAP).sum()),
            "dead_lettered": int((each.states == DEAD_LETTERED).sum()),
            "deferred": int((each.states == DEFERRED).sum()),
            "first_month": months[0].astype("datetime64[D]").item(),
            "last_month": months[-1].astype("datetime64[D]").item(),
            "worst_month": worst.astype("datetime64[D]").item(),
        }
        rows.append((-int(open_.sum()), each.instrument.symbol, about))
    return [about for *_, about in sorted(rows, key=lambda row: row[:2])[:limit]]


def due_days(each: OpenDays, now: datetime) -> tuple[date, date] | None:
    """The first and last day of what is to be asked for of an instrument now, close together; None: nothing is due.

    Gaps whose time has come, and minutes that no tick has brought.
    """
    at = int(now.timestamp())
    parts = [(gap.start, gap.stop) for gap in each.settled.gaps if (gap.next_ask_at or now) <= now]
    complete = each.settled.complete_to or at
    if trading_hours(each.instrument).count(instant(complete), instant(at - TAIL_LATE)):
        parts.append((complete, at))
    flags = np.zeros(each.days.size, bool)
    first = int(each.days[0].astype(np.int64)) * DAY
    for start, stop in parts:
        flags[max((start - first) // DAY, 0) : (stop - 1 - first) // DAY + 1] = True
    wanted = each.days[flags & (each.states == GAP)]
    if not wanted.size:
        return None
    apart = np.flatnonzero(np.diff(wanted) > np.timedelta64(_NEAR.days, "D"))
    end = wanted[apart[0]] if apart.size else wanted[-1]
    return wanted[0].item(), end.item()


_NEAR = timedelta(days=7)
"""Days that lie further apart are asked for by different runs."""
