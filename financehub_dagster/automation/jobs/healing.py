"""`heal_gaps`: what the ledger lacks becomes runs of the assets, by itself or on request.

Belongs here: the job, the sensor that launches it, and which tables a run selects. Does not belong here: which gaps are
due (storage.coverage), and the work itself (assets).
"""

from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES

from financehub_dagster.automation.queues import queue_tags
from financehub_dagster.automation.run_facts import covers, fills, symbols_of
from financehub_dagster.ingest.outcome import HEALS_TAG
from financehub_dagster.ingest.partitions import by_day, range_tags
from financehub_dagster.providers.routing import DailyBarsRouter, IntradayRouter, Router
from financehub_dagster.tables import BARS_OF, DERIVED, INTRADAY, LEDGER_TABLES, TABLES, filled_together

if TYPE_CHECKING:
    from financehub_dagster.market.instruments import Instrument
    from financehub_dagster.storage.coverage.backfill_planner import HealingBatch

JOB, MINUTES_JOB = "heal_gaps", "heal_minutes"
HEAL_SECONDS = 30
ORDERS = 2
"""Runs per table at a time: the queue has room left for what people and schedules launch, which also goes first."""


def _job(name: str, tables: Sequence[str]) -> UnresolvedAssetJobDefinition:
    """The job over `tables`, all cut into partitions of one length, and what is filled together with them."""
    filled = dict.fromkeys(each for table in tables for each in (table, *filled_together(table)))
    return dg.define_asset_job(
        name,
        selection=dg.AssetSelection.assets(*(table for table in filled if by_day(table) == by_day(tables[0]))),
        description="Fills gaps of the ledger: launched by its sensor for the partitions and instruments concerned.",
        tags=queue_tags("low"),
    )


heal_gaps = _job(JOB, [table for table in LEDGER_TABLES if not by_day(table)])
heal_minutes = _job(MINUTES_JOB, [table for table in LEDGER_TABLES if by_day(table)])
JOBS = (heal_gaps, heal_minutes)


def tables_of(order: "HealingBatch") -> tuple[str, ...]:
    """The tables that a run of `order` fills."""
    return (order.table, *filled_together(order.table))


def due_orders(
    router: DailyBarsRouter,
    limit: int,
    *,
    tables: Sequence[str] = LEDGER_TABLES,
    symbols: Sequence[str] | None = None,
    without: Collection[str] = (),
    intraday: IntradayRouter | None = None,
) -> "list[HealingBatch]":
    """Bring the ledger up to now and plan at most `limit` orders a table, for vendors that may be asked.

    Computed tables are planned for instruments whose bars are not: filling the bars fills them too. intraday: whom the
    intraday tables ask; None: they are left out.
    """
    from financehub_dagster.storage.coverage import backfill_planner, ledger
    from financehub_dagster.storage.database.engine import transaction
    from financehub_dagster.storage.rate_limits import availability

    now = datetime.now(UTC)
    ledger.refresh(now)
    with transaction() as connection:
        shut = availability.unavailable(connection, router.capability)
        able = partial(_can_be_asked, router, shut)
        bars = [table for table in tables if table in BARS_OF]
        orders = backfill_planner.plan(connection, now, limit, tables=bars, symbols=symbols, without=without, able=able)
        taken = {*without, *(symbol for order in orders for symbol in order.symbols)}
        computed = [table for table in tables if table in DERIVED]
        orders += backfill_planner.plan(connection, now, limit, tables=computed, symbols=symbols, without=taken)
        if intraday is not None:
            minutes = [table for table in tables if table in INTRADAY]
            shut = availability.unavailable(connection, intraday.capability)
            able = partial(_can_be_asked, intraday, shut)
            orders += backfill_planner.plan(connection, now, limit, tables=minutes, symbols=symbols, able=able)
    return orders


def waits_for(
    router: DailyBarsRouter, intraday: IntradayRouter, tables: Sequence[str], symbols: Sequence[str] | None = None
) -> dict[str, datetime]:
    """The vendors that keep gaps of `tables` open that are due, and from when on (UTC) they may be asked again."""
    from financehub_dagster.storage.coverage import backfill_planner
    from financehub_dagster.storage.database.engine import transaction
    from financehub_dagster.storage.rate_limits import availability

    found: dict[str, datetime] = {}
    asked: tuple[tuple[Router, Collection[str]], ...] = ((router, BARS_OF), (intraday, INTRADAY))
    with transaction() as connection:
        for each, own in asked:
            shut = availability.unavailable(connection, each.capability)
            held = partial(_held_back, each, shut)
            chosen = [table for table in tables if table in own]
            if shut and backfill_planner.plan(
                connection, datetime.now(UTC), 1, tables=chosen, symbols=symbols, able=held
            ):
                found |= shut
    return found


def _can_be_asked(router: Router, shut: Collection[str], instrument: "Instrument") -> bool:
    """Whether a vendor of an instrument can be asked now."""
    return bool(router.askable(instrument, shut))


def _held_back(router: Router, shut: Collection[str], instrument: "Instrument") -> bool:
    """Whether an instrument has vendors, none of which can be asked now."""
    return bool(router.askable(instrument)) and not router.askable(instrument, shut)


@dg.sensor(
    name="heal_gaps_sensor",
    jobs=JOBS,
    minimum_interval_seconds=HEAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Turns due gaps of the ledger into runs, most important instruments first, within vendors' budgets.",
)
def heal_gaps_sensor(
    context: dg.SensorEvaluationContext, daily_bars: DailyBarsRouter, intraday_bars: IntradayRouter
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """A table waits while runs that the sensor launched for it have not ended.

    Instruments wait while any run of the job works on them. A run that a person launched for all instruments keeps what
    lies within its partitions to itself, and holds nothing else up.
    """
    going_on = [
        run
        for job in (JOB, MINUTES_JOB)
        for run in context.instance.get_runs(dg.RunsFilter(job_name=job, statuses=NOT_FINISHED_STATUSES))
    ]
    busy = {run.tags[HEALS_TAG] for run in going_on if HEALS_TAG in run.tags}
    worked_on = {symbol for run in going_on for table in LEDGER_TABLES for symbol in symbols_of(run, table) or ()}
    free = [table for table in LEDGER_TABLES if table not in busy]
    due = due_orders(daily_bars, ORDERS, tables=free, without=worked_on, intraday=intraday_bars) if free else []
    orders = [order for order in due if not any(_does(run, order) for run in going_on)]
    if not orders:
        yield dg.SkipReason(_why_none(busy, due))
    for order in orders:
        yield _request(order)


def _request(order: "HealingBatch") -> dg.RunRequest:
    tables = tables_of(order)
    config = {"config": {"symbols": list(order.symbols)}}
    return dg.RunRequest(
        job_name=MINUTES_JOB if by_day(order.table) else JOB,
        asset_selection=[dg.AssetKey(table) for table in tables],
        run_config={"ops": {table: config for table in tables if TABLES[table].filled_by == table}},
        tags={
            **range_tags(order.first.isoformat(), order.last.isoformat()),
            HEALS_TAG: order.table,
        },
    )


def _does(run: dg.DagsterRun, order: "HealingBatch") -> bool:
    """Whether a run over all instruments does the order's work already."""
    everyone = fills(run, order.table) and symbols_of(run, order.table) is None
    return everyone and covers(run, order.first.isoformat(), order.last.isoformat())


def _why_none(busy: Collection[str], due: Sequence["HealingBatch"]) -> str:
    if due:
        return "A run over all instruments fills what is due."
    return f"Runs heal {', '.join(sorted(busy))}." if busy else "No gap is due."
