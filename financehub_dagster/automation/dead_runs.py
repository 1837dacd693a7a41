"""A code server goes on looking for runs whose process has died, also after the database was away meanwhile.

Belongs here: this hook into Dagster's code server. Does not belong here: runs of code servers that are gone
(failures.lost_runs).
"""

from functools import wraps
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dagster._grpc.server import DagsterApiServer


def keep_looking() -> None:
    """Let an error end one look of this code server, not the thread that looks twice a second.

    Dagster's thread ends with the first error. Each run that dies from then on would count as working and hold its
    place in the queue, and the code server, which waits for its runs, would not end when it is told to.
    """
    from dagster._grpc.server import DagsterApiServer

    look, said = getattr(DagsterApiServer, "_check_for_orphaned_runs", None), ""
    if look is None:  # a release of Dagster's that looks in another way
        return

    @wraps(look)
    def look_and_go_on(server: "DagsterApiServer") -> None:
        nonlocal said
        before, said = said, ""
        try:
            look(server)
        except Exception as error:  # noqa: BLE001 - whatever it is, the next look may succeed
            said = f"runs that died cannot be looked for at the moment: {type(error).__name__}: {error}"
            if said != before:
                server._logger.warning(said)

    DagsterApiServer._check_for_orphaned_runs = look_and_go_on  # type: ignore[assignment, method-assign]
