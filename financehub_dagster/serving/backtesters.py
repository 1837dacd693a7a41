"""Daily bars as the data of backtesting engines: a CSV bundle of zipline, a data set of qlib.

Belongs here: what each engine expects where, on which basis of prices. Does not belong here: writing a folder that is
never seen half-written (`export`), reading and adjusting (`adjusting`).

zipline (`csvdir` bundles, zipline-reloaded 3.2): `daily/SYMBOL.csv` with prices as traded, the dividend as paid and the
ratio of a split on their ex-dates; zipline adjusts by itself. A session without a bar is a line without prices.
qlib 0.9: `calendars/day.txt`, `instruments/all.txt`, `features/symbol/field.day.bin`, float32 behind the place of the
first day; prices adjusted for splits and dividends, factor = adjusted / traded, volume = traded / factor.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import batched
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from financehub_dagster.market import calendars
from financehub_dagster.market.adjustments import CASH
from financehub_dagster.market.exchanges import exchanges
from financehub_dagster.market.instruments import Instrument
from financehub_dagster.market.price_bases import PRICES
from financehub_dagster.serving.errors import ReadError
from financehub_dagster.serving.questions import TableQuery, ask
from financehub_dagster.serving.read import rows_within
from financehub_dagster.storage.queries import arrow
from financehub_dagster.tables import ACTIONS, BARS_OF, TABLES

if TYPE_CHECKING:
    import pandas as pd

SYMBOLS_AT_ONCE = 100


@dataclass(frozen=True)
class _Bars:
    """The bars of one instrument in order; columns: what an engine takes of each day."""

    symbol: str
    days: NDArray[np.datetime64]
    columns: Mapping[str, NDArray[np.float64]]


type Report = Callable[[int, int], None]


def zipline(question: TableQuery, members: Sequence[Instrument], folder: Path, report: Report) -> dict[str, int]:
    """Write a bundle; returns the rows of each file. Raises ReadError for members of several calendars."""
    import pandas as pd

    _require_one_calendar(members)
    names = _file_names([each.symbol for each in members])
    target = folder / "daily"
    target.mkdir()
    written, by_symbol = {}, {each.symbol: each for each in members}
    for bars in _read(question, list(by_symbol), report, actions=True):
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


def qlib(question: TableQuery, members: Sequence[Instrument], folder: Path, report: Report) -> dict[str, int]:
    """Write a data set; returns the days of each instrument by its folder."""
    symbols = [each.symbol for each in members]
    names, calendar = _file_names(symbols), _calendar(question, symbols)
    (folder / "calendars").mkdir()
    (folder / "instruments").mkdir()
    (folder / "calendars/day.txt").write_text("".join(f"{day}\n" for day in calendar))
    lines, written = [], {}
    for bars in _read(question, symbols, report, actions=False):
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


ENGINES = {"zipline": zipline, "qlib": qlib}


def require_daily_bars(table: str) -> None:
    """Raise ReadError for a table that no engine takes."""
    if table not in BARS_OF or TABLES[table].grain != "session":
        daily = ", ".join(name for name in BARS_OF if TABLES[name].grain == "session")
        raise ReadError(f"backtesting engines get daily bars: export {daily}")


def _read(question: TableQuery, symbols: Sequence[str], report: Report, *, actions: bool) -> Iterator[_Bars]:
    """The bars of each of `symbols` that has some: with actions as traded, without them fully adjusted."""
    with arrow.reading() as reader:
        for done, group in enumerate(batched(symbols, SYMBOLS_AT_ONCE), 1):
            own = replace(question, selection=replace(question.selection, symbols=list(group)))
            traded = _rows(reader, own, question.table, "raw")
            extra = _rows(reader, own, ACTIONS, "raw") if actions else _rows(reader, own, question.table, "adjusted")
            others = dict(iter(extra.groupby("symbol")))
            for symbol, rows in traded.groupby("symbol"):
                columns = _with_actions(rows, others.get(symbol)) if actions else _with_factor(rows, others[symbol])
                yield _Bars(str(symbol), rows["date"].to_numpy("M8[D]"), columns)
            report(min(done * SYMBOLS_AT_ONCE, len(symbols)), len(symbols))


def _calendar(question: TableQuery, symbols: Sequence[str]) -> NDArray[np.datetime64]:
    """The days on which any of `symbols` has a bar."""
    found = np.array([], "M8[D]")
    with arrow.reading() as reader:
        for group in batched(symbols, SYMBOLS_AT_ONCE):
            keys = replace(question.selection, symbols=list(group), columns=("symbol", "date"), repaired=False)
            found = np.union1d(found, reader.table(keys)["date"].to_numpy().astype("M8[D]"))
    return found


def _rows(reader: arrow.Reader, question: TableQuery, table: str, basis: str) -> "pd.DataFrame":
    """Rows of `table` for the instruments and times of a question, on a basis."""
    asked = question.selection
    columns = None if table == ACTIONS else [*PRICES, "adj_close", "volume"]
    chosen = ask(
        table,
        symbols=list(asked.symbols or ()),
        start=asked.start,
        end=asked.end,
        columns=columns,
        as_of=asked.as_of,
        adjust=basis,
        repaired=asked.repaired and table != ACTIONS,
    )
    found: pd.DataFrame = rows_within(reader, chosen).to_pandas(date_as_object=False)
    return found


def _with_actions(rows: "pd.DataFrame", actions: "pd.DataFrame | None") -> dict[str, NDArray[np.float64]]:
    """As traded, with what was paid on each day, and how many new shares there were for an old one."""
    columns = {name: rows[name].to_numpy(np.float64) for name in (*PRICES, "volume")}
    paid, split = np.zeros(len(rows)), np.ones(len(rows))
    if actions is not None:
        days = rows["date"].to_numpy("M8[D]")
        at = np.searchsorted(days, actions["date"].to_numpy("M8[D]"))
        there = at < len(days)
        cash, values = np.isin(actions["kind"].to_numpy(), CASH), actions["value"].to_numpy(np.float64)
        np.add.at(paid, at[there & cash], values[there & cash])
        np.multiply.at(split, at[there & ~cash], values[there & ~cash])
    return {**columns, "dividend": paid, "split": split}


def _with_factor(traded: "pd.DataFrame", adjusted: "pd.DataFrame") -> dict[str, NDArray[np.float64]]:
    """Fully adjusted, with the factor that leads back to what was traded."""
    factor = adjusted["close"].to_numpy(np.float64) / traded["close"].to_numpy(np.float64)
    prices = {name: adjusted[name].to_numpy(np.float64) for name in PRICES}
    return {**prices, "volume": traded["volume"].to_numpy(np.float64) / factor, "factor": factor}


def _require_one_calendar(members: Sequence[Instrument]) -> None:
    found = sorted({exchanges()[each.exchange].calendar for each in members})
    if len(found) > 1:
        raise ReadError(f"zipline keeps one calendar for a bundle, and these have {', '.join(found)}: choose --symbols")


def _file_names(symbols: Sequence[str]) -> dict[str, str]:
    """A name for each symbol that is a file's name, and has no dot: zipline takes what is behind it for an ending."""
    names = {symbol: symbol.replace(".", "-").replace("/", "-") for symbol in symbols}
    of_name: dict[str, str] = {}
    for symbol, name in names.items():
        other = of_name.setdefault(name, symbol)
        if other != symbol:
            raise ReadError(f"{other} and {symbol} would be one file: export one of them with --symbols")
    return names
