"""Runs whose process is gone: they would count as running for ever, and hold places in the queue.

Belongs here: which process makes a run, and failing the runs of processes that ended. Does not belong here: what such
a run leaves behind (recovery).
"""

import json
import logging
from collections.abc import Mapping
from enum import Enum
from typing import Any

import dagster as dg
from dagster._core.storage.tags import GRPC_INFO_TAG, MAX_RETRIES_TAG

from financehub_dagster.automation.run_facts import own_tag

_logger = logging.getLogger("financehub.automation")

PROCESS_TAG = "financehub/process"
LOOPBACK = frozenset({"127.0.0.1", "localhost"})
ASK_SECONDS = 5

UNFINISHED = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def tags_of_this_process() -> dict[str, str]:
    """The tags of a run that this process makes itself: who it is, and that no daemon can start the run again."""
    from financehub_dagster.storage.database.processes import identity

    return {PROCESS_TAG: identity(), MAX_RETRIES_TAG: "0"}


def fail_lost_runs(instance: dg.DagsterInstance) -> list[str]:
    """Mark every run as failed whose process has ended, on this machine; returns their ids.

    A run that a command made names its process. One that the daemon launched names its code server, which is asked.
    Runs that name neither (`dagster asset materialize`) are left alone.
    """
    lost: list[str] = []
    silent: dict[str, bool] = {}
    for run in instance.get_runs(dg.RunsFilter(statuses=UNFINISHED)):
        if not _judged_lost(run, silent):
            continue
        now = instance.get_run_by_id(run.run_id)
        if now is not None and not now.is_finished:
            instance.report_run_failed(now, "Its process is gone: it was killed while it ran.")
            lost.append(run.run_id)
    return lost


def _judged_lost(run: dg.DagsterRun, silent: dict[str, bool]) -> bool:
    """Like `_is_lost`; a run whose tags nobody can read, since a person wrote them, is left alone."""
    try:
        return _is_lost(run, silent)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        _logger.warning(f"run {run.run_id} does not say which process makes it: {type(error).__name__}: {error}")
        return False


def _is_lost(run: dg.DagsterRun, silent: dict[str, bool]) -> bool:
    """`silent` has the code servers that did not answer about an earlier run, and whether they are gone."""
    from financehub_dagster.storage.database.processes import is_gone

    process = own_tag(run, PROCESS_TAG)
    if process is not None:
        return is_gone(process)
    info = run.tags.get(GRPC_INFO_TAG, "{}")
    server = json.loads(info)
    if server.get("host") not in LOOPBACK:
        return False
    if info not in silent:
        knows = _knows(server, run.run_id)
        if isinstance(knows, bool):
            return run.status is dg.DagsterRunStatus.STARTED and not knows
        silent[info] = knows is _Silence.GONE
    return silent[info]


class _Silence(Enum):
    GONE = "no code server is there"
    SLOW = "it gives no answer in time"


def _knows(server: Mapping[str, Any], run_id: str) -> bool | _Silence:
    """Whether the code server there makes the run; if it does not, the run's worker has ended.

    A server that is just being told to start the run, or is ending it, need not know it: Dagster's own monitoring waits
    for these.
    """
    from dagster._core.errors import DagsterUserCodeUnreachableError
    from dagster._grpc.client import DagsterGrpcClient
    from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult
    from dagster._serdes import deserialize_value

    request = CanCancelExecutionRequest(run_id=run_id)
    try:
        answer = DagsterGrpcClient(**server).can_cancel_execution(request, timeout=ASK_SECONDS)
    except DagsterUserCodeUnreachableError as error:
        # The name of gRPC's status for a server that is not there.
        return _Silence.GONE if "UNAVAILABLE" in str(error) else _Silence.SLOW
    return bool(deserialize_value(answer, CanCancelExecutionResult).can_cancel)
