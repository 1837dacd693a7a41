"""Our code location with an empty asset beside it; nothing in it runs by itself.

Belongs here: what `bench_ticks` has to launch. Does not belong here: measuring.
"""

from collections.abc import Iterator

import dagster as dg

from financehub_dagster.definitions import build_definitions

EMPTY = "fill_nothing"


@dg.asset
def empty() -> None:
    """Nothing."""


empty_job = dg.define_asset_job(EMPTY, selection=[empty])


@dg.schedule(job=empty_job, cron_schedule="0 0 1 1 *", name=f"{EMPTY}_schedule")
def empty_schedule() -> dg.RunRequest:
    """A tick that asks for a run at once."""
    return dg.RunRequest()


def stopped(schedule: dg.ScheduleDefinition) -> dg.ScheduleDefinition:
    """The same ticks, on request only."""

    def tick(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        found = schedule.evaluate_tick(context)
        yield from found.run_requests or ()
        if not found.run_requests:
            yield dg.SkipReason(found.skip_message)

    return dg.ScheduleDefinition(
        name=schedule.name,
        job=schedule.job,
        cron_schedule=schedule.cron_schedule,
        execution_timezone=schedule.execution_timezone,
        execution_fn=tick,
        required_resource_keys=schedule.required_resource_keys,
    )


def build() -> dg.Definitions:
    """The product's definitions without what runs by itself, and the empty asset."""
    ours = build_definitions()
    ticks = [stopped(each) for each in ours.schedules or () if isinstance(each, dg.ScheduleDefinition)]
    return dg.Definitions(
        assets=[*(ours.assets or ()), empty],
        asset_checks=ours.asset_checks,
        jobs=[*(ours.jobs or ()), empty_job],
        schedules=[empty_schedule, *ticks],
        resources=ours.resources,
        executor=ours.executor,
    )


defs = build()
