"""`send_notifications`: the end of the chain from bars to indicators, signals and messages.

Belongs here: the job, and the sensor that launches it when signals wait. Does not belong here: sending
(operations.notifications). The sensor looks at rows, not at events: whichever run made the signals, and whether or not
the platform was up, what waits is sent once.
"""

import dagster as dg

from financehub_dagster.automation.queues import queue_tags
from financehub_dagster.automation.run_facts import is_unfinished

JOB = "send_notifications"
EVERY_SECONDS = 60

send_notifications = dg.define_asset_job(
    JOB,
    selection=dg.AssetSelection.assets("position_sizes", "notifications"),
    description="Sizes positions for recent signals and tells people of them, each once; a dry run without an address.",
    tags=queue_tags("high"),
)


@dg.sensor(
    name="send_notifications_sensor",
    job=send_notifications,
    minimum_interval_seconds=EVERY_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Launches `send_notifications` when signals of the last days wait to be announced, one run at a time.",
)
def send_notifications_sensor(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """Signals wait while a run sends."""
    from financehub_dagster.operations.notifications import rules_to_announce
    from financehub_dagster.storage.database.engine import transaction
    from financehub_dagster.storage.operations.notifications import count_waiting

    with transaction() as connection:
        waiting = count_waiting(connection, rules_to_announce())
    if not waiting:
        return dg.SkipReason("No signal waits to be announced.")
    if is_unfinished(context.instance, JOB):
        return dg.SkipReason(f"Signals that wait: {waiting}; a run is sending.")
    return dg.RunRequest()
