"""The runs of the demo: which tables are filled, in which order, and which vendors beside the first choice are asked.

Belongs here: the demo's choices. Does not belong here: making a run (cli.runs).

What is asked about now comes first, news last: a free key of Finnhub has 60 requests a minute, of which fundamentals
use 50 and news 50, and the prices in between take longer than a minute at Yahoo's one request per second.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from financehub_dagster.cli.runs import TableRun
from financehub_dagster.ingest.partitions import by_day, partition_at
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.tables import BARS_OF, DATA, INTRADAY, SNAPSHOTS, kinds_of
from financehub_dagster.tables import TABLES as TABLES_DECLARED

HISTORY = tuple(name for name in DATA if name not in SNAPSHOTS and not by_day(name))
"""Filled over months by one run."""
MINUTES = tuple(name for name, table in TABLES_DECLARED.items() if table.bar_minutes)
"""Filled over the last days; the other instruments' minutes come with the ticks of `realtime_pull`."""
WITH_MINUTES = ("AAPL", "DAX", "EURUSD", "BTC", "ETH")
"""One of each kind, and two that trade on weekends: three seconds of Yahoo's one request per second."""
DAYS_OF_MINUTES = timedelta(days=4)
"""A long weekend has a session before it."""
TABLES = (*HISTORY, *MINUTES, *SNAPSHOTS)


@dataclass(frozen=True)
class Asking:
    """One run over the running partition of tables; where a provider is named: about how many of which kind."""

    tables: tuple[str, ...]
    provider: str | None = None
    kind: AssetType | None = None
    most: int | None = None


NOW = (
    Asking(("quotes",), "twelve_data", AssetType.STOCK, 8),  # a free key's credits of one minute
    Asking(("quotes", "crypto_markets")),
    Asking(("crypto_markets",), "coinmarketcap", AssetType.CRYPTO),
    Asking(("fundamentals",)),
    Asking(("fundamentals",), "alpha_vantage", AssetType.STOCK, 5),  # of a free key's 25 requests a day
)
LAST = Asking(("news_articles",))
OF_HOLDINGS = ("position_sizes", "journal")
"""What follows from the sample account, whose lots have the recorded closes of their days."""
AUDIT = ("table_audit",)
"""Its findings stay while later runs, which cover less, find nothing."""


def orders(
    chosen: Sequence[Instrument],
    months: tuple[date, date],
    symbols: Sequence[str] | None,
    fetching: Callable[[], None],
    now: datetime,
) -> Iterator[TableRun]:
    """The runs in order. chosen: the instruments that have bars, most important first; fetching: see TableRun."""
    for asking in NOW:
        yield from _about_now(asking, chosen, symbols, now)
    totals = {name: sum(i.asset_type in kinds for i in chosen) for name, kinds in BARS_OF.items()}
    yield TableRun(HISTORY, months, symbols, totals, fetching)
    yield from _minutes(chosen, now)
    yield from _about_now(LAST, chosen, symbols, now)
    yield TableRun(OF_HOLDINGS, months, None)
    yield TableRun(AUDIT, months, None)


def _minutes(chosen: Sequence[Instrument], now: datetime) -> list[TableRun]:
    """The last days of some instruments, with the longer bars and their indicators; nothing if none is chosen."""
    members = [each.symbol for each in chosen if each.symbol in WITH_MINUTES]
    if not members:
        return []
    span = (now - DAYS_OF_MINUTES).date(), now.date()
    return [TableRun(MINUTES, span, members, dict.fromkeys(INTRADAY, len(members)))]


def _about_now(
    asking: Asking, chosen: Sequence[Instrument], symbols: Sequence[str] | None, now: datetime
) -> list[TableRun]:
    """The run, unless there is nothing to ask about."""
    kinds = {kind for table in asking.tables for kind in kinds_of(table) if asking.kind in (None, kind)}
    members = [each.symbol for each in chosen if each.asset_type in kinds][: asking.most]
    if not members:
        return []
    day = date.fromisoformat(partition_at(asking.tables[0], now))
    totals = dict.fromkeys(asking.tables, len(members))
    if asking.provider is None:
        return [TableRun(asking.tables, (day, day), None if symbols is None else members, totals)]
    return [TableRun(asking.tables, (day, day), members, totals, providers=[asking.provider])]
