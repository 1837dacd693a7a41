"""Tables that follow their inputs by Dagster's declarative automation.

Belongs here: the condition, and the sensor that evaluates it. Does not belong here: which tables follow (their
declarations), and tables whose ledger knows what they lack (jobs.healing).
"""

import dagster as dg

from financehub_dagster.automation.queues import queue_tags
from financehub_dagster.tables import FOLLOWING

NAME = "follow_inputs"
EVERY_SECONDS = 60

follow_inputs = dg.AutomationConditionSensorDefinition(
    NAME,
    target=dg.AssetSelection.assets(*FOLLOWING),
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=EVERY_SECONDS,
    run_tags=queue_tags("default"),
    description="Computes levels and pivot points again for every month whose bars were filled without them.",
)
"""Several months of one tick become one backfill, and a stretch of months one run."""
