"""Right answers made wrong: out of order, twice, as text, as NaN, or about somebody else."""

import json
import math
import socket
import time
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from starlette.responses import Response

from financehub_dagster.sandbox.client import Sandbox
from financehub_dagster.sandbox.faults.distortions import distorted
from financehub_dagster.sandbox.vendors.vendor import json_response
from financehub_dagster_tests.contracts.sandbox.sandbox_calls import fresh, fresh_key

NOON = datetime(2026, 6, 12, 16, 0, tzinfo=UTC)
ROWS: dict[str, tuple[str, dict[str, str]]] = {
    "alpha_vantage": ("/query", {"function": "TIME_SERIES_DAILY", "symbol": "IBM"}),
    "coingecko": ("/api/v3/coins/markets", {"vs_currency": "usd"}),
    "coinmarketcap": ("/v3/cryptocurrency/quotes/latest", {"id": "1,1027,74,2,52"}),
    "finnhub": ("/api/v1/company-news", {"symbol": "IBM", "from": "2026-06-01", "to": "2026-06-10"}),
    "twelve_data": ("/time_series", {"symbol": "IBM", "interval": "1day"}),
    "newsapi": ("/v2/everything", {"q": "IBM"}),
}
EVERY = pytest.mark.parametrize("vendor", ROWS)


def document(box: Sandbox, vendor: str) -> Any:
    path, params = ROWS[vendor]
    return fresh(box, vendor, path, **params).json()


def leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for each in value.values() for leaf in leaves(each)]
    if isinstance(value, list):
        return [leaf for each in value for leaf in leaves(each)]
    return [value]


def rows_of(value: Any) -> list[Any]:
    """The longest list, or the items of the longest object by date."""
    found: list[list[Any]] = [[]]
    if isinstance(value, dict):
        found += [rows_of(each) for each in value.values()]
        found.append(list(value.items()) if all(name[:2] == "20" for name in value) else [])
    if isinstance(value, list):
        found.append(value)
    return max(found, key=len)


@pytest.fixture
def frozen(sandbox: Sandbox) -> Sandbox:
    sandbox.freeze(NOON)
    return sandbox


@EVERY
def test_shuffled_rows_are_the_same_rows_in_another_order(frozen: Sandbox, vendor: str) -> None:
    right = rows_of(document(frozen, vendor))
    frozen.fault("shuffled", vendor=vendor)
    shuffled = rows_of(document(frozen, vendor))
    assert shuffled != right
    assert sorted(map(str, shuffled)) == sorted(map(str, right))


@pytest.mark.parametrize("vendor", sorted(set(ROWS) - {"alpha_vantage"}))
def test_duplicated_rows_stand_twice(frozen: Sandbox, vendor: str) -> None:
    right = rows_of(document(frozen, vendor))
    frozen.fault("duplicated", vendor=vendor)
    assert len(rows_of(document(frozen, vendor))) == len(right) + 2


@EVERY
def test_strings_leave_no_number(frozen: Sandbox, vendor: str) -> None:
    right = leaves(document(frozen, vendor))
    frozen.fault("strings", vendor=vendor)
    textual = leaves(document(frozen, vendor))
    assert not [leaf for leaf in textual if isinstance(leaf, int | float) and not isinstance(leaf, bool)]
    numbers = [(ours, text) for ours, text in zip(right, textual, strict=True) if type(ours) in (int, float)]
    assert all(float(text) == number for number, text in numbers)


@pytest.mark.parametrize("vendor", ["alpha_vantage", "coingecko", "coinmarketcap", "twelve_data"])
def test_nan_stands_where_a_decimal_stood(frozen: Sandbox, vendor: str) -> None:
    frozen.fault("nan", vendor=vendor)
    found = leaves(document(frozen, vendor))
    assert "NaN" in found or any(isinstance(leaf, float) and math.isnan(leaf) for leaf in found)
    assert not [leaf for leaf in found if isinstance(leaf, float) and not math.isnan(leaf)]


def test_columns_side_by_side_stay_aligned(frozen: Sandbox) -> None:
    address = f"{frozen.yahoo_url}/v8/finance/chart/IBM?range=1mo&interval=1d"

    def bars() -> list[tuple[int, float]]:
        (result,) = requests.get(address, timeout=10).json()["chart"]["result"]
        return list(zip(result["timestamp"], result["indicators"]["quote"][0]["close"], strict=True))

    right = bars()
    frozen.fault("shuffled", vendor="yahoo", times=1)
    frozen.fault("duplicated", vendor="yahoo")
    shuffled, doubled = bars(), bars()
    assert shuffled != right
    assert sorted(shuffled) == right
    assert doubled == [*right, right[-1], right[0]]


@pytest.mark.parametrize(
    ("vendor", "path", "params", "asked", "answered"),
    [
        ("alpha_vantage", "/query", {"function": "GLOBAL_QUOTE", "symbol": "AAPL"}, "AAPL", "ABBV"),
        ("coingecko", "/api/v3/simple/price", {"ids": "bitcoin", "vs_currencies": "usd"}, "bitcoin", "ethereum"),
        ("coinmarketcap", "/v3/cryptocurrency/quotes/latest", {"id": "1"}, '"symbol":"BTC"', '"symbol":"ETH"'),
        ("finnhub", "/api/v1/stock/metric", {"symbol": "AAPL"}, '"AAPL"', '"ABBV"'),
        ("twelve_data", "/quote", {"symbol": "BTC/USD"}, "BTC/USD", "ETH/USD"),
        ("twelve_data", "/time_series", {"symbol": "AAPL", "interval": "1day"}, '"AAPL"', '"ABBV"'),
        ("newsapi", "/v2/everything", {"q": "AAPL"}, "(AAPL)", "(ABBV)"),
    ],
)
def test_the_wrong_symbol_is_answered_as_if_it_had_been_asked(
    frozen: Sandbox, vendor: str, path: str, params: dict[str, str], asked: str, answered: str
) -> None:
    right = fresh(frozen, vendor, path, **params).text
    frozen.fault("wrong_symbol", vendor=vendor)
    wrong = fresh(frozen, vendor, path, **params).text
    assert (asked in right, answered in right) == (True, False)
    assert (asked in wrong, answered in wrong) == (False, True)


def test_yahoo_and_binance_answer_for_another_symbol_too(frozen: Sandbox) -> None:
    frozen.fault("wrong_symbol")
    chart = requests.get(f"{frozen.yahoo_url}/v8/finance/chart/BRK-B?range=5d", timeout=10).json()
    assert chart["chart"]["result"][0]["meta"]["symbol"] == "CAT"
    klines, others = (
        requests.get(f"{frozen.binance_url}/api/v3/klines?symbol={name}&interval=1d", timeout=10).json()
        for name in ("BTCUSDT", "ETHUSDT")
    )
    frozen.clear_faults()
    address = f"{frozen.binance_url}/api/v3/klines?symbol=ETHUSDT&interval=1d"
    assert klines == requests.get(address, timeout=10).json() != others


def test_a_trickle_comes_byte_by_byte(sandbox: Sandbox) -> None:
    at = urlsplit(sandbox.url)
    path = f"/finnhub/api/v1/quote?symbol=IBM&token={fresh_key()}"
    sandbox.fault("trickle")
    with socket.create_connection((at.hostname, at.port), 10) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {at.netloc}\r\n\r\n".encode())
        began = time.monotonic()
        received = b""
        while b"\r\n\r\n{" not in received:
            received += connection.recv(65536)
    assert time.monotonic() - began >= 0.9
    assert received.endswith(b"\r\n\r\n{")


def test_what_is_no_json_stays_as_it_is() -> None:
    page = Response("<html>1.5</html>", media_type="text/html")
    assert distorted(page, "strings") is page
    refusal = distorted(json_response({"code": 1}, 429, {"X-Left": "0"}), "strings")
    assert (refusal.status_code, refusal.headers["X-Left"], json.loads(bytes(refusal.body))) == (
        429,
        "0",
        {"code": "1"},
    )
