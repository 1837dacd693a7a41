"""Runs whose process is gone: they would count as running for ever, and hold places in the queue.

Belongs here: which process makes a run, and failing the runs of processes that ended. Does not belong here: what such
a run leaves behind (recovery).
"""

import json
import logging
from collections.abc import Mapping
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
    from financehub_dagster.storage.processes import identity

    return {PROCESS_TAG: identity(), MAX_RETRIES_TAG: "0"}


def fail_lost_runs(instance: dg.DagsterInstance) -> list[str]:
    """Mark every run as failed whose process has ended, on this machine; returns their ids.

    A run that a command made names its process. One that the daemon launched names its code server, which is asked.
    Runs that name neither (`dagster asset materialize`) are left alone.
    """
    lost = []
    for run in instance.get_runs(dg.RunsFilter(statuses=UNFINISHED)):
        if not _judged_lost(run):
            continue
        now = instance.get_run_by_id(run.run_id)
        if now is not None and not now.is_finished:
            instance.report_run_failed(now, "Its process is gone: it was killed while it ran.")
            lost.append(run.run_id)
    return lost


def _judged_lost(run: dg.DagsterRun) -> bool:
    """Like `_is_lost`; a run whose tags nobody can read, since a person wrote them, is left alone."""
    try:
        return _is_lost(run)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        _logger.warning(f"run {run.run_id} does not say which process makes it: {type(error).__name__}: {error}")
        return False


def _is_lost(run: dg.DagsterRun) -> bool:
    from financehub_dagster.storage.processes import is_gone

    process = own_tag(run, PROCESS_TAG)
    if process is not None:
        return is_gone(process)
    server = json.loads(run.tags.get(GRPC_INFO_TAG, "{}"))
    return server.get("host") in LOOPBACK and _server_lost(server, run)


def _server_lost(server: Mapping[str, Any], run: dg.DagsterRun) -> bool:
    """Whether no code server answers there, or one that does not know of the run: then its worker ended with it.

    A server that is just being told to start the run, or is ending it, need not know it: Dagster's own monitoring waits
    for these. One that is slow to answer is given more time.
    """
    from dagster._core.errors import DagsterUserCodeUnreachableError
    from dagster._grpc.client import DagsterGrpcClient
    from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult
    from dagster._serdes import deserialize_value

    request = CanCancelExecutionRequest(run_id=run.run_id)
    try:
        answer = DagsterGrpcClient(**server).can_cancel_execution(request, timeout=ASK_SECONDS)
    except DagsterUserCodeUnreachableError as error:
        return "UNAVAILABLE" in str(error)  # the name of gRPC's status for a server that is not there
    knows = deserialize_value(answer, CanCancelExecutionResult).can_cancel
    return run.status is dg.DagsterRunStatus.STARTED and not knows
