"""What is particular about Binance and python-binance, through the real client over real HTTP."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
import sqlalchemy as sa

from financehub_dagster.gateway.errors import (
    BadKey,
    BadRequest,
    Banned,
    BreakerOpen,
    NotInPlan,
    Transient,
    UnknownSymbol,
)
from financehub_dagster.providers.base import DailyBars
from financehub_dagster.sandbox.client import Sandbox
from financehub_dagster.storage.database.schema import api_usage, rate_limits
from financehub_dagster_tests.contracts.charts import http_date
from financehub_dagster_tests.contracts.klines import BTC, YEAR, binance, crypto, kline
from financehub_dagster_tests.contracts.scripted import Answer, ScriptedVendor, scripted_vendor
from financehub_dagster_tests.fixtures.database import Database

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
def database(shared_database: Database) -> Database:
    """One for the module: these tests write the gateway's state alone."""
    return shared_database


@pytest.fixture
def vendor() -> Iterator[ScriptedVendor]:
    with scripted_vendor(Answer([])) as vendor:
        yield vendor


def fetch(vendor: ScriptedVendor, *answers: Answer) -> DailyBars:
    vendor.will_answer(*answers)
    return binance(vendor.url).daily_bars(BTC, *YEAR)


def test_an_unknown_symbol_is_minus_1121_and_costs_one_request(sandbox: Sandbox) -> None:
    with pytest.raises(
        UnknownSymbol, match=r"binance: NOPE: Invalid symbol \(as NOPEUSDT\); check its `binance` alias"
    ):
        binance().daily_bars(crypto("NOPE", "NOPEUSDT"), *YEAR)
    assert sandbox.calls()["total"] == 1


@pytest.mark.parametrize(
    ("status", "code", "message", "error", "requests"),
    [
        (400, -1120, "Invalid interval.", BadRequest, 1),
        (400, -1100, "Illegal characters found in parameter 'symbol'.", BadRequest, 1),
        (401, -2015, "Invalid API-key, IP, or permissions for action.", BadKey, 1),
        (400, -2014, "API-key format invalid.", BadKey, 1),
        (504, -1007, "Timeout waiting for response from backend server.", Transient, 4),
        (400, -1000, "An unknown error occurred while processing the request.", Transient, 4),
        (404, 0, "", BadRequest, 1),
    ],
)
def test_binances_error_codes_become_typed_errors(
    vendor: ScriptedVendor, status: int, code: int, message: str, error: type[Exception], requests: int
) -> None:
    with pytest.raises(error):
        fetch(vendor, Answer({"code": code, "msg": message}, status))
    assert len(vendor.asked) == requests


def test_a_refused_country_is_told_the_remedy(vendor: ScriptedVendor) -> None:
    said = {"code": 0, "msg": "Service unavailable from a restricted location according to 'b. Eligibility'"}
    with pytest.raises(NotInPlan, match="BINANCE_BASE_URL=https://data-api"):
        fetch(vendor, Answer(said, 451))
    assert len(vendor.asked) == 1


def test_retry_after_is_obeyed_before_the_next_try(sandbox: Sandbox) -> None:
    sandbox.fault("status", vendor="binance", status=429, retry_after=1, times=1)
    started = time.monotonic()
    answer = binance().daily_bars(BTC, *YEAR)
    assert time.monotonic() - started >= 1.0
    assert len(answer.bars) == 366
    assert answer.calls == 2


def test_a_ban_means_silence_until_it_ends(sandbox: Sandbox) -> None:
    sandbox.fault("status", vendor="binance", status=418, retry_after=1, times=1)
    with pytest.raises(Banned) as banned:
        binance().daily_bars(BTC, *YEAR)
    assert banned.value.retry_after == 1
    for ask in (lambda: binance().daily_bars(BTC, *YEAR), lambda: binance().test_connection()):
        with pytest.raises(BreakerOpen, match="this address is banned"):
            ask()
    assert sandbox.calls()["total"] == 1
    deadline = time.monotonic() + 10
    while True:
        try:
            answer = binance().daily_bars(BTC, *YEAR)
            break
        except BreakerOpen:
            assert time.monotonic() < deadline
    assert len(answer.bars) == 366
    assert sandbox.calls()["total"] == 2


def test_a_ban_whose_end_is_only_in_the_words_is_understood(vendor: ScriptedVendor) -> None:
    until = int((time.time() + 7200) * 1000)
    said = {"code": -1003, "msg": f"Way too much request weight used; IP banned until {until}. Please use WebSocket."}
    with pytest.raises(Banned) as banned:
        fetch(vendor, Answer(said, 418))
    assert banned.value.retry_after == pytest.approx(7200, abs=5)


def test_a_firewall_block_is_a_ban_and_not_a_retry(vendor: ScriptedVendor) -> None:
    with pytest.raises(Banned):
        fetch(vendor, Answer(b"<html><h1>403 Forbidden</h1></html>", 403))
    assert len(vendor.asked) == 1


def test_when_binances_own_count_is_nearly_full_the_next_minute_is_awaited(
    vendor: ScriptedVendor, database: Database
) -> None:
    said = {"X-MBX-USED-WEIGHT-1M": "5800", "Date": http_date(datetime(2024, 5, 2, 12, 0, 10, tzinfo=UTC))}
    fetch(vendor, Answer([], headers=said))
    with database.engine.connect() as connection:
        ahead = sa.select(sa.extract("epoch", rate_limits.c.tat - sa.func.clock_timestamp()))
        assert float(connection.execute(ahead).scalar_one()) == pytest.approx(50.0, abs=3.0)


def test_weights_are_counted_as_binance_counts_them(sandbox: Sandbox, database: Database) -> None:
    provider = binance()
    provider.daily_bars(crypto("ETH"), date(2026, 1, 1), date(2026, 1, 31))
    provider.daily_bars(crypto("BTC"), date(2026, 1, 1), date(2026, 1, 31))
    provider.test_connection()
    with database.engine.connect() as connection:
        counted = connection.execute(sa.select(api_usage.c.outcome, api_usage.c.calls, api_usage.c.weight)).all()
    assert [tuple(row) for row in counted] == [("ok", 4, 20 + 2 + 2 + 1)]


def test_a_symbol_without_alias_is_looked_up_once_and_not_guessed(sandbox: Sandbox) -> None:
    provider = binance()
    for symbol in ("ETH", "BTC", "SOL"):
        assert len(provider.daily_bars(crypto(symbol), date(2026, 1, 1), date(2026, 1, 31)).bars) == 31
    assert sandbox.calls()["by_path"] == {"/api/v3/exchangeInfo": 1, "/api/v3/klines": 3}
    with pytest.raises(UnknownSymbol, match="NOPE: there is no USDT pair of it"):
        provider.daily_bars(crypto("NOPE"), *YEAR)


PAIRS = [
    {"symbol": "BTCEUR", "baseAsset": "BTC", "quoteAsset": "EUR", "status": "TRADING"},
    {"symbol": "MATICUSDT", "baseAsset": "MATIC", "quoteAsset": "USDT", "status": "BREAK"},
    {"symbol": "1000SATSUSDT", "baseAsset": "SATS", "quoteAsset": "USDT", "status": "TRADING"},
    {"symbol": "HALF"},
    None,
]


def test_only_a_pair_against_usdt_is_taken_and_an_incomplete_one_harms_nobody(vendor: ScriptedVendor) -> None:
    vendor.will_answer(Answer({"symbols": PAIRS}), Answer([]))
    provider = binance(vendor.url)
    provider.daily_bars(crypto("SATS"), *YEAR)
    assert vendor.asked[1].query["symbol"] == "1000SATSUSDT"
    with pytest.raises(UnknownSymbol, match="no USDT pair"):
        provider.daily_bars(crypto("BTC"), *YEAR)


def test_a_paused_pair_serves_its_history_and_has_no_price(vendor: ScriptedVendor) -> None:
    tickers = [ticker("1000SATSUSDT", "0.5"), {"symbol": "OTHER"}, {}, ticker("OLDUSDT", "0.00000000")]
    vendor.will_answer(Answer({"symbols": PAIRS}), Answer([kline(YEAR[0])]), Answer(tickers))
    provider = binance(vendor.url)
    assert len(provider.daily_bars(crypto("MATIC"), *YEAR).bars) == 1
    assert vendor.asked[1].query["symbol"] == "MATICUSDT"
    quotes = provider.quotes([crypto("MATIC"), crypto("SATS"), crypto("OLD", "OLDUSDT")])
    assert quotes.rows["symbol"].tolist() == ["SATS"]
    assert {symbol: str(error) for symbol, error in quotes.failed.items()} == {
        "MATIC": "binance: MATIC: MATICUSDT is paused: it has no current price",
        "OLD": "binance: OLD: has no last price there: it may be paused or delisted",
    }


def ticker(pair: str, price: str) -> dict[str, object]:
    return {"symbol": pair, "lastPrice": price, "openPrice": price, "closeTime": 1_714_521_600_000}


def test_a_pair_prices_an_instrument_in_its_own_currency_only(vendor: ScriptedVendor) -> None:
    vendor.will_answer(Answer({"symbols": PAIRS}), Answer([]))
    provider = binance(vendor.url)
    euro = replace(crypto("BTC"), currency="EUR")
    provider.daily_bars(euro, *YEAR)
    assert vendor.asked[1].query["symbol"] == "BTCEUR"
    with pytest.raises(BadRequest, match="alias BTCUSDT is not quoted in EUR"):
        provider.daily_bars(replace(euro, aliases={"binance": "BTCUSDT"}), *YEAR)
    assert len(vendor.asked) == 2


def test_threads_that_share_a_provider_get_their_own_prices(sandbox: Sandbox) -> None:
    symbols = ["BTC", "ETH", "SOL", "XRP"]
    provider = binance()
    span = (date(2026, 1, 1), date(2026, 3, 31))
    expected = {symbol: provider.daily_bars(crypto(symbol), *span).bars["close"].sum() for symbol in symbols}
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda s: (s, provider.daily_bars(crypto(s), *span).bars["close"].sum()), symbols * 6))
    assert all(total == expected[symbol] for symbol, total in found)
    assert len(set(expected.values())) == len(symbols)


def test_the_client_pings_nobody_when_made_and_a_connection_test_does(sandbox: Sandbox) -> None:
    assert binance().test_connection() == "ping answered"
    assert sandbox.calls()["by_path"] == {"/api/v3/ping": 1}
