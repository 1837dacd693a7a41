"""When quotes, markets, fundamentals and news are asked for.

Belongs here: cron lines, and the reasons for a tick to ask nobody. Does not belong here: what a job does
(`snapshot_jobs`), schedules of bars (`schedules`).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES

from financehub_dagster.assets.snapshot_config import ANSWERS_OF
from financehub_dagster.automation import snapshot_jobs
from financehub_dagster.ingest.partitions import partition_at, range_tags
from financehub_dagster.market.instruments import AssetType, Instrument

LATE = timedelta(minutes=20)
"""How late vendors tell a price: free plans a quarter of an hour, and the last of a session some minutes after it."""
_EXCHANGE_TRADED = ["stock", "etf", "index", "fx"]


@dataclass(frozen=True)
class Cadence:
    """One schedule: which table its job asks for, when, and about which kinds of instruments (None: all it takes).

    back is how long before the tick its partitions begin; in_hours asks only while a market of the kinds is open.
    """

    job: UnresolvedAssetJobDefinition
    table: str
    router: str
    cron: str
    why: str
    kinds: list[str] | None = None
    back: timedelta = timedelta()
    in_hours: bool = False


CADENCES = (
    Cadence(
        snapshot_jobs.fetch_crypto_quotes,
        "quotes",
        "quotes_router",
        "*/2 * * * *",
        "Every two minutes, round the clock.",
        kinds=["crypto"],
    ),
    Cadence(
        snapshot_jobs.fetch_stock_prices,
        "quotes",
        "quotes_router",
        "*/5 * * * *",
        "Every five minutes while an exchange of the universe is open, in the order of the quotes router.",
        kinds=_EXCHANGE_TRADED,
        in_hours=True,
    ),
    Cadence(
        snapshot_jobs.fetch_coingecko_cryptos,
        "crypto_markets",
        "crypto_markets_router",
        "20 * * * *",
        "Every hour.",
    ),
    Cadence(
        snapshot_jobs.fetch_fundamentals,
        "fundamentals",
        "fundamentals_router",
        "30 22 * * *",
        "Every evening (UTC), after New York has closed.",
    ),
    Cadence(
        snapshot_jobs.fetch_news,
        "news_articles",
        "news_router",
        "5,35 * * * *",
        "Every half hour, since yesterday: the free plan of NewsAPI tells its articles a day late.",
        back=timedelta(days=1),
    ),
)


def _schedule(cadence: Cadence) -> dg.ScheduleDefinition:
    @dg.schedule(
        name=f"{cadence.job.name}_schedule",
        job=cadence.job,
        cron_schedule=cadence.cron,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=cadence.why,
        required_resource_keys={cadence.router},
    )
    def tick(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        reason = reason_to_skip(context, cadence)
        if reason is not None:
            return dg.SkipReason(reason)
        now = context.scheduled_execution_time
        first, last = (partition_at(cadence.table, moment) for moment in (now - cadence.back, now))
        return dg.RunRequest(
            run_key=now.isoformat(),
            run_config={} if cadence.kinds is None else _config(cadence),
            tags=range_tags(first, last),
        )

    return tick


def reason_to_skip(context: dg.ScheduleEvaluationContext, cadence: Cadence) -> str | None:
    """Why a tick asks nobody: no key for any vendor, the run before still goes on, nobody to ask about, all closed."""
    kinds = [kind for kind in ANSWERS_OF[cadence.table] if cadence.kinds is None or kind in cadence.kinds]
    off = getattr(context.resources, cadence.router).why_off(kinds)
    if off is not None:
        return f"{cadence.table} is {off}"
    unfinished = dg.RunsFilter(job_name=cadence.job.name, statuses=NOT_FINISHED_STATUSES)
    if context.instance.get_run_records(unfinished, limit=1):
        return f"a run of {cadence.job.name} has not ended yet"
    members = _active(kinds)
    if not members:
        return f"no active instrument is of type {' or '.join(kinds)}"
    if cadence.in_hours and not any_open(members, context.scheduled_execution_time):
        return "no exchange of the universe is open"
    return None


def any_open(members: list[Instrument], now: datetime) -> bool:
    """Whether a market of `members` is open at `now` (aware), or was within LATE."""
    from financehub_dagster.market import calendars

    markets = {(each.exchange, each.asset_type is AssetType.FX): each for each in members}.values()
    return any(calendars.is_open(each, moment) for each in markets for moment in (now, now - LATE))


def _active(kinds: list[AssetType]) -> list[Instrument]:
    from financehub_dagster.storage.database.engine import transaction
    from financehub_dagster.storage.queries.instruments import list_instruments

    with transaction() as connection:
        return list_instruments(connection, asset_types=kinds)


def _config(cadence: Cadence) -> dict[str, Any]:
    return {"ops": {cadence.table: {"config": {"asset_types": cadence.kinds}}}}


ANSWER_SCHEDULES = [_schedule(cadence) for cadence in CADENCES]
