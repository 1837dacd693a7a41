"""What an earlier platform left in Dagster's storage, settled in a process of its own.

Belongs here: runs that were cut off, and the address of the code that schedules and sensors were seen at. Does not
belong here: what the daemon goes on settling (automation.sensors). A process of its own, since Dagster, which the
supervisor needs for nothing else, would stay in its memory: 60 MB.
"""

import subprocess
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from financehub_dagster.cli.console import Console
from financehub_dagster.cli.errors import CommandError
from financehub_dagster.cli.supervisor import services

if TYPE_CHECKING:
    from dagster import DagsterInstance


def settle(console: Console, code_port: int) -> None:
    """Settle it, and name the runs that were cut off; raises CommandError."""
    command = [sys.executable, "-m", __name__, str(code_port)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, start_new_session=True)
    if done.returncode:
        *_, reason = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        if console.debug:
            console.note(done.stderr)
        raise CommandError(f"what an earlier platform left cannot be settled: {reason}")
    for run_id in done.stdout.split():
        console.warn(f"run {run_id[:8]} was cut off when the platform stopped, and counts as failed")


def main() -> None:
    """Do it, and print the runs that were cut off."""
    import dagster as dg

    from financehub_dagster.automation.failures.recovery import recover
    from financehub_dagster.storage.database.errors import DatabaseError

    try:
        with dg.DagsterInstance.get() as instance:
            move_instigators(instance, int(sys.argv[1]))
            for run_id in recover(instance, datetime.now(UTC)).lost_runs:
                print(run_id)
    except DatabaseError as error:
        sys.exit(str(error))


def move_instigators(instance: "DagsterInstance", code_port: int) -> None:
    """Record that the code of all schedules and sensors is at `code_port` now.

    Dagster keeps the address they were first seen at, and its pages look for their ticks under the present one: after
    the second start they would show no tick any more.
    """
    from dagster._core.remote_origin import GrpcServerCodeLocationOrigin
    from dagster._record import replace

    for state in instance.all_instigator_state():
        repository = state.origin.repository_origin
        code = repository.code_location_origin
        if (
            not isinstance(code, GrpcServerCodeLocationOrigin)
            or code.location_name != services.CODE_LOCATION
            or code.port == code_port
        ):
            continue
        moved = replace(repository, code_location_origin=replace(code, port=code_port))
        instance.update_instigator_state(state._replace(origin=replace(state.origin, repository_origin=moved)))


if __name__ == "__main__":
    main()
