"""Runs whose process went down with the machine: they would count as running for ever, and hold places in the queue.

Belongs here: finding them when a platform starts. Does not belong here: runs that crash while it runs, which Dagster's
launcher and run monitoring see themselves.
"""

import json


def fail_lost_runs() -> list[str]:
    """Mark every run as failed whose code server no longer answers; returns their ids.

    A run that was started in a process of its own (`financehub backfill`, `dagster asset materialize`) names no code
    server and is left alone.
    """
    import dagster as dg
    from dagster._core.storage.tags import GRPC_INFO_TAG

    from financehub_dagster.cli import ports

    running = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
    lost = []
    with dg.DagsterInstance.get() as instance:
        for run in instance.get_runs(dg.RunsFilter(statuses=running)):
            server = json.loads(run.tags.get(GRPC_INFO_TAG, "{}"))
            if server.get("host") == ports.HOST and not ports.answers(server["port"]):
                instance.report_run_failed(run, "Its process is gone: the platform was stopped while it ran.")
                lost.append(run.run_id)
    return lost
