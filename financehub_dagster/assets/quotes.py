"""`quotes`: last prices of every kind of instrument."""

from collections.abc import Iterator
from datetime import timedelta

import dagster as dg

from financehub_dagster.assets.snapshot_config import Question
from financehub_dagster.assets.tables import answers_table, table_spec
from financehub_dagster.providers.snapshot_routing import QuotesRouter

NAME = "quotes"

SPEC = table_spec(
    NAME,
    group="prices",
    kinds={"yahoo", "binance"},
    deps=["instruments"],
    freshness_policy=dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=1), warn_window=timedelta(minutes=15)),
    details="One row per instrument and time at which its price was made, whichever provider told of it. A price that"
    " is not newer than the stored one changes nothing, and no stored one is replaced. Vendors say only what is so now:"
    " only the running day can be filled, and after a close its rows stand under the day of the close.",
)


@answers_table(SPEC, {"quotes_router", *QuotesRouter.able})
def quotes(context: dg.AssetExecutionContext, config: Question) -> Iterator[dg.MaterializeResult]:
    """Ask Binance once for all cryptos and Yahoo once per 50 others; the next in order for those that lack a price."""
    from financehub_dagster.assets.snapshot_table import fill_with_answers

    yield from fill_with_answers(context, config, NAME)
