"""The vendors, one file each.

Belongs here: the list of providers the platform binds. Does not belong here: which provider serves which table.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import dagster as dg


def all_providers() -> dict[str, "dg.ConfigurableResource[object]"]:
    """Every provider with its defaults, keyed by its name; nothing connects before a provider is asked."""
    from financehub_dagster.providers.binance import BinanceProvider
    from financehub_dagster.providers.yahoo import YahooProvider

    return {"yahoo": YahooProvider(), "binance": BinanceProvider()}
