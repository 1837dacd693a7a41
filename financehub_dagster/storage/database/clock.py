"""The database's clock, which all processes and machines of a deployment share.

Belongs here: reading it. Does not belong here: anything that is decided by it.
"""

from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlalchemy as sa


def database_now(engine: "sa.Engine") -> datetime:
    """The database's time, aware."""
    import sqlalchemy as sa

    with engine.connect() as connection:
        now: datetime = connection.execute(sa.text("SELECT clock_timestamp()")).scalar_one()
    return now
