"""Questions about times that lie before the oldest revision that is kept: refused, since their answer is lost.

Belongs here: which tables a question is about, and the refusal. Does not belong here: how long revisions are kept
(`operations.retention`); SQL refuses by itself (`storage.database.as_of_functions`).
"""

from datetime import UTC

from financehub_dagster.serving.errors import ReadError
from financehub_dagster.serving.questions import TableQuery
from financehub_dagster.storage.queries import arrow
from financehub_dagster.tables import ACTIONS


def require_kept(reader: arrow.Reader, question: TableQuery) -> None:
    """Raise ReadError for a question as of a time that cannot be told any more."""
    at = question.selection.as_of
    if at is None:
        return
    needs_actions = question.selection.repaired or question.basis == "raw"
    tables = [question.table, ACTIONS] if needs_actions else [question.table]
    for name, since in reader.revisions_kept(tables).items():
        if at < since:
            told = f"{since.astimezone(UTC):%Y-%m-%dT%H:%M:%S}Z"
            raise ReadError(
                f"{name} is known as of {told} and later: older revisions were deleted "
                "(FINANCEHUB_KEEP_REVISIONS_DAYS); choose a later as_of"
            )
