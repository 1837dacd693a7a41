"""CoinMarketCap's documents out of the sample market.

Belongs here: shapes and number formats of the answers. Does not belong here: endpoints, parameters, credits, refusals
(coinmarketcap). Numbers are JSON numbers, times ISO in UTC; v3 lists the quotes, v1 and v2 key them by currency.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np

from financehub_dagster.market.instruments import Instrument
from financehub_dagster.sandbox.market.coins import Coin
from financehub_dagster.sandbox.market.companies import shares_of
from financehub_dagster.sandbox.market.market import Market

#: The vendor's id of the US dollar, which quotes in v3 carry.
_USD_ID = 2781
_DAY = 86_400


def iso(at: float) -> str:
    """A time as this vendor writes it."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%S}.000Z"


def status(now: float, code: int, words: str | None, credits_: int) -> dict[str, Any]:
    """The status of every answer."""
    return {
        "timestamp": iso(now),
        "error_code": code,
        "error_message": words,
        "elapsed": 10,
        "credit_count": credits_,
        "notice": None,
    }


def slug(instrument: Instrument) -> str:
    """The last part of a coin's address at the vendor."""
    return re.sub(r"[^a-z0-9]+", "-", instrument.name.lower()).strip("-")


def quote(coin: Coin, rates: Mapping[str, float], version: str) -> dict[str, Any]:
    """One coin of quotes/latest or listings/latest in v1, v2 or v3; rates are by currency, per US dollar."""
    quotes = {currency: _figures(coin, rate) for currency, rate in rates.items()}
    listed = [{"id": _USD_ID if name == "USD" else None, "symbol": name, **figures} for name, figures in quotes.items()]
    return {
        "id": int(coin.instrument.symbol_at("coinmarketcap")),
        "name": coin.instrument.name,
        "symbol": coin.instrument.symbol,
        "slug": slug(coin.instrument),
        "num_market_pairs": 12_000 // coin.rank,
        "date_added": iso(coin.first),
        "tags": [],
        "max_supply": coin.maximum,
        "circulating_supply": coin.circulating,
        "total_supply": coin.total,
        "infinite_supply": coin.maximum is None,
        "is_active": 1,
        "is_fiat": 0,
        "platform": None,
        "cmc_rank": coin.rank,
        "self_reported_circulating_supply": None,
        "self_reported_market_cap": None,
        "tvl_ratio": None,
        "last_updated": iso(coin.updated),
        "quote": listed if version == "v3" else quotes,
    }


def _figures(coin: Coin, rate: float) -> dict[str, Any]:
    return {
        "price": coin.price * rate,
        "volume_24h": coin.volume * rate,
        "volume_change_24h": 0.0,
        **{f"percent_change_{span}": coin.changes[span] for span in ("1h", "24h", "7d", "30d", "60d", "90d")},
        "market_cap": coin.market_cap * rate,
        "market_cap_dominance": None,
        "fully_diluted_market_cap": coin.fully_diluted * rate,
        "tvl": None,
        "last_updated": iso(coin.updated),
    }


def map_row(coin: Coin) -> dict[str, Any]:
    """One coin of the id map."""
    return {
        "id": int(coin.instrument.symbol_at("coinmarketcap")),
        "rank": coin.rank,
        "name": coin.instrument.name,
        "symbol": coin.instrument.symbol,
        "slug": slug(coin.instrument),
        "is_active": 1,
        "first_historical_data": iso(coin.first),
        "last_historical_data": iso(coin.updated),
        "platform": None,
    }


def history(market: Market, instrument: Instrument, first: float, last: float) -> dict[str, Any]:
    """Daily quotes/historical: the first quote of each day from `first` to `last`, UTC epoch seconds."""
    bars = market.daily(instrument)
    rows = bars[(bars.opens >= first) & (bars.opens <= last)]
    supply = shares_of(instrument)
    quotes = [
        {
            "timestamp": iso(at),
            "quote": {
                "USD": {"price": price, "volume_24h": volume, "market_cap": price * supply, "timestamp": iso(at)}
            },
        }
        for at, price, volume in zip(
            rows.opens.tolist(), rows.open.tolist(), (rows.volume * rows.open).tolist(), strict=True
        )
    ]
    return {**_named(instrument), "quotes": quotes}


def ohlcv(market: Market, instrument: Instrument, first: float, last: float) -> dict[str, Any]:
    """Daily ohlcv/historical: the bars that close after `first` and not after `last`, UTC epoch seconds."""
    bars = market.daily(instrument)
    rows = bars[(bars.closes - 1 > first) & (bars.closes - 1 <= np.ceil(last / _DAY) * _DAY)]
    columns = (rows.opens, rows.open, rows.high, rows.low, rows.close, rows.volume * rows.close)
    supply = shares_of(instrument)
    quotes = []
    for at, open_, high, low, close, volume in zip(*(column.tolist() for column in columns), strict=True):
        end = f"{iso(at + _DAY - 1)[:-4]}999Z"
        figures = {
            "open": open_,
            "high": high,
            "low": low,
            "close": close,
            "volume": volume,
            "market_cap": close * supply,
        }
        quotes.append({"time_open": iso(at), "time_close": end, "quote": {"USD": {**figures, "timestamp": end}}})
    return {**_named(instrument), "quotes": quotes}


def _named(instrument: Instrument) -> dict[str, Any]:
    return {"id": int(instrument.symbol_at("coinmarketcap")), "name": instrument.name, "symbol": instrument.symbol}


def key_info(limits: tuple[int, int], counted: tuple[int, int, int], at: float, reset: float) -> dict[str, Any]:
    """The account's plan and usage: (requests per minute, credits per month), (requests, credits of day and month).

    at and reset, when the month ends, are UTC epoch seconds.
    """
    (minute, month), (made, today, used) = limits, counted
    hours, days = int((reset - at) // 3600) % 24, int((reset - at) // _DAY)
    return {
        "plan": {
            "credit_limit_monthly": month,
            "credit_limit_monthly_reset": f"In {days} days, {hours} hours and {int((reset - at) // 60) % 60} minutes",
            "credit_limit_monthly_reset_timestamp": iso(reset),
            "rate_limit_minute": minute,
        },
        "usage": {
            "current_minute": {"requests_made": made, "requests_left": max(0, minute - made)},
            "current_day": {"credits_used": today, "credits_left": None},
            "current_month": {"credits_used": used, "credits_left": max(0, month - used)},
        },
    }


def origin(found: list[Coin]) -> str:
    """The origin of several coins' prices."""
    origins = {each.origin for each in found}
    return "mixed" if len(origins) > 1 else next(iter(origins), "none")
