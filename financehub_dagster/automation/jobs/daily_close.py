"""`daily_close`: takes the sessions that have closed by now, and says which instruments have not closed.

Belongs here: which bars it asks for, the job and its schedule. Does not belong here: fetching (ingest.history), levels
(market.levels).

At 20:59 in Berlin Asia and Europe have closed, New York has not: asking for all instruments would spend a call on each
one that has nothing new. Bars and levels are a run each, so that levels are computed from what is stored even when no
vendor answers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

import dagster as dg

from financehub_dagster.automation.jobs.combined_jobs import TableGroup, run_parts
from financehub_dagster.automation.jobs.table_jobs import LATE
from financehub_dagster.automation.queues import queue_tags
from financehub_dagster.automation.ticks import active, none_of, plain_schedule
from financehub_dagster.tables import BARS_OF, filled_with

JOB = "daily_close"
LEVELS = "levels_daily"


@dataclass(frozen=True)
class Closes:
    """Symbols, most important first: `due` by table of bars, closed but not stored; `waiting` has not closed today."""

    due: dict[str, list[str]]
    waiting: list[str]


def closes_at(now: datetime) -> Closes:
    """What a daily close at `now` (aware) has to ask for; a close counts once vendors have had LATE to report it."""
    from financehub_dagster.market.levels import newest_sessions
    from financehub_dagster.storage.database.engine import transaction
    from financehub_dagster.storage.queries.history import newest_times

    found = Closes({}, [])
    for table, kinds in BARS_OF.items():
        members = active(kinds)
        with transaction() as connection:
            newest = newest_times(connection, table, [each.symbol for each in members])
        closed, _ = newest_sessions(members, now - LATE)
        _, pending = newest_sessions(members, now)
        symbols = [each.symbol for each in members]
        found.due[table] = [
            symbol
            for symbol, last in zip(symbols, closed.tolist(), strict=True)
            if last is not None and newest.get(symbol, date.min) < last
        ]
        found.waiting.extend(symbol for symbol, later in zip(symbols, pending.tolist(), strict=True) if later)
    return found


def _parts(due: dict[str, list[str]]) -> Sequence[TableGroup]:
    bars = [TableGroup([table, *filled_with(table)], {"symbols": symbols}) for table, symbols in due.items() if symbols]
    return [*bars, TableGroup([LEVELS])]


@dg.op
def take_closes(context: dg.OpExecutionContext) -> None:
    """Bars of the sessions that have closed since the last stored one, then the levels of all instruments."""
    closes = closes_at(datetime.now(UTC))
    due = [symbol for symbols in closes.due.values() for symbol in symbols]
    context.add_output_metadata(
        {
            "fetched": len(due),
            "closed": ", ".join(due) or "none that is not stored",
            "not_closed": ", ".join(closes.waiting) or "none",
        }
    )
    context.log.info(f"instruments closed and asked for: {len(due)}; not closed yet: {len(closes.waiting)}")
    run_parts(context, _parts(closes.due), None)


@dg.job(
    name=JOB,
    description="Bars of the sessions that have closed by now, then levels; the run says which instruments have not"
    " closed.",
    tags=queue_tags("high"),
)
def daily_close() -> None:
    """A run for each table of bars that lacks a closed session, and one for the levels."""
    take_closes()


daily_close_schedule = plain_schedule(
    daily_close,
    "59 20 * * 1-5",
    "One minute before 21:00 in Berlin, Monday to Friday.",
    timezone="Europe/Berlin",
    idle=lambda _: none_of([kind for of_table in BARS_OF.values() for kind in of_table]),
)
