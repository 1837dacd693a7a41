"""The body that every computed table shares: compute, store, report.

Belongs here: the order of these for one run. Does not belong here: the engine (ingest.derived).
"""

from collections.abc import Iterator

import dagster as dg

from financehub_dagster.assets.charts.bars import indicators_shown, is_drawn
from financehub_dagster.assets.reporting import materialized
from financehub_dagster.ingest.derived import update_derived
from financehub_dagster.ingest.outcome import raise_if_nothing_worked
from financehub_dagster.ingest.partitions import Window
from financehub_dagster.ingest.run_config import Universe
from financehub_dagster.tables import TABLES


def compute_table(context: dg.AssetExecutionContext, config: Universe, table: str) -> Iterator[dg.MaterializeResult]:
    """Compute the run's window of `table` from stored rows and report it; no vendor is asked."""
    window = Window.of(context)
    outcome = update_derived(table, window, config, context.run.run_id, context.log)
    raise_if_nothing_worked(outcome)
    shown = {}
    if TABLES[table].chart == "indicators":
        shown = indicators_shown(table, outcome.done, window, drawn=is_drawn(context.run))
    yield from materialized(context, outcome, window, shown)
