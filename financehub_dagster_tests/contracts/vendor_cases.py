"""What the provider contract holds for each vendor with keys: its answers, who is asked about, and the rows expected.

The documents themselves are in `fixtures/`, by vendor; its README says where each comes from.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.providers import coingecko, coinmarketcap, finnhub, intraday, newsapi
from financehub_dagster.providers.alpha_vantage import responses as alpha_vantage_wire
from financehub_dagster.providers.alpha_vantage.provider import AlphaVantageProvider
from financehub_dagster.providers.intraday import Range
from financehub_dagster.providers.reading import Refusal
from financehub_dagster.providers.rest import RestProvider
from financehub_dagster.providers.twelve_data import responses as twelve_data_wire
from financehub_dagster.providers.twelve_data.provider import TwelveDataProvider

KEY = "CANARY-KEY-7731-of-the-tests"
"""The key that every vendor is asked with; it must not get out."""
FIXTURES = Path(__file__).parent / "fixtures"
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


def stock(symbol: str, name: str | None = None) -> Instrument:
    return Instrument(symbol, name or symbol, AssetType.STOCK, "XNAS", "USD", "America/New_York")


def crypto(symbol: str, name: str, gecko: str, cmc: str) -> Instrument:
    aliases = {"coingecko": gecko, "coinmarketcap": cmc}
    return Instrument(symbol, name, AssetType.CRYPTO, "XXXX", aliases=aliases)


AAPL, MSFT, IBM, TSM = stock("AAPL", "Apple Inc."), stock("MSFT"), stock("IBM"), stock("TSM")
INVALID = stock("INVALID")
BTC, LTC = crypto("BTC", "Bitcoin", "bitcoin", "1"), crypto("LTC", "Litecoin", "litecoin", "2")
COINS = {"1": BTC, "2": LTC}


@dataclass(frozen=True)
class Document:
    """One recorded answer: how it is read, how it is asked for, and some values of its first row.

    answers are the fixtures sent in turn; the first of them is the one that `read` reads. quoted: are its numbers
    strings by themselves? silent: does it hold no symbol that could be the wrong one?
    """

    capability: str
    answers: tuple[str, ...]
    read: Callable[[Any], Any]
    ask: Callable[[Any], Any]
    first: dict[str, Any]
    failed: dict[str, str] = field(default_factory=dict)
    silent: bool = False


@dataclass(frozen=True)
class Vendor:
    """One vendor; `reads` is the document by which its errors are tried, `key` a header or a parameter of the query."""

    provider: type[RestProvider]
    refusal: Refusal
    documents: tuple[Document, ...]
    key: tuple[str, str]
    fields: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.provider.name

    def load(self, fixture: str) -> Any:
        return json.loads((FIXTURES / self.name / f"{fixture}.json").read_text())

    @property
    def errors(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.load("errors")
        return found


def _of(capability: str, instruments: list[Instrument]) -> Callable[[Any], Any]:
    return lambda provider: getattr(provider, capability)(instruments)


def _news(instruments: list[Instrument]) -> Callable[[Any], Any]:
    return lambda provider: provider.news(instruments, EPOCH)


def _bars(instrument: Instrument) -> Callable[[Any], Any]:
    return lambda provider: provider.daily_bars(instrument, date(2019, 1, 1), date(2025, 1, 1))


def _minutes(instrument: Instrument, day: date, **plan: Any) -> Callable[[Any], Any]:
    """Ask for the minutes of a day, on a plan of these settings."""
    start = datetime.combine(day, time(), UTC)
    end = start + timedelta(days=1)
    return lambda provider: provider.model_copy(update=plan).intraday_bars(instrument, 1, start, end)


def _day(instrument: Instrument, day: date) -> Range:
    start = datetime.combine(day, time(), UTC)
    return intraday.asked("test", instrument, 1, start, start + timedelta(days=1))


_DAILY = {"date": datetime(2024, 5, 1), "open": 165.69 / 2, "close": 164.43 / 2, "volume": 4030961.0 * 2}  # noqa: DTZ001
ALPHA_VANTAGE = Vendor(
    AlphaVantageProvider,
    alpha_vantage_wire.refusal,
    (
        Document(
            "daily_bars",
            ("time_series_daily", "splits"),
            partial(alpha_vantage_wire.read_daily, of=IBM),
            _bars(IBM),
            _DAILY,
        ),
        Document(
            "intraday_bars",
            ("time_series_intraday", "splits"),
            partial(alpha_vantage_wire.read_minutes, of=_day(MSFT, date(2017, 12, 18))),
            _minutes(MSFT, date(2017, 12, 18), premium=True),
            {"ts": datetime(2017, 12, 18, 19, 53), "close": 86.47 / 2},  # noqa: DTZ001
        ),
        Document(
            "quotes",
            ("global_quote",),
            partial(alpha_vantage_wire.read_quote, of=MSFT),
            _of("quotes", [MSFT]),
            {"price": 112.13, "volume": 29062853.0, "quoted_at": datetime(2018, 10, 5, 20, tzinfo=UTC)},
        ),
        Document(
            "fundamentals",
            ("overview",),
            partial(alpha_vantage_wire.read_overview, of=IBM),
            _of("fundamentals", [IBM]),
            {"market_cap": 114234572800.0, "pe_ratio": 14.1327, "dividend_yield": 0.0529, "sector": "Technology"},
        ),
        Document(
            "news",
            ("news_sentiment",),
            partial(alpha_vantage_wire.read_news, ours={"IBM": "IBM"}, since=EPOCH),
            _news([IBM]),
            {"url": "https://news.example.com/ibm-microsoft", "symbols": ("IBM",), "author": "A. Author, B. Byline"},
            silent=True,
        ),
    ),
    ("query", "apikey"),
    {"requests_per_second": 1000},
)
COINGECKO = Vendor(
    coingecko.CoinGeckoProvider,
    coingecko.refusal,
    (
        Document(
            "quotes",
            ("simple_price",),
            partial(coingecko.read_prices, of={"bitcoin": BTC, "litecoin": LTC}),
            _of("quotes", [BTC, LTC]),
            {"symbol": "BTC", "price": 76975.0, "quoted_at": datetime(2026, 5, 18, 8, 17, 38, tzinfo=UTC)},
            {"LTC": "UnknownSymbol"},
        ),
        Document(
            "crypto_markets",
            ("coins_markets",),
            partial(coingecko.read_markets, of={"bitcoin": BTC}),
            _of("crypto_markets", [BTC]),
            {"price": 77671.0, "market_cap": 1555886872303.0, "max_supply": 21e6, "change_24h": -0.95302, "rank": 1.0},
        ),
    ),
    ("header", "x-cg-demo-api-key"),
)
_LTC = {"symbol": "LTC", "price": 33.8041552743}
_CMC = (
    Document(
        "quotes",
        (f"quotes_latest_{version}",),
        partial(coinmarketcap.read_quotes, of=COINS),
        _of("quotes", [LTC]),
        _LTC,
    )
    for version in ("v1", "v2", "v3")
)
COINMARKETCAP = Vendor(
    coinmarketcap.CoinMarketCapProvider,
    coinmarketcap.refusal,
    (
        *_CMC,
        Document(
            "crypto_markets",
            ("quotes_latest_v3",),
            partial(coinmarketcap.read_markets, of=COINS),
            _of("crypto_markets", [BTC, LTC]),
            {"symbol": "BTC", "price": 3475.55287338, "circulating_supply": 17518375.0, "rank": 1.0},
        ),
    ),
    ("header", "x-cmc_pro_api_key"),
)
FINNHUB = Vendor(
    finnhub.FinnhubProvider,
    finnhub.refusal,
    (
        Document(
            "quotes",
            ("quote",),
            partial(finnhub.read_quote, of=AAPL),
            _of("quotes", [AAPL]),
            {"price": 261.74, "previous_close": 259.45, "quoted_at": datetime(2020, 2, 25, 14, 30, tzinfo=UTC)},
            silent=True,
        ),
        Document(
            "daily_bars",
            ("stock_candle",),
            partial(finnhub.read_candles, of=AAPL, first=date(2019, 1, 1), last=date(2025, 1, 1)),
            _bars(AAPL),
            {"date": datetime(2019, 9, 24), "open": 221.03, "volume": 33463820.0},  # noqa: DTZ001
            silent=True,
        ),
        Document(
            "intraday_bars",
            ("stock_candle_minutes",),
            partial(finnhub.read_minutes, of=_day(AAPL, date(2019, 9, 24))),
            _minutes(AAPL, date(2019, 9, 24)),
            {"ts": datetime(2019, 9, 24, 13, 30), "open": 217.68, "volume": 812000.0},  # noqa: DTZ001
            silent=True,
        ),
        Document(
            "fundamentals",
            ("stock_metric",),
            partial(finnhub.read_metric, of=AAPL),
            _of("fundamentals", [AAPL]),
            {"market_cap": 1415993.0e6, "beta": 1.2989, "profit_margin": 0.2124, "high_52w": 310.43},
        ),
        Document(
            "news",
            ("company_news",),
            partial(finnhub.read_news, of=AAPL, since=EPOCH),
            _news([AAPL]),
            {"publisher": "The Economic Times India", "symbols": ("AAPL",)},
            silent=True,
        ),
    ),
    ("header", "x-finnhub-token"),
)
TWELVE_DATA = Vendor(
    TwelveDataProvider,
    twelve_data_wire.refusal,
    (
        Document(
            "daily_bars",
            ("time_series",),
            partial(twelve_data_wire.read_bars, of=AAPL, first=date(2019, 1, 1), last=date(2025, 1, 1)),
            _bars(AAPL),
            {"date": datetime(2024, 11, 22), "close": 229.87, "volume": 35462000.0},  # noqa: DTZ001
        ),
        Document(
            "intraday_bars",
            ("time_series_minutes",),
            partial(twelve_data_wire.read_minutes, of=_day(AAPL, date(2024, 11, 22))),
            _minutes(AAPL, date(2024, 11, 22)),
            {"ts": datetime(2024, 11, 22, 14, 30), "close": 229.3, "volume": 8130.0},  # noqa: DTZ001
        ),
        Document(
            "quotes",
            ("quote",),
            partial(twelve_data_wire.read_quotes, of={"AAPL": AAPL}),
            _of("quotes", [AAPL]),
            {"symbol": "AAPL", "price": 229.87, "quoted_at": datetime(2024, 11, 22, 20, tzinfo=UTC)},
        ),
        Document(
            "quotes",
            ("batch_quote",),
            partial(twelve_data_wire.read_quotes, of={"AAPL": AAPL, "MSFT": MSFT}),
            _of("quotes", [MSFT, AAPL]),
            {"symbol": "MSFT", "price": 414.17},
        ),
        Document(
            "quotes",
            ("batch_error",),
            partial(twelve_data_wire.read_quotes, of={"AAPL": AAPL, "INVALID": INVALID}),
            _of("quotes", [AAPL, INVALID]),
            {"symbol": "AAPL"},
            {"INVALID": "UnknownSymbol"},
        ),
        Document(
            "fundamentals",
            ("statistics",),
            partial(twelve_data_wire.read_statistics, of=TSM),
            _of("fundamentals", [TSM]),
            {"market_cap": 953495257088.0, "eps": 6.22, "profit_margin": 0.39123002, "revenue": 2161735800000.0},
        ),
    ),
    ("header", "authorization"),
    {"credits_per_minute": 377},
)
NEWSAPI = Vendor(
    newsapi.NewsApiProvider,
    newsapi.refusal,
    (
        Document(
            "news",
            ("everything",),
            partial(newsapi.read_everything, of=[BTC], since=EPOCH),
            _news([BTC]),
            {"publisher": "Cdr.cz", "author": "Jáchym Flídr", "symbols": ("BTC",)},
            silent=True,
        ),
    ),
    ("header", "x-api-key"),
)
VENDORS = (ALPHA_VANTAGE, COINGECKO, COINMARKETCAP, FINNHUB, TWELVE_DATA, NEWSAPI)
