"""The most important instruments first: ranking them, keeping them fresh, and warming up before a market opens.

Belongs here: the jobs `rank_instruments`, `batch_update_popular` and `cache_warming` with their schedules. Does not
belong here: what importance is (market.importance).
"""

from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from pydantic import Field

from financehub_dagster.assets.charts import PICTURES_TAG
from financehub_dagster.automation.jobs.combined_jobs import ALL_MARKETS, run_parts
from financehub_dagster.automation.jobs.table_jobs import any_open
from financehub_dagster.automation.queues import queue_tags
from financehub_dagster.automation.ticks import active, nobody, plain_schedule, unfinished
from financehub_dagster.ingest.partitions import partition_at, range_tags
from financehub_dagster.market.instruments import AssetType, Instrument

POPULAR = 20
"""Instruments of a run of `batch_update_popular`: two requests each are within every vendor's limits of a minute."""
AHEAD = timedelta(minutes=10)
"""How long before the open prices are asked for: the time between two ticks of the schedule."""
WARMED = "quotes"
_LISTED = (AssetType.STOCK, AssetType.ETF, AssetType.INDEX)
_RUNNING = dg.DefaultScheduleStatus.RUNNING


class Popular(dg.Config):
    """How many instruments a run is about."""

    most: int = Field(default=POPULAR, ge=1, description="The most important instruments, so many of them.")


@dg.op
def rank(context: dg.OpExecutionContext) -> None:
    """Compute the importance of every active instrument from what is stored."""
    from financehub_dagster.market.importance import importance, recent_volatility, sessions_behind
    from financehub_dagster.storage.database.transactions import in_transaction
    from financehub_dagster.storage.queries import importance as stored
    from financehub_dagster.storage.queries.instruments import list_instruments

    known = in_transaction(stored.read)
    members = {each.symbol: each for each in in_transaction(list_instruments)}
    behind = sessions_behind([members[symbol] for symbol in known.symbols], known.newest, datetime.now(UTC))
    moved = recent_volatility(known.offsets, known.closes)
    weights = importance(known.held, known.market_cap, moved, behind).tolist()
    changed = in_transaction(lambda connection: stored.store(connection, known.symbols, weights))
    first = sorted(zip(weights, known.symbols, strict=True), reverse=True)[:POPULAR]
    context.add_output_metadata(
        {
            "instruments": len(known.symbols),
            "changed": changed,
            "first": ", ".join(f"{symbol} {weight:.2f}" for weight, symbol in first) or "none",
        }
    )


@dg.job(
    description="Compute how important each instrument is, from holdings, market cap, volatility and staleness.",
    tags=queue_tags("default"),
)
def rank_instruments() -> None:
    """Asks no vendor."""
    rank()


@dg.op
def update_popular(context: dg.OpExecutionContext, config: Popular) -> None:
    """Bars of the running month, then markets and quotes, of the most important instruments.

    Draws nothing: it runs every hour beside others, and drawing takes a third of its memory.
    """
    run_parts(context, ALL_MARKETS, [each.symbol for each in active()[: config.most]], {PICTURES_TAG: "none"})


@dg.job(
    description="Daily bars, corporate actions, markets and quotes of the most important instruments.",
    tags=queue_tags("default"),
)
def batch_update_popular() -> None:
    """Two runs: the running month of the bars, the running day of the others."""
    update_popular()


cache_warming = dg.define_asset_job(
    "cache_warming",
    selection=dg.AssetSelection.assets(WARMED),
    description="Last prices of listed instruments whose exchange is about to open, most important first.",
    tags=queue_tags("high"),
)


def no_popular_market(now: datetime) -> str | None:
    """Why there is nothing to update at `now` (aware): no instrument, or none whose market is open."""
    first = active()[:POPULAR]
    if not first:
        return nobody()
    return None if any_open(first, now) else "no market of the most important instruments is open"


@dg.schedule(
    job=cache_warming,
    cron_schedule="*/10 * * * *",
    default_status=_RUNNING,
    description="In the ten minutes before an exchange of the universe opens.",
)
def cache_warming_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """One run for all exchanges that open within the ten minutes after the tick."""
    busy = unfinished(context, "cache_warming")
    if busy is not None:
        return dg.SkipReason(busy)
    now = context.scheduled_execution_time.astimezone(UTC)
    opening = about_to_open(active(_LISTED), now)
    if not opening:
        return dg.SkipReason("no exchange of the universe opens in the next ten minutes")
    today = partition_at(WARMED, now)
    return dg.RunRequest(
        run_key=now.isoformat(),
        run_config={"ops": {WARMED: {"config": {"symbols": opening}}}},
        tags=range_tags(today, today),
    )


def about_to_open(members: list[Instrument], now: datetime) -> list[str]:
    """The symbols of `members`, in their order, whose session opens after `now` (aware) and within AHEAD of it."""
    from financehub_dagster.market import calendars

    moment, until = calendars.instant(now), calendars.instant(now + AHEAD)

    def opens(of: Instrument) -> bool:
        around = calendars.known(of, (now - timedelta(days=1)).date(), (now + timedelta(days=1)).date())
        return bool(((around.opens > moment) & (around.opens <= until)).any())

    return [each.symbol for each, soon in zip(members, calendars.once_a_market(members, opens), strict=True) if soon]


IMPORTANT_JOBS: list[dg.JobDefinition | UnresolvedAssetJobDefinition] = [
    rank_instruments,
    batch_update_popular,
    cache_warming,
]
IMPORTANT_SCHEDULES = [
    plain_schedule(rank_instruments, "10 4 * * *", "Every night: what the most important instruments are."),
    plain_schedule(
        batch_update_popular,
        "27 * * * *",  # it starts runs itself, and at :25 others start
        "Every hour in which one of the most important instruments is traded.",
        idle=lambda context: no_popular_market(context.scheduled_execution_time),
    ),
    cache_warming_schedule,
]
