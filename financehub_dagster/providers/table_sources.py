"""Whom the rows of a table are asked of: the router that it declares, over the vendors that serve what it holds.

Belongs here: joining declarations, routers and what vendors serve, and the resources that work on tables takes. Does
not belong here: the orders (the routers), what one vendor serves (its own file), and asking.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from financehub_dagster.providers.routing import (
    CryptoMarketsRouter,
    DailyBarsRouter,
    FundamentalsRouter,
    IntradayRouter,
    NewsRouter,
    QuotesRouter,
    Router,
)
from financehub_dagster.tables import TABLES
from financehub_dagster.tables.declaration import Derived, FilledWith, Maintained

ROUTERS: Mapping[str, type[Router]] = {
    "daily_bars": DailyBarsRouter,
    "intraday_bars": IntradayRouter,
    "quotes_router": QuotesRouter,
    "crypto_markets_router": CryptoMarketsRouter,
    "fundamentals_router": FundamentalsRouter,
    "news_router": NewsRouter,
}
"""By the names of their resources."""


def all_routers() -> dict[str, Router]:
    """Every router with its defaults, keyed by the name of its resource."""
    return {name: router() for name, router in ROUTERS.items()}


def router_name(table: str) -> str | None:
    """The resource that asks vendors for the rows of a table; None where vendors do not fill it."""
    filled = TABLES[table].filled
    return None if isinstance(filled, FilledWith | Derived | Maintained) else filled.router


def vendors_of(table: str) -> list[str]:
    """The vendors that can be asked for rows of a table: as its router orders them, then those asked on request."""
    name = router_name(table)
    return [] if name is None else ROUTERS[name]().able(TABLES[table].instruments)


def asked_first(table: str) -> list[str]:
    """The vendors that are asked first for the rows of a table, or for the answers that its rows come with."""
    name = router_name(TABLES[table].filled_by)
    if name is None:
        return []
    router = ROUTERS[name]()
    return list(dict.fromkeys(router.order(kind)[0] for kind in router.kinds() if kind in TABLES[table].instruments))


def resources_of(*tables: str) -> set[str]:
    """The names of the resources that fill these tables from vendors."""
    routers = {name for table in tables if (name := router_name(table)) is not None}
    return routers.union(*map(vendors_of, tables))


def bound_router(table: str, resources: object, only: Sequence[str] | None = None) -> Any:
    """The router of a table over its vendors, all of them attributes of `resources`; only: as in `Router.over`."""
    vendors = {name: getattr(resources, name) for name in vendors_of(table)}
    return getattr(resources, str(router_name(table))).over(vendors, only)
