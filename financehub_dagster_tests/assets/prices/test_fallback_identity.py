"""While Yahoo is down: what other vendors say of listings in London, of paused pairs, and beside what is stored."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
import pytest

from financehub_dagster.definitions import build_definitions
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.providers.alpha_vantage.provider import AlphaVantageProvider
from financehub_dagster.providers.binance.provider import BinanceProvider
from financehub_dagster.providers.finnhub import FinnhubProvider
from financehub_dagster.providers.newsapi import NewsApiProvider
from financehub_dagster.providers.twelve_data.provider import TwelveDataProvider
from financehub_dagster.providers.yahoo.provider import YahooProvider
from financehub_dagster.settings import get_settings
from financehub_dagster.storage.queries.instruments import upsert_instruments
from financehub_dagster_tests.assets.conftest import Platform
from financehub_dagster_tests.assets.snapshots.answers import days_ago, today
from financehub_dagster_tests.contracts.klines import DAY, kline
from financehub_dagster_tests.contracts.scripted import Answer, Asked, ScriptedVendor, scripted_vendor
from financehub_dagster_tests.fixtures.database import Database

MAY, TABLE = "2024-05-01", "stock_prices_daily"
DAYS = ("2024-05-07", "2024-05-08")
CLOSED = ("2024-03-29", "2024-04-01", "2024-05-06", "2024-05-27")
BACK = [(date(2024, 5, 31) - timedelta(days=n)) for n in range(200)]
HUNDRED = [day.isoformat() for day in BACK if day.weekday() < 5 and day.isoformat() not in CLOSED][:100]
"""All that a free key of Alpha Vantage gets: London's hundred newest sessions, the first of them in January."""
KEYED: dict[str, Any] = {
    "alpha_vantage": (AlphaVantageProvider, {"requests_per_second": 1000, "requests_per_day": None}),
    "finnhub": (FinnhubProvider, {"requests_per_minute": 10_000}),
    "twelve_data": (TwelveDataProvider, {"credits_per_minute": 10_000, "credits_per_day": None}),
    "newsapi": (NewsApiProvider, {}),
}


def share(symbol: str, **aliases: str) -> Instrument:
    return Instrument(symbol, f"{symbol} Group plc", AssetType.STOCK, "XLON", "GBP", "Europe/London", aliases=aliases)


UNIVERSE = [
    share("RMG.L", alpha_vantage="RMG.LON", finnhub="RMG.L"),
    share("VOD", yahoo="VOD.L"),
    share("TSCO.L"),
    share("BARC.L", twelve_data="BARC"),
    Instrument("^GSPC", "S&P 500", AssetType.INDEX, "XNYS", "USD", "America/New_York", aliases={"twelve_data": "SPX"}),
    Instrument("MATIC", "Polygon", AssetType.CRYPTO, "XXXX"),
    Instrument("USEC", "Micro", AssetType.CRYPTO, "XXXX"),
]


def alpha_vantage(asked: Asked) -> Answer:
    symbol = asked.query["symbol"]
    if asked.query["function"] == "SPLITS":
        return Answer({"symbol": symbol, "data": []})
    if symbol == "TSCO.LON":
        return Answer(alpha_vantage_days(symbol, "286.5000", HUNDRED))
    if symbol not in ("RMG.LON", "VOD"):
        return Answer({"Error Message": "Invalid API call. Please retry or visit the documentation"})
    return Answer(alpha_vantage_days(symbol, "512.4000" if symbol == "RMG.LON" else "9.1200", DAYS))


def alpha_vantage_days(symbol: str, price: str, days: Sequence[str]) -> dict[str, Any]:
    row = {**dict.fromkeys(("1. open", "2. high", "3. low", "4. close"), price), "5. volume": "1200300"}
    meta = {"1. Information": "Daily Prices (open, high, low, close) and Volumes", "2. Symbol": symbol}
    return {"Meta Data": meta, "Time Series (Daily)": dict.fromkeys(days, row)}


def twelve_data(asked: Asked) -> Answer:
    symbol = asked.query["symbol"]
    if "," in symbol:
        each = {name: replace(asked, query={**asked.query, "symbol": name}) for name in symbol.split(",")}
        return Answer({name: twelve_data(question).body for name, question in each.items()})
    meta: dict[str, Any] = {"symbol": symbol, "interval": "1day", "currency": "GBp", "mic_code": "XLON"}
    row: dict[str, Any] = {**dict.fromkeys(("open", "high", "low", "close"), "602.55"), "volume": "100"}
    if symbol == "SPX":
        meta |= {"currency": "USD", "mic_code": "XNYS", "type": "Index"}
        del row["volume"]
    if symbol not in ("SPX", "BARC"):
        return Answer({"code": 403, "message": "available starting with Pro", "status": "error"})
    if asked.path.endswith("/quote"):
        return Answer({**meta, **row, "timestamp": int((datetime.now(UTC) - timedelta(hours=1)).timestamp())})
    rows = [{"datetime": day, **row} for day in reversed(DAYS)]
    return Answer({"meta": meta, "values": [*rows, {"datetime": "2024-05-09", "open": "text"}], "status": "ok"})


def finnhub(asked: Asked) -> Answer:
    if asked.path.endswith("/quote"):
        at = int((datetime.now(UTC) - timedelta(hours=1)).timestamp())
        price = 512.4 if asked.query["symbol"] == "RMG.L" else 6.03
        return Answer({"c": price, "d": 2.4, "dp": 0.47, "h": 515.0, "l": 508.2, "o": 0, "pc": 510.0, "t": at})
    return Answer({"error": "You don't have access to this resource."}, 403)


def binance(asked: Asked) -> Answer:
    if asked.path.endswith("/exchangeInfo"):
        pair = {"quoteAsset": "USDT", "status": "TRADING"}
        matic = {**pair, "symbol": "MATICUSDT", "baseAsset": "MATIC", "status": "BREAK"}
        return Answer({"symbols": [matic, {**pair, "symbol": "USECUSDT", "baseAsset": "USEC"}]})
    days = [kline(date(2024, 5, day)) for day in (1, 2, 3)]
    if asked.query["symbol"] == "USECUSDT":
        days = [[row[0] * 1000, *row[1:6], (row[0] + DAY) * 1000 - 1, *row[7:]] for row in days]
    return Answer(days)


def newsapi(_asked: Asked) -> Answer:
    at = (datetime.now(UTC) - timedelta(hours=30)).isoformat(timespec="seconds")
    told: list[Any] = [
        {"url": f"https://example.org/{n}", "title": "RMG.L Group rises", "publishedAt": published}
        for n, published in enumerate((at, None, "yesterday"))
    ]
    return Answer({"status": "ok", "totalResults": 4, "articles": [*told, None]})


VENDORS = {each.__name__: each for each in (alpha_vantage, twelve_data, finnhub, binance, newsapi)}


def rule(asked: Asked) -> Answer:
    vendor = asked.path.split("/")[1]
    return VENDORS[vendor](asked) if vendor in VENDORS else Answer({"chart": {"error": None}}, 500)


@pytest.fixture
def vendors() -> Iterator[ScriptedVendor]:
    with scripted_vendor() as vendors:
        vendors.rule = rule
        yield vendors


@pytest.fixture
def london(
    database: Database, vendors: ScriptedVendor, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Platform]:
    """A platform over these instruments and vendors."""
    overrides: dict[str, Any] = {
        "yahoo": YahooProvider(base_url=f"{vendors.url}/yahoo", requests_per_second=1000, first_pause=0.0),
        "binance": BinanceProvider(base_url=f"{vendors.url}/binance", first_pause=0.0),
    }
    for name, (provider, fields) in KEYED.items():
        monkeypatch.setenv(f"{name.upper()}_API_KEYS", "any")
        overrides[name] = provider(base_url=f"{vendors.url}/{name}", first_pause=0.0, **fields)
    get_settings.cache_clear()
    with database.engine.begin() as connection:
        upsert_instruments(connection, UNIVERSE)
    definitions = build_definitions(resource_overrides=overrides)
    sandbox: Any = None
    yield Platform(database.engine, sandbox, definitions, instance, overrides)
    get_settings.cache_clear()


def store(platform: Platform, symbol: str, close: float, day: str) -> None:
    platform.execute(
        "insert into stock_prices_daily (symbol, date, open, high, low, close, volume, source, fetched_at)"
        " values (:symbol, cast(:day as date), :close, :close, :close, :close, 1, 'yahoo', now())",
        symbol=symbol,
        close=close,
        day=day,
    )


def test_londons_pence_are_stored_as_pounds_and_an_index_without_volume(london, vendors):
    outcome = london.run(TABLE, MAY, symbols=["RMG.L", "BARC.L", "^GSPC", "VOD"])
    stored = london.rows("select distinct symbol, close, volume, source from stock_prices_daily order by symbol")
    assert stored == [
        ("BARC.L", 6.0255, 100.0, "twelve_data"),
        ("RMG.L", 5.124, 1200300.0, "alpha_vantage"),
        ("^GSPC", 602.55, 0.0, "twelve_data"),
    ]
    assert outcome.tables[TABLE]["rows_rejected"] == 2
    assert london.rows("select distinct rule, date::text from rejected_rows") == [("finite", "2024-05-09")]
    asked = {each.query.get("symbol") for each in vendors.asked if each.path.startswith("/alpha_vantage")}
    assert "VOD.LON" in asked
    assert "VOD" not in asked
    failed = dict(london.rows("select symbol, exception from task_failures"))
    assert failed.keys() == {"VOD"}


def test_sessions_that_a_vendors_plan_does_not_reach_are_gaps_and_not_empty(london):
    london.run(TABLE, "2023-11-01", symbols=["TSCO.L"])
    [(why,)] = london.rows("select exception from task_failures where symbol = 'TSCO.L'")
    assert "a free key gets the newest 100 sessions only, since 2024-01-" in why
    assert london.run(TABLE, "2024-01-01", MAY, symbols=["TSCO.L"]).success
    [(rows, first)] = london.rows("select count(*), min(date)::text from stock_prices_daily")
    assert (rows, first) == (len(HUNDRED), HUNDRED[-1])
    earlier = "select count(*) from empty_answers where lower(sessions) < cast(:first as date)"
    assert london.rows(earlier, first=first) == [(0,)]


def test_a_quote_in_pence_is_stored_in_pounds(london):
    london.run("quotes", today(), symbols=["RMG.L"])
    assert london.rows("select price, open, low, currency, source from quotes") == [
        (5.124, None, 5.082, "GBP", "finnhub")
    ]


def test_an_answer_that_does_not_agree_with_what_is_stored_is_refused_with_both_numbers(london):
    store(london, "RMG.L", 512.0, "2024-05-07")
    store(london, "BARC.L", 602.5, "2024-05-03")
    london.run(TABLE, MAY, symbols=["RMG.L", "BARC.L"])
    assert london.rows("select count(*) from stock_prices_daily") == [(2,)]
    failed = dict(london.rows("select symbol, exception from task_failures"))
    assert (
        "alpha_vantage: RMG.L: tells a close of 5.124 for 2024-05-07, 0.01001 times the stored 512" in failed["RMG.L"]
    )
    assert "twelve_data: BARC.L: tells a close of 6.0255 for 2024-05-07, 0.01 times" in failed["BARC.L"]


def test_a_quote_far_from_the_last_close_is_refused_and_the_next_vendor_asked(london):
    store(london, "RMG.L", 512.0, days_ago(1))
    store(london, "BARC.L", 6.1, days_ago(1))
    london.run("quotes", today(), symbols=["RMG.L", "BARC.L"])
    assert london.rows("select symbol, price, source from quotes") == [("BARC.L", 6.0255, "twelve_data")]


def test_a_paused_pair_has_its_history_and_microseconds_are_no_empty_days(london):
    london.run("crypto_prices_daily", MAY, symbols=["MATIC", "USEC"])
    assert london.rows("select symbol, count(*) from crypto_prices_daily group by 1") == [("MATIC", 3)]
    [(symbol, why)] = london.rows("select symbol, exception from task_failures")
    assert symbol == "USEC"
    assert "got one that opens at 1714521600000000" in why
    assert london.rows("select count(*) from empty_answers where symbol = 'USEC'") == [(0,)]


def test_articles_without_a_time_are_rejected_and_the_other_is_stored(london, vendors):
    outcome = london.run("news_articles", days_ago(7), today(), symbols=["RMG.L"])
    assert london.rows("select url from news_articles") == [("https://example.org/0",)]
    assert outcome.tables["news_articles"]["rows_rejected"] == 2
    assert london.rows("select distinct rule from rejected_rows") == [("dated",)]
    assert len([each for each in vendors.asked if each.path.startswith("/newsapi")]) == 1
