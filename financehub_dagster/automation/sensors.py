"""What watches by itself: failed runs, what killed processes left, dead letters whose retry is due, and budgets.

Belongs here: when to look. Does not belong here: what is done then (dead_letters, recovery, replay, api_usage).
"""

from datetime import UTC, datetime

import dagster as dg

from financehub_dagster.assets.api_usage import observe_api_usage_sensor
from financehub_dagster.automation.failures import replay
from financehub_dagster.automation.run_facts import is_unfinished

FAILED_SECONDS = 30
RECOVER_SECONDS = 30
REPLAY_SECONDS = 30
_RUNNING = dg.DefaultSensorStatus.RUNNING


@dg.sensor(
    name="dead_letter_failed_runs",
    default_status=_RUNNING,
    minimum_interval_seconds=FAILED_SECONDS,
    description="Writes the work that failed runs left undone to the dead letters, where their hooks could not.",
)
def dead_letter_failed_runs(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """A killed process fires no hook; what a hook has written stays as it is.

    Not one of Dagster's sensors of failed runs, which look at five of them a tick: a thousand took 100 minutes.
    """
    from financehub_dagster.automation.failures.failed_runs import catch_up

    found = catch_up(context.instance, context.cursor, datetime.now(UTC))
    if found.cursor is not None:
        context.update_cursor(found.cursor)
    return dg.SkipReason(f"Failed runs: {found.runs}; steps left undone: {found.steps}.")


@dg.sensor(
    name="recovery",
    default_status=_RUNNING,
    minimum_interval_seconds=RECOVER_SECONDS,
    description="Puts right what killed processes left: runs that never end, rows without an event, claims.",
)
def recovery(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Launches nothing: what it writes is the result."""
    from financehub_dagster.automation.failures.recovery import recover

    found = recover(context.instance, datetime.now(UTC), failed_runs=False)
    if found:
        context.log.info(str(found))
    return dg.SkipReason(str(found) if found else "Nothing was left behind.")


@dg.sensor(
    name="replay_dead_letters_sensor",
    job=replay.replay_dead_letters,
    default_status=_RUNNING,
    minimum_interval_seconds=REPLAY_SECONDS,
    description="Tries dead letters again when their retry is due, one replay at a time.",
)
def replay_dead_letters_sensor(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """Due rows wait while a replay runs."""
    from financehub_dagster.storage.database.engine import transaction
    from financehub_dagster.storage.dead_letters.replays import count_due

    with transaction() as connection:
        due = count_due(connection)
    if not due:
        return dg.SkipReason("No dead letter is due.")
    if is_unfinished(context.instance, replay.JOB):
        return dg.SkipReason(f"Dead letters due: {due}; a replay is running.")
    return dg.RunRequest()


SENSORS = [dead_letter_failed_runs, recovery, replay_dead_letters_sensor, observe_api_usage_sensor]
