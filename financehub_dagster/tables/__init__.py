"""The tables of the platform, one file each, and the register of them that everything else reads.

Belongs here: which tables there are, in the order in which writers lock them: each after those it is computed from.
Does not belong here: SQL, Dagster, and tables for the platform's own book-keeping that no asset shows
(`storage.database.schema`).

FINANCEHUB_TABLES names modules with further declarations: each has a `TABLE`, as the files here do.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING

from financehub_dagster.market.instruments import AssetType
from financehub_dagster.settings import SettingsError, table_modules
from financehub_dagster.tables import (
    api_usage,
    corporate_actions,
    coverage,
    crypto_markets,
    fundamentals,
    holdings,
    instruments,
    news_articles,
    notifications,
    position_sizes,
    quotes,
    signals,
)
from financehub_dagster.tables.daily import (
    crypto_prices_daily,
    fx_prices_daily,
    indicators_daily,
    levels_daily,
    pivot_points,
    stock_prices_daily,
)
from financehub_dagster.tables.declaration import Derived, FilledWith, History, Intraday, Snapshots, Table
from financehub_dagster.tables.intraday import indicators_1h, ohlc_1h, ohlc_1m, ohlc_5m, ohlc_15m

if TYPE_CHECKING:
    from financehub_dagster.market.derived import Period

_DATA = (
    instruments.TABLE,
    stock_prices_daily.TABLE,
    crypto_prices_daily.TABLE,
    fx_prices_daily.TABLE,
    corporate_actions.TABLE,
    indicators_daily.TABLE,
    levels_daily.TABLE,
    pivot_points.TABLE,
    ohlc_1m.TABLE,
    ohlc_5m.TABLE,
    ohlc_15m.TABLE,
    ohlc_1h.TABLE,
    indicators_1h.TABLE,
    signals.TABLE,
    quotes.TABLE,
    crypto_markets.TABLE,
    fundamentals.TABLE,
    news_articles.TABLE,
)


def _declared(name: str) -> Table:
    """The `TABLE` of a module that FINANCEHUB_TABLES names; raises SettingsError for one that cannot be used."""
    try:
        table = import_module(name).TABLE
    except ImportError as error:
        raise SettingsError(f"FINANCEHUB_TABLES: module {name} cannot be imported: {error}") from None
    except AttributeError:
        raise SettingsError(f"FINANCEHUB_TABLES: module {name} has no TABLE; docs/tables.md shows one") from None
    if not isinstance(table, Table):
        raise SettingsError(f"FINANCEHUB_TABLES: TABLE of {name} is not a tables.declaration.Table")
    return table


EXTRA = tuple(_declared(name) for name in table_modules())
"""The tables that are declared beside the product."""

DATA: dict[str, Table] = {table.name: table for table in (*_DATA, *EXTRA)}
"""The tables of market data, by name."""
_KEPT = (holdings.TABLE, position_sizes.TABLE, notifications.TABLE, api_usage.TABLE, coverage.TABLE)
TABLES: dict[str, Table] = {**DATA, **{table.name: table for table in _KEPT}}
"""All tables that are assets, by name."""

BARS_OF = {name: table.instruments for name, table in TABLES.items() if isinstance(table.filled, History)}
"""Which kinds of instruments each table of bars takes."""
INTRADAY = tuple(name for name, table in TABLES.items() if isinstance(table.filled, Intraday))
"""The tables of bars within the day that vendors fill."""
SNAPSHOTS = {name: table.filled for name, table in TABLES.items() if isinstance(table.filled, Snapshots)}
"""How each table of current values is filled."""
DERIVED = {name: table.filled for name, table in TABLES.items() if isinstance(table.filled, Derived)}
"""How each table is filled that is computed from others."""
FOLLOWING = tuple(name for name, filled in DERIVED.items() if filled.follows)
"""The computed tables that follow their inputs by declarative automation."""


def catching_up(tables: Mapping[str, Table]) -> frozenset[str]:
    """Those computed tables among `tables` that get what they lack as soon as their inputs have it.

    By healing, by following their inputs, or by a scheduled job, which writes every row that a changed input asks for
    where the table is sparse or within the day, and else those of its window alone.
    """
    on_schedule = {
        each for name, table in tables.items() for job in table.jobs if job.cron for each in (name, *job.also)
    }
    return frozenset(
        name
        for name, table in tables.items()
        if isinstance(table.filled, Derived)
        and (
            table.ledger
            or table.filled.follows
            or (name in on_schedule and (table.filled.sparse or table.time == "ts"))
        )
    )


CATCHING_UP = catching_up(TABLES)
"""The computed tables that nobody has to be told of whose inputs could not be stored."""
ACTIONS = corporate_actions.TABLE.name
"""The table of dividends and splits, which move the prices in tables of bars."""
LEDGER_TABLES = tuple(name for name, table in TABLES.items() if table.ledger)
"""The tables the ledger is about: those of bars, by calendar, and those with a row expected for stored bars."""


def kinds_of(name: str) -> tuple[AssetType, ...]:
    """The kinds of instruments that a table holds rows of; of a computed one those of its inputs."""
    table = TABLES[name]
    if not isinstance(table.filled, Derived):
        return table.instruments
    return tuple(kind for source in table.filled.inputs for kind in kinds_of(source))


def period_of(name: str) -> "Period":
    """What one row of a computed table, or of a table of bars, is about."""
    grain = TABLES[name].grain
    return grain if grain == "week" or grain == "next session" else "session"


def derived_from(name: str) -> tuple[str, ...]:
    """The tables that are computed from the rows of `name`."""
    return tuple(derived for derived, filled in DERIVED.items() if name in filled.inputs)


def expected_from(name: str) -> tuple[str, ...]:
    """The tables in which the ledger expects rows for the stored bars of `name`."""
    return tuple(derived for derived in derived_from(name) if TABLES[derived].ledger)


def filled_with(name: str) -> tuple[str, ...]:
    """The tables that the answers for `name` fill too."""
    return tuple(other for other, table in TABLES.items() if table.filled == FilledWith(name))


def filled_together(name: str) -> tuple[str, ...]:
    """What a run over `name` should fill too: the tables from the same answers, and those computed from it."""
    return (*filled_with(name), *derived_from(name))
