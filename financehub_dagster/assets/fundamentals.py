"""`fundamentals`: what companies are worth and earn, as known on each day."""

from collections.abc import Iterator

import dagster as dg

from financehub_dagster.assets.snapshot_config import Question
from financehub_dagster.assets.tables import DAILY_FRESHNESS, answers_table, table_spec
from financehub_dagster.providers.snapshot_routing import FundamentalsRouter

NAME = "fundamentals"

SPEC = table_spec(
    NAME,
    group="fundamentals",
    kinds={"finnhub", "alphavantage"},
    deps=["instruments"],
    freshness_policy=DAILY_FRESHNESS,
    details="One row per company and UTC day of asking, never changed after it, so that a day can be read as it was"
    " known on it. What another answer of the same day replaces stays in `price_revisions`. Only the running month can"
    " be filled, with today.",
)


@answers_table(SPEC, {"fundamentals_router", *FundamentalsRouter.able})
def fundamentals(context: dg.AssetExecutionContext, config: Question) -> Iterator[dg.MaterializeResult]:
    """Ask once per company."""
    from financehub_dagster.assets.snapshot_table import fill_with_answers

    yield from fill_with_answers(context, config, NAME)
