"""Jobs over bars and current prices together.

Belongs here: which tables and kinds of instruments each covers. Does not belong here: jobs over one table
(`table_jobs`).

A run has one partition, and bars are cut into months where quotes are cut into days. These jobs make one run for each
length, with the checks, hooks and dead letters that any run of these tables has.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from types import MappingProxyType

import dagster as dg

from financehub_dagster.automation.queues import queue_tags
from financehub_dagster.ingest.partitions import Window, by_day
from financehub_dagster.ingest.run_config import Universe
from financehub_dagster.market.instruments import AssetType
from financehub_dagster.tables import BARS_OF, SNAPSHOTS, TABLES, filled_with

PART_TAG = "financehub/part_of"
"""On a run that is part of a job over several partitions' lengths: the run of that job."""
_FAILURE = "Failure: "
"""What Dagster writes before the reason of a step that failed in words of its own."""


@dataclass(frozen=True)
class TableGroup:
    """Tables that are cut alike and run together, with the config of each that takes it."""

    tables: Sequence[str]
    config: Mapping[str, object] = field(default_factory=dict)

    def partition_key(self, today: date) -> str:
        """The running day, or the month of a week ago to the running one."""
        if all(by_day(table) for table in self.tables):
            return today.isoformat()
        return Window.recent(today).partition_key


def _parts(kinds: Sequence[AssetType]) -> tuple[TableGroup, ...]:
    """The tables of bars and of current prices that take any of these kinds, those cut alike together."""
    bars = [table for table in BARS_OF if TABLES[table].takes(kinds)]
    prices = [table for table, filled in SNAPSHOTS.items() if filled.priced and TABLES[table].takes(kinds)]
    limited = {} if len(kinds) == len(AssetType) else {"asset_types": [str(kind) for kind in kinds]}
    return TableGroup([each for table in bars for each in (table, *filled_with(table))]), TableGroup(prices, limited)


UNIFIED_CRYPTO = _parts([AssetType.CRYPTO])
ALL_MARKETS = _parts(list(AssetType))


def run_parts(
    context: dg.OpExecutionContext,
    parts: Sequence[TableGroup],
    symbols: Sequence[str] | None,
    tags: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Run each part, with these tags too; one that fails leaves the others alone, and fails the step at the end."""
    from dagster._core.errors import DagsterExecutionInterruptedError

    from financehub_dagster.automation.runs import run_tables

    failed = []
    for part in parts:
        config = {**part.config, **({} if symbols is None else {"symbols": list(symbols)})}
        partition = part.partition_key(datetime.now(UTC).date())
        own = {**tags, PART_TAG: context.run_id}
        outcome = run_tables(
            context.repository_def, part.tables, partition, config, instance=context.instance, tags=own
        )
        if outcome.interrupted:
            raise DagsterExecutionInterruptedError
        names = ", ".join(part.tables)
        context.log.info(f"{names} {partition}: run {outcome.run_id} {'done' if outcome.success else 'failed'}")
        if not outcome.success:
            failed.append(f"{names}: {str(outcome.error).rpartition(_FAILURE)[2]}")
    if failed:
        raise dg.Failure("; ".join(failed), allow_retries=False)


@dg.op
def fetch_cryptos_together(context: dg.OpExecutionContext, config: Universe) -> None:
    """The running month's bars, then markets and quotes."""
    run_parts(context, UNIFIED_CRYPTO, config.symbols)


@dg.op
def fetch_markets_together(context: dg.OpExecutionContext, config: Universe) -> None:
    """The running month's bars, then markets and quotes."""
    run_parts(context, ALL_MARKETS, config.symbols)


@dg.job(
    description="Daily bars, markets and quotes of cryptos, each from the first vendor that can answer.",
    tags=queue_tags("default"),
)
def fetch_unified_crypto() -> None:
    """Two runs: the running month of the bars, the running day of the others."""
    fetch_cryptos_together()


@dg.job(
    description="Daily bars, corporate actions, markets and quotes of every active instrument.",
    tags=queue_tags("default"),
)
def fetch_all_markets() -> None:
    """Two runs: the running month of the bars, the running day of the others."""
    fetch_markets_together()


COMBINED_JOBS = [fetch_unified_crypto, fetch_all_markets]
