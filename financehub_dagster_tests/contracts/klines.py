"""Klines made to measure, and the Binance provider as tests ask it."""

from datetime import UTC, date, datetime
from typing import Any

from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.providers.binance.provider import BinanceProvider

DAY = 86_400_000
BTC = Instrument("BTC", "Bitcoin", AssetType.CRYPTO, "XXXX", "USD", "UTC", aliases={"binance": "BTCUSDT"})
YEAR = (date(2024, 1, 1), date(2024, 12, 31))


def crypto(symbol: str, alias: str | None = None) -> Instrument:
    aliases = {} if alias is None else {"binance": alias}
    return Instrument(symbol, symbol, AssetType.CRYPTO, "XXXX", "USD", "UTC", aliases=aliases)


def binance(base_url: str | None = None, **fields: Any) -> BinanceProvider:
    return BinanceProvider(base_url=base_url, **{"first_pause": 0.001, **fields})


def kline(day: date, *numbers: str) -> list[Any]:
    opened = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1000
    values = numbers or ("1.1", "2.2", "0.5", "1.5", "10.25")
    return [opened, *values, opened + DAY - 1, "15.0", 3, "5.0", "7.5", "0"]
