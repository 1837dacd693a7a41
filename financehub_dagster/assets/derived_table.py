"""The body that every computed table shares: compute, store, report.

Belongs here: the order of these for one run. Does not belong here: the engine (ingest.derived).
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import dagster as dg

from financehub_dagster.assets.charts.bars import indicators_shown
from financehub_dagster.assets.charts.signals import signals_shown
from financehub_dagster.assets.reporting import materialized
from financehub_dagster.ingest.derived import update_derived
from financehub_dagster.ingest.outcome import raise_if_nothing_worked
from financehub_dagster.ingest.partitions import Window
from financehub_dagster.ingest.run_config import Universe
from financehub_dagster.market.instruments import Instrument
from financehub_dagster.tables import TABLES, kinds_of, period_of


def compute_table(context: dg.AssetExecutionContext, config: Universe, table: str) -> Iterator[dg.MaterializeResult]:
    """Compute the run's window of `table` from stored rows and report it; no vendor is asked."""
    window = Window.of(context)
    outcome = update_derived(table, window, config, context.run.run_id, context.log)
    raise_if_nothing_worked(outcome, context.run)
    shown = {}
    if TABLES[table].chart == "indicators":
        shown = indicators_shown(table, outcome.done, window, context.run)
    if TABLES[table].chart == "signals":
        shown = signals_shown(window)
    if period_of(table) == "next session":
        shown = not_closed(config.instruments(kinds_of(table)))
    yield from materialized(context, outcome, window, shown)


def not_closed(instruments: Sequence[Instrument]) -> dict[str, dg.MetadataValue]:
    """The instruments whose session of today has not closed yet, for the metadata of a run over levels."""
    import numpy as np

    from financehub_dagster.market.levels import newest_sessions

    _, pending = newest_sessions(instruments, datetime.now(UTC))
    waiting = [each.symbol for each, day in zip(instruments, pending, strict=True) if not np.isnat(day)]
    return {"not_closed": dg.MetadataValue.text(", ".join(waiting) or "none")}
