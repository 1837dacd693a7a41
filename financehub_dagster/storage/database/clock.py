"""The database's clock, which all processes and machines of a deployment share.

Belongs here: reading it. Does not belong here: anything that is decided by it.
"""

from datetime import datetime

import sqlalchemy as sa


def database_time(connection: sa.Connection) -> datetime:
    """What the database's clock shows now (aware)."""
    found: datetime = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
    return found


def database_now(engine: sa.Engine) -> datetime:
    """The database's time, aware."""
    with engine.connect() as connection:
        return database_time(connection)
