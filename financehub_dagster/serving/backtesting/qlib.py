"""Daily bars as a data set of qlib (0.9).

Belongs here: `calendars/day.txt`, `instruments/all.txt` and `features/symbol/field.day.bin`, float32 behind the place
of the first day; prices adjusted for splits and dividends, factor = adjusted / traded, volume = traded / factor. Does
not belong here: reading (`reading`).
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import batched
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from financehub_dagster.market.instruments import Instrument
from financehub_dagster.serving.backtesting.reading import SYMBOLS_AT_ONCE, Report, file_names, read_bars
from financehub_dagster.serving.questions import TableQuery
from financehub_dagster.storage.queries import arrow


def qlib(question: TableQuery, members: Sequence[Instrument], folder: Path, report: Report) -> dict[str, int]:
    """Write a data set; returns the days of each instrument by its folder."""
    symbols = [each.symbol for each in members]
    names, calendar = file_names(symbols), _calendar(question, symbols)
    (folder / "calendars").mkdir()
    (folder / "instruments").mkdir()
    (folder / "calendars/day.txt").write_text("".join(f"{day}\n" for day in calendar))
    lines, written = [], {}
    for bars in read_bars(question, symbols, report, actions=False):
        name = names[bars.symbol]
        lines.append(f"{name}\t{bars.days[0]}\t{bars.days[-1]}\n")
        own = folder / "features" / name.lower()
        own.mkdir(parents=True)
        places = np.searchsorted(calendar, bars.days)
        for field, values in bars.columns.items():
            line = np.full(places[-1] - places[0] + 2, np.nan, "<f4")
            line[0] = places[0]
            line[1 + places - places[0]] = values
            line.tofile(own / f"{field}.day.bin")
        written[f"features/{own.name}"] = len(bars.days)
    (folder / "instruments/all.txt").write_text("".join(lines))
    return written


def _calendar(question: TableQuery, symbols: Sequence[str]) -> NDArray[np.datetime64]:
    """The days on which any of `symbols` has a bar."""
    found = np.array([], "M8[D]")
    with arrow.reading() as reader:
        for group in batched(symbols, SYMBOLS_AT_ONCE):
            keys = replace(question.selection, symbols=list(group), columns=("symbol", "date"), repaired=False)
            found = np.union1d(found, reader.table(keys)["date"].to_numpy().astype("M8[D]"))
    return found
