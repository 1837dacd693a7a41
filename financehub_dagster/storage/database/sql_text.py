"""Names and types as SQL takes them, for statements that are put together as text.

Belongs here: PostgreSQL's spelling of them. Does not belong here: any statement.
"""

from sqlalchemy.dialects import postgresql

DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]


def quoted(name: str) -> str:
    """A name as an identifier."""
    return DIALECT.identifier_preparer.quote(name)
