"""The three classes of runs in Dagster's queue, and the tags that make one of a job's runs.

Belongs here: what a class means to the queue. Does not belong here: which job has which (its own file, or the table's
declaration), holding runs back (Dagster's queue, by `dagster.yaml`).
"""

from collections.abc import Mapping

from dagster._core.storage.tags import PRIORITY_TAG

from financehub_dagster.tables.declaration import Queue

QUEUE_TAG = "financehub/queue"
"""The class of a run; `dagster.yaml` limits how many low runs there are at a time."""

PRIORITIES: Mapping[Queue, int] = {"high": 1, "default": 0, "low": -1}
"""Of two queued runs the one of higher priority starts first, whenever each was queued.

high: prices of now, and what a person waits for. default: the schedules that fill tables. low: history, healing,
replays and upkeep, which may take hours.
"""


def queue_tags(queue: Queue) -> dict[str, str]:
    """The tags of a run of this class."""
    return {QUEUE_TAG: queue, PRIORITY_TAG: str(PRIORITIES[queue])}
