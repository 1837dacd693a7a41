"""Whose rows count for more where several vendors can fill a table.

Belongs here: what an earlier vendor's rows protect, and when a later one's are asked for again. Does not belong here:
the order itself (providers.routing, from configuration) and who is asked.

A fallback vendor fills what is missing and replaces its own rows and those of later vendors. When the first
choice answers again, it replaces them all: what lies outside the run's window is asked for along with it.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from financehub_dagster.ingest.history import restating
from financehub_dagster.ingest.partitions import Window
from financehub_dagster.market.instruments import Instrument
from financehub_dagster.providers.routing import DailyBarsRouter
from financehub_dagster.storage.database import locks, schema
from financehub_dagster.storage.database.engine import Connection
from financehub_dagster.storage.queries import sources

if TYPE_CHECKING:
    import pandas as pd


def spans_to_ask(
    connection: Connection, table: str, router: DailyBarsRouter, window: Window, instruments: Sequence[Instrument]
) -> dict[str, restating.Span]:
    """What to ask for, by symbol: the window, extended to rows of fallback vendors and to a stored neighbour."""
    choices = {each.symbol: router.first_choice(each) for each in instruments}
    others = sources.spans_of_others(
        connection, table, {symbol: choice for symbol, choice in choices.items() if choice is not None}
    )
    spans = {}
    for symbol in choices:
        first, last = others.get(symbol, (window.start, window.end))
        spans[symbol] = (min(first, window.start), max(last, window.end))
    for each in instruments:
        if each.delisted_on is not None:  # the same letters may be another company's by then
            start, end = spans[each.symbol]
            spans[each.symbol] = (start, max(start, min(end, each.delisted_on)))
    return restating.widened(connection, table, spans)


def without_outranked(
    connection: Connection, table: str, frame: "pd.DataFrame", earlier: Mapping[str, Sequence[str]]
) -> "pd.DataFrame":
    """`frame` without the rows that are stored from one of the vendors that `earlier` names for their symbol.

    Other writers of the table wait until the transaction ends, so that what is decided here still holds.
    """
    import pandas as pd

    ranked = frame["symbol"].isin([symbol for symbol, names in earlier.items() if names])
    if not ranked.any():
        return frame
    declared = schema.table(table)
    locks.lock_table(connection, declared)
    days = frame.loc[ranked, "date"]
    protected = sources.keys_from(connection, table, earlier, days.min().date(), days.max().date())
    if not protected:
        return frame
    key = [column.name for column in declared.primary_key.columns]
    stored = pd.DataFrame(protected, columns=key)
    stored["date"] = stored["date"].astype(frame["date"].dtype)
    found = frame[key].merge(stored, on=key, how="left", indicator="in")["in"]
    return frame[(found == "left_only").to_numpy()].reset_index(drop=True)
