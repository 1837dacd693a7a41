"""The frames in providers' answers: their columns and types, whoever answered.

Belongs here: declaring columns and making frames of rows. Does not belong here: reading a vendor's document (`values`
and each vendor's file).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from financehub_dagster.market.instruments import AssetType, Instrument

if TYPE_CHECKING:
    import pandas as pd

UTC_TIME = "datetime64[us, UTC]"

QUOTES = {
    "symbol": "str",
    "price": "float64",
    "open": "float64",
    "high": "float64",
    "low": "float64",
    "previous_close": "float64",
    "volume": "float64",
    "currency": "str",
    "quoted_at": UTC_TIME,
}
"""Prices in `currency`, of the running session, cryptos: of the last 24 hours; volume in units of the instrument.

NaN where the vendor does not say; price, currency and quoted_at are always there.
"""

CRYPTO_MARKETS = {
    "symbol": "str",
    "price": "float64",
    "market_cap": "float64",
    "volume_24h": "float64",
    "change_24h": "float64",
    "circulating_supply": "float64",
    "total_supply": "float64",
    "max_supply": "float64",
    "rank": "float64",
    "currency": "str",
    "quoted_at": UTC_TIME,
}
"""Money in `currency`, volume_24h too; change_24h in percent; supplies in units of the crypto; NaN where unknown."""

FUNDAMENTALS = {
    "symbol": "str",
    "currency": "str",
    "sector": "str",
    "industry": "str",
    "market_cap": "float64",
    "shares_outstanding": "float64",
    "pe_ratio": "float64",
    "forward_pe": "float64",
    "peg_ratio": "float64",
    "price_to_book": "float64",
    "price_to_sales": "float64",
    "eps": "float64",
    "book_value": "float64",
    "dividend_per_share": "float64",
    "dividend_yield": "float64",
    "profit_margin": "float64",
    "operating_margin": "float64",
    "return_on_assets": "float64",
    "return_on_equity": "float64",
    "revenue": "float64",
    "ebitda": "float64",
    "beta": "float64",
    "high_52w": "float64",
    "low_52w": "float64",
}
"""Money in `currency`, trailing twelve months; yields, margins and returns as fractions; NaN or none where unknown."""

NEWS = {
    "url": "str",
    "title": "str",
    "summary": "str",
    "publisher": "str",
    "author": "str",
    "published_at": UTC_TIME,
    "symbols": "object",
}
"""symbols: a sorted tuple of our symbols; summary, publisher and author may be missing."""

COLUMNS = {"quotes": QUOTES, "crypto_markets": CRYPTO_MARKETS, "fundamentals": FUNDAMENTALS, "news": NEWS}
"""By capability."""


def table(columns: Mapping[str, str], rows: Iterable[Mapping[str, Any]]) -> "pd.DataFrame":
    """Rows as a frame of the declared columns and types; what a row does not have is missing."""
    import pandas as pd

    listed = list(rows)
    frame = {}
    for name, dtype in columns.items():
        values: list[Any] = [row.get(name) for row in listed]
        frame[name] = pd.Series(pd.DatetimeIndex(values, tz="UTC") if dtype == UTC_TIME else values, dtype=dtype)
    return pd.DataFrame(frame)


def merged(news: "pd.DataFrame") -> "pd.DataFrame":
    """Articles by address, newest first; one found for several instruments is about all of them."""
    import pandas as pd

    about: dict[str, set[str]] = {}
    for url, symbols in zip(news["url"], news["symbols"], strict=True):
        about.setdefault(url, set()).update(symbols)
    once = news.drop_duplicates("url")
    linked = [tuple(sorted(about[url])) for url in once["url"]]
    once = once.assign(symbols=pd.Series(linked, index=once.index, dtype="object"))
    return once.sort_values(["published_at", "url"], ascending=[False, True], ignore_index=True)


@dataclass(frozen=True, slots=True)
class Bar:
    """One day: prices in the instrument's currency, adjusted for the splits known at the time of asking."""

    date: date
    open: float
    high: float
    low: float
    close: float
    volume: float
    adj_close: float = float("nan")


@dataclass(frozen=True, slots=True)
class Action:
    """One dividend or split; value is money per share, or new shares per old one."""

    date: date
    kind: str
    value: float


def bars_table(bars: Iterable[Bar], of: Instrument, start: date, end: date, now: datetime) -> "pd.DataFrame":
    """Finished sessions of [start, end] in date order, each once, the last said wins; `now`: the vendor's clock.

    Of currencies, vendors cut the day at midnight UTC: a day is finished when that has passed, too.
    """
    import numpy as np
    import pandas as pd

    from financehub_dagster.market import calendars

    listed = [bar for bar in bars if start <= bar.date <= end]
    dates = np.array([bar.date for bar in listed], dtype="datetime64[D]")
    frame = pd.DataFrame({"date": pd.Series(dates.astype("datetime64[s]"))})
    for name in ("open", "high", "low", "close", "adj_close", "volume"):
        frame[name] = np.array([getattr(bar, name) for bar in listed], dtype="float64")
    finished = calendars.finished(of, dates, now)
    if of.asset_type is AssetType.FX:
        finished &= dates < np.datetime64(now.astimezone(UTC).date(), "D")
    frame = frame[finished] if listed else frame
    return frame.drop_duplicates("date", keep="last").sort_values("date", ignore_index=True)


def actions_table(actions: Iterable[Action], start: date, end: date) -> "pd.DataFrame":
    """Actions of [start, end] in date order."""
    import pandas as pd

    listed = sorted({(each.date, each.kind, each.value) for each in actions if start <= each.date <= end})
    return pd.DataFrame(
        {
            "date": pd.Series([each[0] for each in listed], dtype="datetime64[s]"),
            "kind": pd.Series([each[1] for each in listed], dtype="str"),
            "value": pd.Series([each[2] for each in listed], dtype="float64"),
        }
    )
