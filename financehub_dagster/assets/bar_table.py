"""The body every table of daily bars shares: ask the vendors, store, report.

Belongs here: the order of these for one run. Does not belong here: which vendors can serve which table.
"""

from collections.abc import Iterator

import dagster as dg

from financehub_dagster.assets.charts.bars import is_drawn, prices_shown
from financehub_dagster.assets.reporting import materialized
from financehub_dagster.ingest.history import Work, update_prices
from financehub_dagster.ingest.outcome import raise_if_nothing_worked
from financehub_dagster.ingest.partitions import Window
from financehub_dagster.ingest.run_config import BARS_OF, Fetch
from financehub_dagster.providers.routing import DailyBarsRouter


def fill_bars(
    context: dg.AssetExecutionContext, config: Fetch, table: str, router: DailyBarsRouter
) -> Iterator[dg.MaterializeResult]:
    """Bring the run's window of `table` up to date and report each table the run selected."""
    window = Window.of(context)
    work = Work(table, router, window, context.run.run_id, config.providers)
    bars, actions = update_prices(work, config.instruments(BARS_OF[table]), context.log)
    raise_if_nothing_worked(bars)
    yield from materialized(
        context, bars, window, prices_shown([table], bars.done, window, drawn=is_drawn(context.run))
    )
    yield from materialized(context, actions, window)
