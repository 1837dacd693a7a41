"""The body that the tables of vendors' answers share: ask, store, report.

Belongs here: the order of these for one run, and what each table does differently. Does not belong here: the engine
(`ingest.snapshots`), and whom to ask (providers.snapshot_routing).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from logging import Logger
from typing import Any

import dagster as dg

from financehub_dagster.assets.charts import snapshots
from financehub_dagster.assets.reporting import reported
from financehub_dagster.assets.snapshot_config import Question
from financehub_dagster.ingest.outcome import Outcome, raise_if_nothing_worked, run_metadata
from financehub_dagster.ingest.partitions import Window, running_partition
from financehub_dagster.ingest.snapshot_rows import store_fundamentals, store_news, store_prices
from financehub_dagster.ingest.snapshots import Store, Work, update_answers
from financehub_dagster.storage.database.engine import Connection, transaction
from financehub_dagster.storage.queries import history, news

LOOK_BACK = timedelta(days=28)
"""How far back news is asked for at most: NewsAPI's free plan refuses what is older than a month."""

type Shown = Callable[[Connection, date, date], dg.MetadataValue]


@dataclass(frozen=True)
class Answering:
    """What a table does its own way: its router's resource, writing, and what it shows under which name."""

    router: str
    store: Store
    shown_as: str
    shown: Shown


ANSWERING = {
    "quotes": Answering("quotes_router", store_prices, "movers", snapshots.movers),
    "crypto_markets": Answering("crypto_markets_router", store_prices, "largest", snapshots.markets),
    "fundamentals": Answering("fundamentals_router", store_fundamentals, "largest", snapshots.companies),
    "news_articles": Answering("news_router", store_news, "headlines", snapshots.headlines),
}


def fill_with_answers(
    context: dg.AssetExecutionContext, config: Question, table: str
) -> Iterator[dg.MaterializeResult]:
    """Bring the run's partitions of `table` up to date and report them."""
    window = Window.of(context)
    since = None
    if table == "news_articles":
        since = news_since(window, datetime.now(UTC))
    else:
        running_partition(context)
    outcome = ask_and_store(context.resources, config, table, window, context.run.run_id, context.log, since)
    metadata, rows = report(outcome, window)
    yield reported(context, table, rows, metadata)


def ask_and_store(
    resources: Any,
    config: Question,
    table: str,
    window: Window,
    run_id: str,
    log: Logger,
    since: datetime | None = None,
) -> Outcome:
    """Ask and store; raises dg.Failure when every instrument failed. `resources` has the router and its providers."""
    answering = ANSWERING[table]
    router = getattr(resources, answering.router)
    vendors = {name: getattr(resources, name) for name in router.able}
    work = Work(table, router, vendors, window.partition_key, run_id, since, config.providers)
    outcome = update_answers(work, config.members(table), answering.store, log)
    raise_if_nothing_worked(outcome)
    return outcome


def report(outcome: Outcome, window: Window) -> tuple[dict[str, dg.MetadataValue], dict[str, int]]:
    """What a run did and shows, and the rows of each day or month of `window` that has any."""
    answering = ANSWERING[outcome.table]
    rows_by = history.rows_by_month if outcome.table == "fundamentals" else history.rows_by_day
    with transaction() as connection:
        rows = rows_by(connection, outcome.table, window.start, window.end)
        shown = answering.shown(connection, window.start, window.end)
    metadata = run_metadata(outcome, window.start.isoformat(), window.end.isoformat())
    return {**metadata, answering.shown_as: shown}, rows


def news_since(window: Window, now: datetime) -> datetime:
    """From when on to ask: the window's first day, or the newest stored article where that is older.

    So no hour is left out after a pause. Raises dg.Failure for a window that vendors do not look back to.
    """
    earliest = now - LOOK_BACK
    if datetime.combine(window.end + timedelta(days=1), datetime.min.time(), UTC) <= earliest:
        message = f"{window.partition_key} cannot be filled: vendors look back {LOOK_BACK.days} days for news"
        raise dg.Failure(message, allow_retries=False)
    with transaction() as connection:
        newest = news.newest_article(connection)
    start = datetime.combine(window.start, datetime.min.time(), UTC)
    return max(earliest, start if newest is None else min(start, newest))
