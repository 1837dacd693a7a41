"""Why a schedule asks for no run, in the words that its ticks show; and schedules that need nothing else.

Belongs here: reasons that jobs share. Does not belong here: reasons of one job, such as closed markets (its own file).
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from financehub_dagster.automation.run_facts import is_unfinished
from financehub_dagster.market.instruments import AssetType, Instrument

type Job = dg.JobDefinition | UnresolvedAssetJobDefinition


def unfinished(context: dg.ScheduleEvaluationContext, job: str) -> str | None:
    """The reason while a run of the job is queued or working: runs of one job never pile up."""
    return f"a run of {job} has not ended yet" if is_unfinished(context.instance, job) else None


def active(kinds: Sequence[AssetType] | None = None) -> list[Instrument]:
    """The active instruments of these kinds (None: of all), most important first, without delisted ones."""
    from financehub_dagster.storage.database.engine import transaction
    from financehub_dagster.storage.queries.instruments import list_instruments

    with transaction() as connection:
        return list_instruments(connection, asset_types=kinds, listed_on=datetime.now(UTC).date())


def nobody(kinds: Sequence[AssetType] | None = None) -> str:
    """The reason where there is no such instrument."""
    if kinds is None:
        return "the universe has no active instrument"
    return f"no active instrument is of type {' or '.join(kinds)}"


def none_of(kinds: Sequence[AssetType] | None = None) -> str | None:
    """The reason while there is no active instrument of these kinds (None: of any)."""
    return None if active(kinds) else nobody(kinds)


def plain_schedule(
    job: Job,
    cron: str,
    why: str,
    *,
    timezone: str | None = None,
    idle: Callable[[dg.ScheduleEvaluationContext], str | None] | None = lambda _: none_of(),
) -> dg.ScheduleDefinition:
    """A schedule, on by default, that asks for a run unless one has not ended.

    timezone: of the cron line; None: UTC. idle: why a run of a tick would have nothing to do, by default while the
    universe has no instrument; None: it always has.
    """

    @dg.schedule(
        name=f"{job.name}_schedule",
        job=job,
        cron_schedule=cron,
        execution_timezone=timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=why,
    )
    def tick(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        reason = unfinished(context, job.name) or (None if idle is None else idle(context))
        if reason is not None:
            return dg.SkipReason(reason)
        return dg.RunRequest(run_key=context.scheduled_execution_time.isoformat())

    return tick
