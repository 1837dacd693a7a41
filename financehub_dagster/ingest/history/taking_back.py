"""What a vendor no longer tells within the range it answered: which rows are taken back.

Belongs here: how far an answer is believed when it is silent. Does not belong here: deleting rows (storage.upsert)
and moved bases (`restating`). The rules and their reasons are in docs/adr/0019.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING

from financehub_dagster.ingest.history import restating
from financehub_dagster.ingest.history.restating import Reading
from financehub_dagster.market.instruments import Instrument
from financehub_dagster.providers.base import DailyBars
from financehub_dagster.storage.database.engine import Connection
from financehub_dagster.storage.queries import history, sources
from financehub_dagster.storage.queries.history import Surroundings
from financehub_dagster.storage.upsert import rejected_rows
from financehub_dagster.tables import ACTIONS

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    type Days = NDArray[np.datetime64]

TOLD_TWICE, NOT_APPLIED = "split_told_twice", rejected_rows.SPLIT_NOT_APPLIED
ONE_IN = 10
"""An answer may lack one stored session among so many, but always one; one that lacks more is incomplete."""


@dataclass
class Withdrawn:
    """Keys (symbol, date, kind) of rows to take back, and the symbols of answers whose silence is not believed."""

    bars: list[tuple[str, date, str]] = field(default_factory=list)
    actions: list[tuple[str, date, str]] = field(default_factory=list)
    doubted: list[str] = field(default_factory=list)


def withdrawn(
    connection: Connection,
    table: str,
    readings: Sequence[tuple[Instrument, Reading]],
    known: Mapping[str, Surroundings],
    earlier: Mapping[str, Sequence[str]],
) -> Withdrawn:
    """What the vendors' answers no longer tell of. Call it before their rows are written.

    known is what is stored around each answer, earlier are the vendors, by symbol, whose rows it does not touch.
    """
    found = Withdrawn()
    answers = [(instrument, reading.seen) for instrument, reading in readings if len(reading.seen.bars)]
    asked = {seen.symbol: (seen.source, *_reach(seen)) for _, seen in answers}
    stored = history.dates_sent(connection, table, asked)
    for instrument, seen in answers:
        if seen.symbol in stored:
            gone, doubted = _gone_bars(instrument, seen, stored[seen.symbol])
            found.bars += [(seen.symbol, day, "") for day in gone]
            found.doubted += [seen.symbol] * doubted
    claiming = {seen.symbol: seen for _, seen in answers if seen.all_actions}
    reaches = {symbol: _reach_of_actions(seen, known[symbol]) for symbol, seen in claiming.items()}
    for symbol, actions in sources.actions_within(connection, reaches, earlier).items():
        missing = actions.keys() - _told(claiming[symbol])
        if any(_is_contradicted(claiming[symbol], key, actions[key]) for key in missing):
            found.doubted.append(symbol)
        else:
            found.actions += [(symbol, *key) for key in sorted(missing)]
    return found


def record(connection: Connection, readings: Sequence[Reading], run_id: str) -> int:
    """Write down splits that vendors tell twice, and those that were divided out here; returns how many are the former.

    What was divided out here is forgotten once the vendor's own prices no longer step on that day.
    """
    import pandas as pd

    claiming = [each for each in readings if each.seen.all_actions and len(each.seen.bars)]
    if not claiming:
        return 0
    reaches = {each.seen.symbol: (each.seen.source, *_reach(each.seen)) for each in claiming}
    rejected_rows.forget(connection, ACTIONS, NOT_APPLIED, reaches)
    twice = [_origin(each, each.twice).assign(rule=TOLD_TWICE) for each in claiming if len(each.twice)]
    applied = [_origin(each, pd.DataFrame(each.applied)).assign(rule=NOT_APPLIED) for each in claiming if each.applied]
    for frame in (*twice, *applied):
        rejected_rows.record_rejections(connection, ACTIONS, frame, run_id=run_id)
    return sum(len(frame) for frame in twice)


def _origin(reading: Reading, rows: "pd.DataFrame") -> "pd.DataFrame":
    return rows.assign(symbol=reading.seen.symbol, source=reading.seen.source)


def _reach(seen: DailyBars) -> tuple[date, date]:
    """The first and last session that an answer has a bar for: beyond them its silence means nothing."""
    return seen.bars["date"].iloc[0].date(), seen.bars["date"].iloc[-1].date()


def _reach_of_actions(seen: DailyBars, known: Surroundings) -> tuple[date, date]:
    """As far as bars reach, but for an action whose end would move rows before the answer without anybody noticing."""
    first, last = _reach(seen)
    compared = restating.anchor(known, seen) if known.before is not None else None
    return (first, last) if compared is None else (compared + timedelta(days=1), last)


def _gone_bars(instrument: Instrument, seen: DailyBars, stored: "Days") -> tuple[list[date], bool]:
    """The stored days that the answer lacks and that are taken back, and whether it lacks more than is believed.

    A day that is no session goes at once. A session goes when the sessions next to it on either side are in the answer:
    two in a row are a hole in it.
    """
    import numpy as np

    told = seen.bars["date"].to_numpy().astype("datetime64[D]")
    days = np.union1d(told, stored)
    lacking = ~np.isin(days, told)
    if not lacking.any():
        return [], False
    is_session = _sessions(instrument, days)
    lacking &= ~(is_session & np.isin(days, np.array(seen.holes, "datetime64[D]")))
    missing = days[lacking & is_session]
    around = days[is_session | ~lacking]
    places = np.searchsorted(around, missing)
    alone = np.isin(around[places - 1], told) & np.isin(around[places + 1], told)
    believed = len(missing) <= max(1, len(told) // ONE_IN)
    gone = [*days[lacking & ~is_session].tolist(), *(missing[alone].tolist() if believed else [])]
    return sorted(gone), len(gone) < int(lacking.sum())


def _sessions(instrument: Instrument, days: "Days") -> "NDArray[np.bool_]":
    """Which days are sessions; those outside of what is known of the calendar count as such."""
    import numpy as np

    from financehub_dagster.market import calendars

    known = calendars.known(instrument, days[0].item(), days[-1].item()).dates
    if not len(known):
        return np.ones(len(days), np.bool_)
    outside = (days < known[0]) | (days > np.datetime64(calendars.known_to(instrument)))
    return np.asarray(np.isin(days, known) | outside)


def _told(seen: DailyBars) -> set[tuple[date, str]]:
    return set(zip(seen.actions["date"].dt.date, seen.actions["kind"].astype(str), strict=True))


def _is_contradicted(seen: DailyBars, key: tuple[date, str], value: float) -> bool:
    """Do the answer's adjusted closes take out a payment that it does not tell of? Then its list has holes."""
    from financehub_dagster.market import adjustments

    day, kind = key
    return kind in adjustments.CASH and adjustments.still_taken_out(seen.bars, day, value)
