"""From a declared table to the asset that explains itself in the webserver and fills the table.

Belongs here: descriptions, groups, owners, kinds, column schemas, partitions, lineage and resources of assets. Does not
belong here: what a body does (`bar_table`, `snapshot_table`, `derived_table`), or anything a run finds out.
"""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import dagster as dg

from financehub_dagster.ingest.partitions import partitions_of
from financehub_dagster.ingest.run_config import Fetch, Minutes, Snapshot, Universe
from financehub_dagster.providers.table_sources import asked_first, resources_of
from financehub_dagster.tables import FOLLOWING, TABLES, filled_with
from financehub_dagster.tables.declaration import (
    Derived,
    FilledWith,
    Freshness,
    History,
    Intraday,
    Maintained,
    Snapshots,
    Table,
)

OWNERS = ["team:market-data"]


def when_inputs_are_filled() -> dg.AutomationCondition[Any]:
    """True for a month whose input was filled after the table was and after a run was asked for, once it is quiet.

    Quiet: no run works on either. Unlike Dagster's `eager` it holds for months of history too, and where an input was
    never filled: a universe may have no cryptos. What happened between two evaluations counts in its order, which
    Dagster keeps for events alone and for no combination of them: so each is compared with the input by itself.
    """
    condition = dg.AutomationCondition
    filled = condition.any_deps_match(condition.newly_updated())
    quiet = ~condition.any_deps_in_progress() & ~condition.in_progress()
    after_both = filled.since(condition.newly_updated()) & filled.since(condition.newly_requested())
    return (after_both & quiet).with_label("inputs_are_filled")


def table_schema(table: Table) -> dg.TableSchema:
    """The columns of a declared table with their types, meaning and constraints."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(c.name, c.type, c.comment, dg.TableColumnConstraints(nullable=c.nullable))
            for c in table.columns
        ],
        constraints=dg.TableConstraints(other=[f"primary key ({', '.join(table.key)})"]),
    )


def table_spec(name: str, *, deps: tuple[str, ...] | None = None) -> dg.AssetSpec:
    """The asset of the declared table `name`; deps takes the place of what its declaration says."""
    table = TABLES[name]
    fresh = table.freshness
    return dg.AssetSpec(
        key=name,
        deps=list(_inputs(table) if deps is None else deps),
        description=f"{table.comment}\n\n{table.details}",
        group_name=table.group,
        owners=OWNERS,
        kinds={"postgres", *(table.source or asked_first(name))},
        automation_condition=when_inputs_are_filled() if name in FOLLOWING else None,
        freshness_policy=None if fresh is None else _policy(fresh),
        metadata={
            "dagster/table_name": f"public.{name}",
            "dagster/storage_kind": "postgres",
            "dagster/column_schema": table_schema(table),
        },
    )


def kept(name: str, *, deps: tuple[str, ...] | None = None) -> Callable[..., dg.AssetsDefinition]:
    """Makes the asset of a table that commands, the gateway or the ledger keep of a body that reports on it."""
    return dg.multi_asset(name=name, specs=[table_spec(name, deps=deps)])


@cache
def _policy(fresh: Freshness) -> dg.FreshnessPolicy:
    """Tables that are due together share one: Dagster goes through a thousand ticks to check each."""
    return dg.FreshnessPolicy.cron(fresh.by, lower_bound_delta=fresh.within, timezone=fresh.timezone)


def _inputs(table: Table) -> tuple[str, ...]:
    if isinstance(table.filled, Derived):
        return (*table.filled.inputs, *table.filled.after)
    if isinstance(table.filled, FilledWith) and isinstance(TABLES[table.filled.table].filled, Intraday):
        return (table.filled.table,)  # made of its rows, where others come with its answers
    return table.filled.after if isinstance(table.filled, Maintained) else ("instruments",)


def filled_assets() -> list[dg.AssetsDefinition]:
    """The assets of all tables that runs fill over partitions, in the order of the register."""
    return [_filled(name) for name, table in TABLES.items() if not isinstance(table.filled, Maintained | FilledWith)]


def _filled(name: str) -> dg.AssetsDefinition:
    """Any range of partitions is a single run; a run may select any of the tables that the step fills.

    The step is named after its table.
    """
    table, names = TABLES[name], [name, *filled_with(name)]
    decorate = dg.multi_asset(
        name=name,
        specs=[table_spec(each) for each in names],
        partitions_def=partitions_of(name),
        backfill_policy=dg.BackfillPolicy.single_run(),
        can_subset=len(names) > 1,
        required_resource_keys=resources_of(name),
    )
    return decorate(_body(table))


def _body(table: Table) -> Callable[..., Iterator[dg.MaterializeResult]]:
    """What fills the table; the engines are imported by the run, not by every process that loads the assets."""

    def bars(context: dg.AssetExecutionContext, config: Fetch) -> Iterator[dg.MaterializeResult]:
        from financehub_dagster.assets.bar_table import fill_bars

        yield from fill_bars(context, config, table.name)

    def minutes(context: dg.AssetExecutionContext, config: Minutes) -> Iterator[dg.MaterializeResult]:
        from financehub_dagster.assets.bar_table import fill_minutes

        yield from fill_minutes(context, config, table.name)

    def snapshots(context: dg.AssetExecutionContext, config: Snapshot) -> Iterator[dg.MaterializeResult]:
        from financehub_dagster.assets.snapshot_table import fill_with_snapshots

        yield from fill_with_snapshots(context, config, table.name)

    def derived(context: dg.AssetExecutionContext, config: Universe) -> Iterator[dg.MaterializeResult]:
        from financehub_dagster.assets.derived_table import compute_table

        yield from compute_table(context, config, table.name)

    if isinstance(table.filled, History):
        return bars
    if isinstance(table.filled, Intraday):
        return minutes
    return snapshots if isinstance(table.filled, Snapshots) else derived
