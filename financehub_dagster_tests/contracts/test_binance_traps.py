"""What is particular about Binance and python-binance, through the real client over real HTTP."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from financehub_dagster.gateway.errors import (
    BadKey,
    BadRequest,
    Banned,
    BreakerOpen,
    Malformed,
    NotInPlan,
    Transient,
    UnknownSymbol,
)
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.providers.base import DailyBars
from financehub_dagster.providers.binance import BinanceProvider
from financehub_dagster.sandbox.client import Sandbox
from financehub_dagster.storage.tables import api_usage, rate_limits
from financehub_dagster_tests.contracts.charts import http_date
from financehub_dagster_tests.contracts.scripted import Answer, ScriptedVendor, scripted_vendor
from financehub_dagster_tests.fixtures.database import Database

pytestmark = pytest.mark.usefixtures("database")

DAY = 86_400_000
BTC = Instrument("BTC", "Bitcoin", AssetType.CRYPTO, "XXXX", "USD", "UTC", aliases={"binance": "BTCUSDT"})
YEAR = (date(2024, 1, 1), date(2024, 12, 31))


@pytest.fixture
def vendor() -> Iterator[ScriptedVendor]:
    with scripted_vendor(Answer([])) as vendor:
        yield vendor


def crypto(symbol: str, alias: str | None = None) -> Instrument:
    aliases = {} if alias is None else {"binance": alias}
    return Instrument(symbol, symbol, AssetType.CRYPTO, "XXXX", "USD", "UTC", aliases=aliases)


def binance(base_url: str | None = None, **fields: Any) -> BinanceProvider:
    return BinanceProvider(base_url=base_url, **{"first_pause": 0.001, **fields})


def kline(day: date, *numbers: str) -> list[Any]:
    opened = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1000
    values = numbers or ("1.1", "2.2", "0.5", "1.5", "10.25")
    return [opened, *values, opened + DAY - 1, "15.0", 3, "5.0", "7.5", "0"]


def fetch(vendor: ScriptedVendor, *answers: Answer) -> DailyBars:
    vendor.will_answer(*answers)
    return binance(vendor.url).daily_bars(BTC, *YEAR)


@pytest.mark.parametrize(("sessions", "requests"), [(1, 1), (999, 1), (1000, 1), (1001, 2), (2000, 2), (2001, 3)])
def test_history_is_paged_at_a_thousand_bars_with_no_request_too_many(
    sandbox: Sandbox, sessions: int, requests: int
) -> None:
    start = date(2016, 1, 1)
    answer = binance().daily_bars(BTC, start, start + timedelta(days=sessions - 1))
    assert len(answer.bars) == sessions
    assert answer.bars["date"].diff().dropna().eq(timedelta(days=1)).all()
    assert sandbox.calls()["by_path"] == {"/api/v3/klines": requests}
    assert answer.calls == requests


def test_a_start_before_the_listing_begins_with_the_first_bar_there_is(sandbox: Sandbox) -> None:
    from_the_first = binance().daily_bars(BTC, date(2000, 1, 1), date(2026, 1, 1)).bars
    assert from_the_first["date"].is_unique
    assert from_the_first["date"].is_monotonic_increasing
    assert sandbox.calls()["total"] == -(-len(from_the_first) // 1000)


def test_gaps_in_the_history_are_paged_over(vendor: ScriptedVendor) -> None:
    first = [kline(date(2017, 1, 1) + timedelta(days=2 * n)) for n in range(1000)]
    rest = [kline(date(2023, 1, 1))]
    vendor.will_answer(Answer(first), Answer(rest))
    answer = binance(vendor.url).daily_bars(BTC, date(2017, 1, 1), date(2023, 12, 31))
    assert len(answer.bars) == 1001
    assert vendor.asked[1].query["startTime"] == str(first[-1][0] + DAY)


def test_a_page_that_does_not_advance_ends_in_an_error_and_not_in_a_loop(vendor: ScriptedVendor) -> None:
    page = [kline(date(2016, 1, 1) + timedelta(days=n)) for n in range(1000)]
    vendor.will_answer(Answer(page))
    with pytest.raises(Malformed, match="does not advance"):
        binance(vendor.url).daily_bars(BTC, date(2019, 1, 1), date(2023, 12, 31))
    assert len(vendor.asked) == 1


def test_the_end_of_the_last_day_is_asked_for_but_not_the_next_day(vendor: ScriptedVendor) -> None:
    fetch(vendor, Answer([]))
    asked = vendor.asked[0].query
    assert asked["endTime"] == str(int(datetime(2025, 1, 1, tzinfo=UTC).timestamp()) * 1000 - 1)
    assert (asked["interval"], asked["limit"], asked["symbol"]) == ("1d", "1000", "BTCUSDT")


def test_strings_become_the_nearest_double_down_to_the_last_digit(vendor: ScriptedVendor) -> None:
    numbers = ("0.00000001", "96500.12345678", "0.00000001", "0.10000000", "148976.11427815")
    bars = fetch(vendor, Answer([kline(date(2024, 5, 1), *numbers)])).bars
    row = bars.iloc[0]
    assert [row.open, row.high, row.low, row.close, row.volume] == [float(number) for number in numbers]
    assert row.adj_close == row.close
    assert bars.dtypes.astype(str).tolist() == ["datetime64[s]", *["float64"] * 6]


def test_a_day_without_trades_is_a_bar(vendor: ScriptedVendor) -> None:
    bars = fetch(vendor, Answer([kline(date(2024, 5, 1), "1.0", "1.0", "1.0", "1.0", "0.00000000")])).bars
    assert bars["volume"].tolist() == [0.0]


def test_the_running_day_is_left_out_by_binances_clock(vendor: ScriptedVendor) -> None:
    rows = [kline(date(2024, 5, 1)), kline(date(2024, 5, 2))]
    midday = {"Date": http_date(datetime(2024, 5, 2, 12, tzinfo=UTC))}
    midnight = {"Date": http_date(datetime(2024, 5, 3, tzinfo=UTC))}
    assert len(fetch(vendor, Answer(rows, headers=midday)).bars) == 1
    assert len(fetch(vendor, Answer(rows, headers=midnight)).bars) == 2


def test_the_sandboxs_running_day_is_left_out(sandbox: Sandbox) -> None:
    today = datetime.now(UTC).date()
    bars = binance().daily_bars(BTC, today - timedelta(days=3), today).bars
    assert bars["date"].max().date() < datetime.now(UTC).date()
    assert len(bars) >= 3


def test_duplicates_and_disorder_are_cleared_up(vendor: ScriptedVendor) -> None:
    first, second = date(2024, 5, 1), date(2024, 5, 2)
    rows = [kline(second), kline(first), kline(second, "9", "9", "9", "9", "9")]
    bars = fetch(vendor, Answer(rows)).bars
    assert [day.date() for day in bars["date"]] == [first, second]
    assert bars["close"].tolist() == [1.5, 9.0]


@pytest.mark.parametrize(
    "body",
    [
        {},
        b"",
        b"<html>maintenance</html>",
        b'[[1714521600000, "1.1"',
        [[1714521600000, "1.1"]],
        [kline(date(2024, 5, 1), "1", "NaN", "1", "1", "1")],
        [kline(date(2024, 5, 1), "1", "Infinity", "1", "1", "1")],
        [kline(date(2024, 5, 1), "1", "", "1", "1", "1")],
        [[row + 1 if isinstance(row, int) else row for row in kline(date(2024, 5, 1))]],
    ],
)
def test_what_is_no_list_of_daily_klines_is_malformed_after_four_tries(vendor: ScriptedVendor, body: Any) -> None:
    with pytest.raises(Malformed):
        fetch(vendor, Answer(body))
    assert len(vendor.asked) == 4


def test_no_bars_is_an_answer_and_not_an_error(vendor: ScriptedVendor) -> None:
    answer = fetch(vendor, Answer([]))
    assert answer.bars.empty
    assert answer.actions.empty
    assert list(answer.bars.columns) == ["date", "open", "high", "low", "close", "adj_close", "volume"]


def test_an_unknown_symbol_is_minus_1121_and_costs_one_request(sandbox: Sandbox) -> None:
    with pytest.raises(UnknownSymbol, match=r"binance: NOPE: Invalid symbol\. Check its `binance` alias"):
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
    with pytest.raises(UnknownSymbol, match="NOPE: no USDT pair trades it"):
        provider.daily_bars(crypto("NOPE"), *YEAR)


def test_only_a_pair_that_trades_against_usdt_is_taken(vendor: ScriptedVendor) -> None:
    pairs = [
        {"symbol": "BTCEUR", "baseAsset": "BTC", "quoteAsset": "EUR", "status": "TRADING"},
        {"symbol": "LUNAUSDT", "baseAsset": "LUNA", "quoteAsset": "USDT", "status": "BREAK"},
        {"symbol": "1000SATSUSDT", "baseAsset": "SATS", "quoteAsset": "USDT", "status": "TRADING"},
    ]
    vendor.will_answer(Answer({"symbols": pairs}), Answer([]))
    provider = binance(vendor.url)
    provider.daily_bars(crypto("SATS"), *YEAR)
    assert vendor.asked[1].query["symbol"] == "1000SATSUSDT"
    for symbol in ("BTC", "LUNA"):
        with pytest.raises(UnknownSymbol):
            provider.daily_bars(crypto(symbol), *YEAR)


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
    report = binance().test_connection()
    assert (report.provider, report.calls) == ("binance", 1)
    assert sandbox.calls()["by_path"] == {"/api/v3/ping": 1}
