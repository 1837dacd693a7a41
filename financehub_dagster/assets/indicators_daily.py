"""`indicators_daily`: technical indicators of every instrument with daily bars."""

from collections.abc import Iterator

import dagster as dg

from financehub_dagster.assets.tables import DAILY_FRESHNESS, daily_table, table_spec
from financehub_dagster.ingest.outcome import raise_if_nothing_worked
from financehub_dagster.ingest.partitions import Window
from financehub_dagster.ingest.run_config import BARS_OF, Universe

NAME = "indicators_daily"

SPEC = table_spec(
    NAME,
    group="indicators",
    kinds={"talib"},
    deps=["stock_prices_daily", "crypto_prices_daily", "corporate_actions"],
    freshness_policy=DAILY_FRESHNESS,
    details="One row per stored daily bar. Each value is computed over the instrument's full stored history, whatever"
    " range was asked; a bar that changed has every later value recomputed. An instrument with a bar that breaks a"
    " quality rule is left out and named.",
)


@daily_table(SPEC)
def indicators_daily(context: dg.AssetExecutionContext, config: Universe) -> Iterator[dg.MaterializeResult]:
    """Compute from stored bars; no vendor is asked."""
    from financehub_dagster.assets.charts.bars import indicators_shown, is_drawn
    from financehub_dagster.assets.reporting import materialized
    from financehub_dagster.ingest.derived import update_indicators

    window = Window.of(context)
    outcome = update_indicators(window, config, context.run.run_id, context.log)
    raise_if_nothing_worked(outcome)
    shown = indicators_shown(list(BARS_OF), outcome.done, window, drawn=is_drawn(context.run))
    yield from materialized(context, outcome, window, shown)
