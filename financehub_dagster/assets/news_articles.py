"""`news_articles`: articles about instruments, and in `news_links` which ones."""

from collections.abc import Iterator
from datetime import timedelta

import dagster as dg

from financehub_dagster.assets.snapshot_config import Question
from financehub_dagster.assets.tables import answers_table, table_spec
from financehub_dagster.providers.snapshot_routing import NewsRouter

NAME = "news_articles"

SPEC = table_spec(
    NAME,
    group="news",
    kinds={"finnhub", "newsapi"},
    deps=["instruments"],
    freshness_policy=dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=24), warn_window=timedelta(hours=2)),
    details="One row per address, as the provider tells it that told of it first; `news_links` has the instruments it"
    " is about, and only grows. A run asks from its first day on, or from the newest stored article where that is"
    " older, and stores each article under the day it was published. Vendors look back 28 days.",
)


@answers_table(SPEC, {"news_router", *NewsRouter.able})
def news_articles(context: dg.AssetExecutionContext, config: Question) -> Iterator[dg.MaterializeResult]:
    """Ask Finnhub once per stock, NewsAPI about many instruments at once."""
    from financehub_dagster.assets.snapshot_table import fill_with_answers

    yield from fill_with_answers(context, config, NAME)
