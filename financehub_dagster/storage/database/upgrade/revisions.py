"""Which steps this process knows, and what a database at another one means for it.

Belongs here: comparing revisions. Does not belong here: running steps, or asking a database where it is. Light: every
command and every check of health comes through here, and Alembic takes a quarter of a second to import.
"""

from pathlib import Path

from financehub_dagster.storage.database.errors import DatabaseError

STEPS = frozenset(
    file.name.partition("_")[0] for file in (Path(__file__).parent.parent / "migrations/versions").glob("[0-9]*_*.py")
)
"""Every step by the number of its file, as this process was started: an upgrade of the program may add files later."""
HEAD = max(STEPS)
"""The newest of them."""


def unknown(revision: str) -> DatabaseError:
    """The error for a revision that this process does not know: a later version's, or another program's."""
    if revision.isdigit() and len(revision) == len(HEAD):
        remedy = "it was migrated by a newer version: upgrade the program"
    else:
        remedy = "another program keeps its tables there: give this one a database of its own"
    return DatabaseError(f"the database is at revision {revision}, which this program does not know: {remedy}")


def mismatch(revision: str | None) -> str | None:
    """Why this process cannot work with a database at `revision` (None: without tables), or None."""
    if revision == HEAD:
        return None
    if revision is None:
        return "the database is not set up yet: run `financehub db upgrade`"
    if revision not in STEPS:
        return f"{unknown(revision)}, and start it again"
    return f"the database is at revision {revision}, this program needs {HEAD}: run `financehub db upgrade`"
