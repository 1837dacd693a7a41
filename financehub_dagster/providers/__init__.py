"""The vendors, one file each.

Belongs here: the list of providers the platform binds. Does not belong here: what one serves (its own file), or in
which order they are asked (the routers).
"""

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from financehub_dagster.providers.resource import Vendor


@cache
def vendor_types() -> tuple[type["Vendor"], ...]:
    """The class of every provider."""
    from financehub_dagster.providers.alpha_vantage.provider import AlphaVantageProvider
    from financehub_dagster.providers.binance.provider import BinanceProvider
    from financehub_dagster.providers.coingecko import CoinGeckoProvider
    from financehub_dagster.providers.coinmarketcap import CoinMarketCapProvider
    from financehub_dagster.providers.finnhub import FinnhubProvider
    from financehub_dagster.providers.newsapi import NewsApiProvider
    from financehub_dagster.providers.twelve_data.provider import TwelveDataProvider
    from financehub_dagster.providers.yahoo.provider import YahooProvider

    return (
        YahooProvider,
        BinanceProvider,
        AlphaVantageProvider,
        CoinGeckoProvider,
        CoinMarketCapProvider,
        FinnhubProvider,
        TwelveDataProvider,
        NewsApiProvider,
    )


def all_providers() -> dict[str, "Vendor"]:
    """Every provider with its defaults, keyed by its name; nothing connects before a provider is asked."""
    return {each.name: each() for each in vendor_types()}
