"""The backtesting engines that daily bars can be exported for.

Belongs here: their names, and which tables they take. Does not belong here: writing a folder that is never seen
half-written (`serving.export`), what each engine expects (its own module).
"""

from financehub_dagster.serving.backtesting.lean import lean
from financehub_dagster.serving.backtesting.nautilus import nautilus
from financehub_dagster.serving.backtesting.qlib import qlib
from financehub_dagster.serving.backtesting.zipline import zipline
from financehub_dagster.serving.errors import ReadError
from financehub_dagster.tables import BARS_OF, TABLES

ENGINES = {"zipline": zipline, "qlib": qlib, "lean": lean, "nautilus": nautilus}


def require_daily_bars(table: str) -> None:
    """Raise ReadError for a table that no engine takes."""
    if table not in BARS_OF or TABLES[table].grain != "session":
        daily = ", ".join(name for name in BARS_OF if TABLES[name].grain == "session")
        raise ReadError(f"backtesting engines get daily bars: export {daily}")
