"""Daily bars as a CSV bundle of zipline (`csvdir`, zipline-reloaded 3.2).

Belongs here: `daily/SYMBOL.csv` with prices as traded, the dividend as paid and the ratio of a split on their ex-dates;
zipline adjusts by itself. A session without a bar is a line without prices. Does not belong here: reading
(`reading`).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from financehub_dagster.market import calendars
from financehub_dagster.market.exchanges import exchanges
from financehub_dagster.market.instruments import Instrument
from financehub_dagster.serving.backtesting.reading import Report, file_names, read_bars
from financehub_dagster.serving.errors import ReadError
from financehub_dagster.serving.questions import TableQuery


def zipline(question: TableQuery, members: Sequence[Instrument], folder: Path, report: Report) -> dict[str, int]:
    """Write a bundle; returns the rows of each file. Raises ReadError for members of several calendars."""
    import pandas as pd

    _require_one_calendar(members)
    names = file_names([each.symbol for each in members])
    target = folder / "daily"
    target.mkdir()
    written, by_symbol = {}, {each.symbol: each for each in members}
    for bars in read_bars(question, list(by_symbol), report, actions=True):
        sessions = calendars.known(by_symbol[bars.symbol], bars.days[0].item(), bars.days[-1].item()).dates
        days = np.union1d(sessions, bars.days)
        rows = pd.DataFrame(dict(bars.columns), index=pd.Index(bars.days, name="date")).reindex(
            pd.Index(days, name="date")
        )
        rows = rows.fillna({"volume": 0, "dividend": 0, "split": 1})
        name = f"daily/{names[bars.symbol]}.csv"
        rows.to_csv(folder / name, date_format="%Y-%m-%d")
        written[name] = len(rows)
    return written


def _require_one_calendar(members: Sequence[Instrument]) -> None:
    found = sorted({exchanges()[each.exchange].calendar for each in members})
    if len(found) > 1:
        calendar = ", ".join(found)
        raise ReadError(
            f"zipline keeps one calendar for a bundle, and these have {calendar}: choose with --exchange or --symbols"
        )
