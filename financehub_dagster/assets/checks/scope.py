"""What a run covered of a table, read off the run: its partitions, the instruments of its config, what it rewrote.

Belongs here: from a run to a scope. Does not belong here: reading rows (`evidence`).
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg

from financehub_dagster.assets.checks.evidence import Scope
from financehub_dagster.ingest.outcome import REWRITTEN
from financehub_dagster.ingest.partitions import LOOKBACK, partitions_of, range_of
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.tables import SNAPSHOTS, TABLES, kinds_of


def scope_of(table: str, run: dg.DagsterRun, instance: dg.DagsterInstance, now: datetime) -> Scope:
    """What `run` covered of `table`; checks that are executed alone are about what its last run covered."""
    if TABLES[table].time is None:
        return Scope(table, members_of(table), None)
    entry = instance.get_latest_materialization_event(dg.AssetKey(table))
    event = None if entry is None else entry.asset_materialization
    if entry is not None and range_of(run.tags) is None:
        run = instance.get_run_by_id(entry.run_id) or run
    own = event if entry is not None and entry.run_id == run.run_id else None
    config, covered = _config(table, run), range_of(run.tags)
    if covered is None and own is not None and own.partition is not None:
        covered = own.partition, own.partition
    members = members_of(table, config.get("symbols"), config.get("asset_types"))
    return Scope(table, members, _window(table, covered, now), frozenset() if own is None else _rewritten(own))


def members_of(
    table: str, symbols: Sequence[str] | None = None, asset_types: Sequence[str] | None = None
) -> list[Instrument]:
    """The active instruments that `table` is about, or those of `symbols` that it takes.

    Of current values nothing is expected for delisted ones; the sessions of others end by themselves.
    """
    from financehub_dagster.storage.database.engine import transaction
    from financehub_dagster.storage.queries.instruments import list_instruments

    kinds: Sequence[AssetType] = kinds_of(table)
    if asset_types is not None:
        kinds = [kind for kind in kinds if kind in asset_types]
    listed_on = datetime.now(UTC).date() if table in SNAPSHOTS else None
    with transaction() as connection:
        if symbols is None:
            return list_instruments(connection, asset_types=kinds, listed_on=listed_on)
        return list_instruments(
            connection, asset_types=kinds, symbols=symbols, active=None, all_known=False, listed_on=listed_on
        )


def _config(table: str, run: dg.DagsterRun) -> dict[str, Any]:
    ops: Any = run.run_config.get("ops") or {}
    config: dict[str, Any] = (ops.get(TABLES[table].filled_by) or {}).get("config") or {}
    return config


def _window(table: str, covered: tuple[str, str] | None, now: datetime) -> tuple[date, date]:
    if covered is None:
        return now.date() - LOOKBACK, now.date()
    first, last = covered
    end = partitions_of(table).time_window_for_partition_key(last).end
    return date.fromisoformat(first), end.date() - timedelta(days=1)


def _rewritten(event: dg.AssetMaterialization) -> frozenset[str]:
    """The instruments of which the run wrote more than its partitions."""
    told = [event.metadata[name].value for name in REWRITTEN if name in event.metadata]
    return frozenset(symbol for names in told for symbol in str(names).split(", "))
