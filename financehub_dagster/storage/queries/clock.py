"""The database's clock.

Belongs here: reading it. Does not belong here: comparing it with others.
"""

from datetime import datetime

import sqlalchemy as sa

from financehub_dagster.storage.database.engine import Connection


def database_time(connection: Connection) -> datetime:
    """What the database's clock shows now (aware)."""
    found: datetime = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
    return found
