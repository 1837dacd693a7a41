"""The body that every table of daily bars shares: ask the vendors, store, report.

Belongs here: the order of these for one run. Does not belong here: which vendors can serve which table (its
declaration), or in which order they are asked (providers.routing).
"""

from collections.abc import Iterator

import dagster as dg

from financehub_dagster.assets.charts.bars import is_drawn, prices_shown
from financehub_dagster.assets.reporting import materialized
from financehub_dagster.ingest.history.daily_bars import HistoryRun, update_prices
from financehub_dagster.ingest.outcome import raise_if_nothing_worked
from financehub_dagster.ingest.partitions import Window
from financehub_dagster.ingest.run_config import Fetch
from financehub_dagster.tables import BARS, BARS_OF


def fill_bars(context: dg.AssetExecutionContext, config: Fetch, table: str) -> Iterator[dg.MaterializeResult]:
    """Bring the run's window of `table` up to date and report each table the run selected."""
    filled = BARS[table]
    vendors = {name: getattr(context.resources, name) for name in filled.vendors}
    router = getattr(context.resources, filled.router).over(vendors, only=config.providers)
    window = Window.of(context)
    work = HistoryRun(table, router, window, context.run.run_id, config.providers)
    bars, actions = update_prices(work, config.instruments(BARS_OF[table]), context.log)
    raise_if_nothing_worked(bars)
    yield from materialized(
        context, bars, window, prices_shown([table], bars.done, window, drawn=is_drawn(context.run))
    )
    for other in filled.also:
        if other == actions.table:
            yield from materialized(context, actions, window)
