"""The sandbox speaks Binance's wire format: the real python-binance gets the recorded prices back to the last digit."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from itertools import pairwise
from typing import Any

import pytest
import requests
from binance.client import Client
from binance.exceptions import BinanceAPIException

from financehub_dagster.sandbox.client import Sandbox
from financehub_dagster.sandbox.market.recordings import recorded_daily, recorded_intraday

DAY = 86_400_000


@pytest.fixture
def binance(sandbox: Sandbox) -> Iterator[Client]:
    client = Client(api_key="a-key-of-its-own", ping=False)
    client.API_URL = f"{sandbox.binance_url}/api"
    yield client
    client.close_connection()


def klines(box: Sandbox, **query: Any) -> requests.Response:
    return requests.get(f"{box.binance_url}/api/v3/klines", params=query, timeout=10)


def milliseconds(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def test_python_binance_gets_every_recorded_bitcoin_day_to_the_last_digit_in_pages_of_1000(binance: Client) -> None:
    recording = recorded_daily("BTC")
    last = int(recording.date[-1].astype("datetime64[ms]").astype(int))
    rows: list[list[Any]] = []
    start, pages = 0, 0
    while page := binance.get_klines(symbol="BTCUSDT", interval="1d", startTime=start, endTime=last, limit=1000):
        rows += page
        pages += 1
        start = page[-1][0] + 1
    assert pages == 6
    assert [row[0] for row in rows] == recording.date.astype("datetime64[ms]").astype(int).tolist()
    columns = (recording.open, recording.high, recording.low, recording.close, recording.volume)
    for position, column in enumerate(columns, start=1):
        assert [float(row[position]) for row in rows] == column.tolist()
    assert all(row[6] == row[0] + DAY - 1 for row in rows)


def test_recorded_five_minute_bars_come_back_and_add_up_to_longer_ones(binance: Client) -> None:
    recording = next(each for each in recorded_intraday() if each.symbol == "ETH")
    span = {"startTime": int(recording.open_time[0]) * 1000, "endTime": int(recording.open_time[-1]) * 1000}
    fives = binance.get_klines(symbol="ETHUSDT", interval="5m", limit=1000, **span)
    assert [row[0] // 1000 for row in fives] == recording.open_time.tolist()
    assert [float(row[4]) for row in fives] == recording.close.tolist()
    quarters = binance.get_klines(symbol="ETHUSDT", interval="15m", limit=1000, **span)
    three = [row for row in fives if quarters[1][0] <= row[0] <= quarters[1][6]]
    assert len(three) == 3
    assert quarters[1][1:5] == [
        three[0][1],
        max((row[2] for row in three), key=float),
        min((row[3] for row in three), key=float),
        three[-1][4],
    ]


def test_start_and_end_choose_rows_as_documented(sandbox: Sandbox) -> None:
    sandbox.freeze(datetime(2026, 1, 15, 12, tzinfo=UTC))
    base = {"symbol": "BTCUSDT", "interval": "1d"}
    start, end = milliseconds("2020-01-01"), milliseconds("2020-01-10")

    def days(**query: Any) -> list[str]:
        rows = klines(sandbox, **base, **query).json()
        return [datetime.fromtimestamp(row[0] / 1000, UTC).date().isoformat() for row in rows]

    assert days(startTime=start, limit=2) == ["2020-01-01", "2020-01-02"]
    assert days(endTime=end, limit=2) == ["2020-01-09", "2020-01-10"]
    assert days(startTime=start, endTime=end, limit=2) == ["2020-01-01", "2020-01-02"]
    assert days(startTime=start + 1, endTime=end - 1)[:1] + days(startTime=start, endTime=end - 1)[-1:] == [
        "2020-01-02",
        "2020-01-09",
    ]
    assert days(limit=2) == ["2026-01-14", "2026-01-15"]
    assert days(startTime=end, endTime=start) == []
    assert len(days()) == 500
    assert len(days(limit=5000)) == 1000


def test_the_last_kline_is_unfinished(sandbox: Sandbox) -> None:
    query = {"symbol": "SOLUSDT", "interval": "1d", "limit": 1}
    sandbox.freeze(datetime(2025, 5, 5, 6, 0, tzinfo=UTC))
    running = klines(sandbox, **query).json()[0]
    assert running[0] == milliseconds("2025-05-05")
    assert running[6] > milliseconds("2025-05-05T06:00:00")
    sandbox.freeze(datetime(2025, 5, 6, 0, 0, tzinfo=UTC))
    finished = klines(sandbox, **query | {"endTime": running[0]}).json()[0]
    assert finished[:2] == running[:2]
    assert 0 < float(running[5]) < float(finished[5])


def test_gaps_of_the_recording_stay_gaps(sandbox: Sandbox) -> None:
    start = milliseconds("2013-06-22")
    rows = klines(sandbox, symbol="BTCUSDT", interval="1d", startTime=start, limit=3).json()
    assert [(row[0] - start) // DAY for row in rows] == [0, 2, 3]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"symbol": "NOSUCHUSDT", "interval": "1d"}, -1121),
        ({"symbol": "btc/usd", "interval": "1d"}, -1100),
        ({"symbol": "BTCUSDT", "interval": "2d"}, -1120),
        ({"symbol": "BTCUSDT"}, -1102),
        ({"interval": "1d"}, -1102),
        ({"symbol": "BTCUSDT", "interval": "1d", "startTime": "yesterday"}, -1100),
        ({"symbol": "BTCUSDT", "interval": "1d", "limit": "-1"}, -1100),
    ],
)
def test_bad_parameters_get_binances_code(binance: Client, query: dict[str, Any], code: int) -> None:
    with pytest.raises(BinanceAPIException) as refused:
        binance.get_klines(**query)
    assert (refused.value.status_code, refused.value.code) == (400, code)


def test_an_interval_that_is_not_simulated_is_never_mistaken_for_no_data(binance: Client) -> None:
    with pytest.raises(BinanceAPIException, match="ask for 1d") as refused:
        binance.get_klines(symbol="BTCUSDT", interval="1w")
    assert refused.value.status_code == 501


def test_tickers_agree_with_the_last_kline(sandbox: Sandbox, binance: Client) -> None:
    sandbox.freeze(datetime(2025, 3, 1, 12, tzinfo=UTC))
    last = binance.get_klines(symbol="ETHUSDT", interval="1d", limit=1)[0]
    tickers = {row["symbol"]: row for row in binance.get_ticker(type="MINI")}
    assert len(tickers) == 20
    assert [tickers["ETHUSDT"][name] for name in ("openPrice", "highPrice", "lowPrice", "lastPrice")] == last[1:5]


@pytest.mark.parametrize("query", [{}, {"type": "FULL"}, {"type": "MINI", "symbol": "ETHUSDT"}])
def test_a_ticker_that_is_not_played_is_never_mistaken_for_another(binance: Client, query: dict[str, str]) -> None:
    with pytest.raises(BinanceAPIException, match="The sandbox") as refused:
        binance.get_ticker(**query)
    assert refused.value.status_code == 501


def test_exchange_info_names_symbols_assets_and_limits(binance: Client) -> None:
    info = binance.get_exchange_info()
    bitcoin = next(each for each in info["symbols"] if each["symbol"] == "BTCUSDT")
    assert (bitcoin["baseAsset"], bitcoin["quoteAsset"], bitcoin["status"]) == ("BTC", "USDT", "TRADING")
    assert len(info["symbols"]) == 20
    assert info["rateLimits"][0] == {
        "rateLimitType": "REQUEST_WEIGHT",
        "interval": "MINUTE",
        "intervalNum": 1,
        "limit": 6000,
    }


def test_every_answer_tells_the_used_weight(sandbox: Sandbox, binance: Client) -> None:
    binance.ping()
    weights = []
    for call in (binance.ping, lambda: binance.get_klines(symbol="BTCUSDT", interval="1d"), binance.get_exchange_info):
        call()
        weights.append(int(binance.response.headers["X-MBX-USED-WEIGHT-1M"]))
    steps = [later - earlier for earlier, later in pairwise(weights)]
    # The counter starts again with each minute, which may fall between two of these calls.
    assert steps == [2, 20] or weights[-1] <= 23


def test_too_much_weight_is_refused_and_going_on_is_banned(sandbox: Sandbox, binance: Client) -> None:
    sandbox.limit("binance", calls=0)
    with pytest.raises(BinanceAPIException) as refused:
        binance.get_klines(symbol="BTCUSDT", interval="1d")
    assert (refused.value.status_code, refused.value.code) == (429, -1003)
    assert 1 <= int(refused.value.response.headers["Retry-After"]) <= 60
    answers = [klines(sandbox, symbol="BTCUSDT", interval="1d") for _ in range(30)]
    assert {answer.status_code for answer in answers} == {429, 418}
    banned = answers[-1]
    assert banned.status_code == 418
    assert 60 < int(banned.headers["Retry-After"]) <= 121


def test_invented_cryptos_trade_at_both_vendors_at_one_price(sandbox: Sandbox, binance: Client) -> None:
    sandbox.freeze(datetime(2024, 6, 1, 1, tzinfo=UTC))
    sandbox.list_synthetic(3, prefix="COIN", asset_type="crypto")
    close = float(binance.get_klines(symbol="COIN0003USDT", interval="1d", limit=1)[0][4])
    chart = requests.get(f"{sandbox.yahoo_url}/v8/finance/chart/COIN0003-USD", {"range": "1d"}, timeout=10).json()
    assert chart["chart"]["result"][0]["meta"]["regularMarketPrice"] == pytest.approx(close, rel=1e-6)


def test_bad_bars_are_served_as_set(sandbox: Sandbox) -> None:
    sandbox.set_bar("ETH", date(2022, 2, 2), high=1.0, low=2.0, close=-3.0)
    row = klines(sandbox, symbol="ETHUSDT", interval="1d", startTime=milliseconds("2022-02-02"), limit=1).json()[0]
    assert [row[2], row[3], row[4]] == ["1.00000000", "2.00000000", "-3.00000000"]
