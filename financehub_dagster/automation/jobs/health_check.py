"""`health_check`: the platform looks at itself every minute.

Belongs here: the sensor, and the job for a look by hand. Does not belong here: what is looked at (operations.watch). A
sensor, because a run every minute would cost a process and 40 rows of events each.
"""

import dagster as dg

from financehub_dagster.automation.queues import queue_tags

EVERY_SECONDS = 60


@dg.op
def look_now(context: dg.OpExecutionContext) -> None:
    """Check every component, record it, and fail when the platform is unhealthy."""
    from financehub_dagster.operations.watch import look

    health = look(always=True).health
    assert health is not None
    context.add_output_metadata({each.component: f"{each.status}: {each.detail}" for each in health.components})
    if health.status == "failed":
        bad = "; ".join(f"{each.component}: {each.detail}" for each in health.components if each.status == "failed")
        raise dg.Failure(f"the platform is unhealthy: {bad}", allow_retries=False)


@dg.job(
    description="Check database, daemon, code location, queue, vendors, disk and clock, and record the result.",
    tags=queue_tags("high"),
)
def health_check() -> None:
    """The sensor of the same name does so every minute."""
    look_now()


@dg.sensor(
    name="health_check_sensor",
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=EVERY_SECONDS,
    description="Records every minute whether database, daemon, code location, vendors, disk and clock are healthy.",
)
def health_check_sensor() -> dg.SkipReason:
    """Launches nothing: what it records is the result."""
    from datetime import UTC, datetime

    from financehub_dagster.operations.sla import follow_freshness
    from financehub_dagster.operations.watch import look

    follow_freshness(datetime.now(UTC))
    return dg.SkipReason(str(look()))
