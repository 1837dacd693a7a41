"""The vendors, one file each.

Belongs here: the list of providers the platform binds. Does not belong here: which provider serves which table.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from financehub_dagster.providers.resource import Vendor


def all_providers() -> dict[str, "Vendor"]:
    """Every provider with its defaults, keyed by its name; nothing connects before a provider is asked."""
    from financehub_dagster.providers.alpha_vantage.provider import AlphaVantageProvider
    from financehub_dagster.providers.binance.provider import BinanceProvider
    from financehub_dagster.providers.coingecko import CoinGeckoProvider
    from financehub_dagster.providers.coinmarketcap import CoinMarketCapProvider
    from financehub_dagster.providers.finnhub import FinnhubProvider
    from financehub_dagster.providers.newsapi import NewsApiProvider
    from financehub_dagster.providers.twelve_data.provider import TwelveDataProvider
    from financehub_dagster.providers.yahoo.provider import YahooProvider

    vendors: tuple[Vendor, ...] = (
        YahooProvider(),
        BinanceProvider(),
        AlphaVantageProvider(),
        CoinGeckoProvider(),
        CoinMarketCapProvider(),
        FinnhubProvider(),
        TwelveDataProvider(),
        NewsApiProvider(),
    )
    return {vendor.name: vendor for vendor in vendors}
