"""What the tables of longer bars have in common: they are made of the minutes, in the same transaction.

Belongs here: what makes such a declaration. Does not belong here: a table, and cutting bars
(`market.intraday.resampling`).
"""

from datetime import timedelta

from financehub_dagster.tables import defaults
from financehub_dagster.tables.columns import INTRADAY_BARS
from financehub_dagster.tables.declaration import FilledWith, Table


def longer_bars(minutes: int, length: str) -> Table:
    """The declaration of bars of so many `minutes`; length says it in words."""
    suffix = f"{minutes}m" if minutes < 60 else f"{minutes // 60}h"
    return Table(
        name=f"ohlc_{suffix}",
        comment=f"OHLCV bars of {length}, made of minutes.",
        columns=INTRADAY_BARS,
        grain="bar",
        bar_minutes=minutes,
        filled=FilledWith("ohlc_1m"),
        group="intraday",
        source=("numpy",),
        details="One row per instrument and bar in which it traded, under the bar's opening instant in UTC, cut from"
        " the opening of each trading interval (see docs/intraday.md). Written in the transaction of its minutes, once"
        " all of them are complete, and again when one of them changes. `source` is the vendor that completed"
        " the bar, or that sent the bar itself where it keeps no minutes that old.",
        partitions="day",
        rules="bar",
        checks=defaults.LONGER_BAR_CHECKS,
        keep_revisions=True,
        time_index="btree",
        range_partitioned=True,
        # A bar's row is named by its opening, and the next one is due two lengths later.
        lateness=defaults.late_after(timedelta(minutes=40 + 2 * minutes)),
    )
