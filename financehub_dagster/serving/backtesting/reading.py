"""The daily bars of each instrument, as backtesting engines take them: as traded with actions, or adjusted.

Belongs here: reading and the names of files, which the engines share. Does not belong here: what each expects where
(its own module), adjusting (`adjusting`).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import batched
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from financehub_dagster.market.adjustments import CASH
from financehub_dagster.market.price_bases import PRICES
from financehub_dagster.serving.errors import ReadError
from financehub_dagster.serving.questions import TableQuery, ask
from financehub_dagster.serving.read import rows_within
from financehub_dagster.storage.queries import arrow
from financehub_dagster.tables import ACTIONS

if TYPE_CHECKING:
    import pandas as pd

SYMBOLS_AT_ONCE = 100


@dataclass(frozen=True)
class Bars:
    """The bars of one instrument in order; columns: what an engine takes of each day."""

    symbol: str
    days: NDArray[np.datetime64]
    columns: Mapping[str, NDArray[np.float64]]


type Report = Callable[[int, int], None]


def read_bars(question: TableQuery, symbols: Sequence[str], report: Report, *, actions: bool) -> Iterator[Bars]:
    """The bars of each of `symbols` that has some: with actions as traded, without them fully adjusted."""
    with arrow.reading() as reader:
        for done, group in enumerate(batched(symbols, SYMBOLS_AT_ONCE), 1):
            own = replace(question, selection=replace(question.selection, symbols=list(group)))
            traded = _rows(reader, own, question.table, "raw")
            extra = _rows(reader, own, ACTIONS, "raw") if actions else _rows(reader, own, question.table, "adjusted")
            others = dict(iter(extra.groupby("symbol")))
            for symbol, rows in traded.groupby("symbol"):
                columns = _with_actions(rows, others.get(symbol)) if actions else _with_factor(rows, others[symbol])
                yield Bars(str(symbol), rows["date"].to_numpy("M8[D]"), columns)
            report(min(done * SYMBOLS_AT_ONCE, len(symbols)), len(symbols))


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
    """Fully adjusted, with the factor that leads back to what was traded; unknown where it is not above zero.

    Vendors' adjusted closes fall to zero and below before payments of more than the price.
    """
    ratio = adjusted["close"].to_numpy(np.float64) / traded["close"].to_numpy(np.float64)
    factor = np.where(ratio > 0, ratio, np.nan)
    prices = {name: np.where(ratio > 0, adjusted[name].to_numpy(np.float64), np.nan) for name in PRICES}
    return {**prices, "volume": traded["volume"].to_numpy(np.float64) / factor, "factor": factor}


def file_names(symbols: Sequence[str]) -> dict[str, str]:
    """A name for each symbol that is a file's name, and has no dot: zipline takes what is behind it for an ending."""
    names = {symbol: symbol.replace(".", "-").replace("/", "-") for symbol in symbols}
    require_different(names)
    return names


def require_different(names: Mapping[str, str]) -> None:
    """Raise ReadError if two symbols have the same name of a file."""
    of_name: dict[str, str] = {}
    for symbol, name in names.items():
        other = of_name.setdefault(name, symbol)
        if other != symbol:
            raise ReadError(f"{other} and {symbol} would be one file: export one of them with --symbols")
