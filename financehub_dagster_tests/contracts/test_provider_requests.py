"""What vendors with keys are sent, and what becomes of their answers, over real HTTP and through the whole gateway."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from financehub_dagster.gateway.errors import BadKey, Malformed, NotConfigured, ProviderError, QuotaSpent
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.providers.base import DailyBars, IntradayBars
from financehub_dagster.providers.binance.provider import BinanceProvider
from financehub_dagster.providers.frames import COLUMNS
from financehub_dagster.providers.yahoo.provider import YahooProvider
from financehub_dagster.settings import get_settings
from financehub_dagster_tests.contracts.scripted import Answer, Asked, ScriptedVendor, scripted_vendor
from financehub_dagster_tests.contracts.vendor_cases import ALPHA_VANTAGE, KEY, TWELVE_DATA, VENDORS, Document, Vendor

pytestmark = pytest.mark.usefixtures("books", "keys")

BARS = ["datetime64[s]", *["float64"] * 6]
MINUTES = ["datetime64[s]", *["float64"] * 5]
CASES = [
    pytest.param(vendor, document, id=f"{vendor.name}-{document.answers[0]}-{document.capability}")
    for vendor in VENDORS
    for document in vendor.documents
]
EVERY_VENDOR = pytest.mark.parametrize("vendor", VENDORS, ids=lambda vendor: vendor.name)


@pytest.fixture
def server() -> Iterator[ScriptedVendor]:
    with scripted_vendor(Answer({})) as server:
        yield server


def provider(vendor: Vendor, server: ScriptedVendor, **fields: Any) -> Any:
    return vendor.provider(**{"base_url": server.url, "first_pause": 0.001, **vendor.fields, **fields})


def asked(vendor: Vendor, server: ScriptedVendor, document: Document, *answers: Answer) -> Any:
    """The outcome of asking for a document: what the provider returns, or the error it raises."""
    server.will_answer(*answers)
    try:
        return document.ask(provider(vendor, server))
    except ProviderError as error:
        return error


def recorded(vendor: Vendor, document: Document) -> list[Answer]:
    return [Answer(vendor.load(name)) for name in document.answers]


def carried(request: Asked, vendor: Vendor) -> str:
    """The key where this vendor wants it, without what stands before it."""
    place, name = vendor.key
    found = request.headers.get(name, "") if place == "header" else request.query.get(name, "")
    return found.removeprefix("apikey ")


@pytest.mark.parametrize(("vendor", "document"), CASES)
def test_a_recorded_answer_becomes_the_declared_rows(
    vendor: Vendor, document: Document, server: ScriptedVendor
) -> None:
    answer = asked(vendor, server, document, *recorded(vendor, document))
    frame: pd.DataFrame = answer.bars if isinstance(answer, DailyBars | IntradayBars) else answer.rows
    if isinstance(answer, DailyBars):
        assert frame.dtypes.astype(str).tolist() == BARS
        assert frame["date"].is_monotonic_increasing
        assert frame["date"].is_unique
    elif isinstance(answer, IntradayBars):
        assert frame.dtypes.astype(str).tolist() == MINUTES
        assert frame["ts"].is_monotonic_increasing
    else:
        assert frame.dtypes.astype(str).to_dict() == COLUMNS[document.capability]
        assert {symbol: type(error).__name__ for symbol, error in answer.failed.items()} == document.failed
    first = frame.iloc[0].to_dict()
    assert {name: first[name] for name in document.first} == document.first
    assert answer.source == vendor.name
    assert answer.calls == len(server.asked) == len(document.answers)


@EVERY_VENDOR
def test_the_key_travels_where_the_vendor_wants_it_and_nowhere_else(vendor: Vendor, server: ScriptedVendor) -> None:
    document = vendor.documents[0]
    asked(vendor, server, document, *recorded(vendor, document))
    for request in server.asked:
        assert carried(request, vendor) == KEY
        everything = [*request.headers.values(), *request.query.values(), request.path]
        assert len([text for text in everything if KEY in text]) == 1


@EVERY_VENDOR
def test_a_vendor_without_a_key_is_off_and_nothing_is_sent(
    vendor: Vendor, server: ScriptedVendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(f"{vendor.name.upper()}_API_KEYS")
    get_settings.cache_clear()
    error = asked(vendor, server, vendor.documents[0], Answer({}))
    assert isinstance(error, NotConfigured)
    assert server.asked == []


@EVERY_VENDOR
def test_a_bad_key_is_tried_once_and_never_shown(vendor: Vendor, server: ScriptedVendor) -> None:
    refused = next(each for each in vendor.errors if each["error"] == "BadKey")
    body = json.loads(json.dumps(refused["body"]).replace("CANARY-KEY-7731", KEY))
    error = asked(vendor, server, vendor.documents[0], Answer(body, refused["status"]))
    assert isinstance(error, BadKey)
    assert len(server.asked) == 1
    assert KEY not in str(error)


@EVERY_VENDOR
def test_garbage_is_asked_for_four_times(vendor: Vendor, server: ScriptedVendor) -> None:
    error = asked(vendor, server, vendor.documents[0], Answer(b'{"half": [1, 2'))
    assert isinstance(error, Malformed)
    assert len(server.asked) == 4


@EVERY_VENDOR
def test_an_answer_that_is_whole_the_second_time_is_taken(vendor: Vendor, server: ScriptedVendor) -> None:
    document = vendor.documents[0]
    answer = asked(vendor, server, document, Answer(b"<html>", 502), *recorded(vendor, document))
    assert not isinstance(answer, ProviderError)
    assert answer.calls == len(document.answers) + 1


def test_a_spent_day_ends_the_asking_and_keeps_what_came_before(server: ScriptedVendor) -> None:
    spent = next(each for each in ALPHA_VANTAGE.errors if each["error"] == "QuotaSpent")
    server.will_answer(Answer(ALPHA_VANTAGE.load("global_quote")), Answer(spent["body"]))
    instruments = [Instrument(each, each, AssetType.STOCK, "XNAS") for each in ("MSFT", "SECOND", "THIRD", "FOURTH")]
    answer = provider(ALPHA_VANTAGE, server).quotes(instruments)
    assert answer.rows["symbol"].tolist() == ["MSFT"]
    assert list(answer.failed) == ["SECOND", "THIRD", "FOURTH"]
    assert {type(error) for error in answer.failed.values()} == {QuotaSpent}
    assert len(server.asked) == 2


def cryptos(count: int) -> list[Instrument]:
    return [
        Instrument(
            f"C{n}", f"Coin {n}", AssetType.CRYPTO, "XXXX",
            aliases={"coingecko": f"coin-{n}", "coinmarketcap": str(n), "binance": f"C{n}USDT", "yahoo": f"C{n}-USD"},
        )
        for n in range(1, count + 1)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "capability", "empty", "requests"),
    [
        ("coingecko", "quotes", {}, 1),
        ("coingecko", "crypto_markets", [], 1),
        ("coinmarketcap", "quotes", {"status": {"error_code": 0}, "data": []}, 2),
        ("coinmarketcap", "crypto_markets", {"status": {"error_code": 0}, "data": []}, 2),
        ("twelve_data", "quotes", {}, 2),
    ],
)
def test_quotes_of_two_hundred_instruments_take_a_handful_of_requests(
    server: ScriptedVendor, name: str, capability: str, empty: Any, requests: int
) -> None:
    vendor = next(each for each in VENDORS if each.name == name)
    server.will_answer(Answer(empty))
    answer = getattr(provider(vendor, server), capability)(cryptos(200))
    assert len(answer.failed) == 200
    assert answer.calls == len(server.asked) == requests


def test_all_quotes_of_binance_are_one_request_and_a_bad_symbol_fails_alone(server: ScriptedVendor) -> None:
    ticker = {"lastPrice": "1.5", "openPrice": "1.0", "highPrice": "2", "lowPrice": "1", "volume": "7"}
    listed = [{"symbol": f"C{n}USDT", **ticker, "closeTime": 1_700_000_000_000} for n in range(1, 200)]
    listed[0]["lastPrice"] = "0.00000000"
    server.will_answer(Answer(listed))
    answer = BinanceProvider(base_url=server.url).quotes(cryptos(200))
    assert len(server.asked) == 1
    assert len(answer.rows) == 198
    assert {symbol: type(error).__name__ for symbol, error in answer.failed.items()} == {
        "C1": "BadRequest",
        "C200": "UnknownSymbol",
    }


def test_quotes_of_yahoo_are_one_request_per_fifty_and_one_cookie_and_crumb(server: ScriptedVendor) -> None:
    quote = {"currency": "USD", "regularMarketPrice": 2.5, "regularMarketTime": 1_700_000_000}
    listed = [{"symbol": f"C{n}-USD", **quote} for n in range(1, 200)]
    quotes = Answer({"quoteResponse": {"result": listed, "error": None}})
    server.will_answer(Answer(b"", 404), Answer(b"a.crumb"), quotes)
    yahoo = YahooProvider(base_url=server.url, requests_per_second=1000)
    answer = yahoo.quotes(cryptos(200))
    assert [each.path for each in server.asked] == ["/", "/v1/test/getcrumb", *["/v7/finance/quote"] * 4]
    assert {each.query.get("crumb") for each in server.asked[2:]} == {"a.crumb"}
    assert len(answer.rows) == 199
    assert list(answer.failed) == ["C200"]


def test_recorded_quotes_of_yahoo_become_rows(server: ScriptedVendor) -> None:
    recorded = json.loads((Path(__file__).parent / "recorded" / "yahoo_quotes.json").read_text())
    server.will_answer(Answer(b"", 404), Answer(b"a.crumb"), Answer(recorded))
    stocks = [Instrument(symbol, symbol, AssetType.STOCK, "XNAS") for symbol in ("AAPL", "BABA")]
    rows = YahooProvider(base_url=server.url, requests_per_second=1000).quotes(stocks).rows
    assert rows.dtypes.astype(str).to_dict() == COLUMNS["quotes"]
    assert rows["price"].tolist() == [244.6, 124.73]
    assert rows["previous_close"].tolist()[0] == 241.53
    assert rows["quoted_at"].tolist()[0] == datetime.fromtimestamp(1739566800, UTC)


def test_a_crumb_that_yahoo_no_longer_takes_is_replaced_once(server: ScriptedVendor) -> None:
    quote = {"symbol": "C1-USD", "currency": "USD", "regularMarketPrice": 2.5, "regularMarketTime": 1_700_000_000}
    quotes = Answer({"quoteResponse": {"result": [quote], "error": None}})
    refused = Answer(
        {"finance": {"result": None, "error": {"code": "Unauthorized", "description": "Invalid Crumb"}}}, 401
    )
    server.will_answer(Answer(b"", 404), Answer(b"old"), refused, Answer(b"", 404), Answer(b"new"), quotes)
    answer = YahooProvider(base_url=server.url, requests_per_second=1000).quotes(cryptos(1))
    assert [each.query.get("crumb") for each in server.asked] == [None, None, "old", None, None, "new"]
    assert len(answer.rows) == 1


def test_prices_of_alpha_vantage_are_put_on_the_basis_after_every_split(server: ScriptedVendor) -> None:
    server.will_answer(Answer(ALPHA_VANTAGE.load("time_series_daily_adjusted")))
    ibm = Instrument("IBM", "IBM", AssetType.STOCK, "XNYS", "USD", "America/New_York")
    answer = provider(ALPHA_VANTAGE, server, premium=True).daily_bars(ibm, date(2024, 5, 1), date(2024, 5, 3))
    assert answer.bars["close"].tolist() == [164.43 / 2, 164.69 / 2, 82.86]
    assert answer.bars["adj_close"].tolist() == [81.385, 82.345, 82.86]
    actions = [tuple(row) for row in answer.actions.itertuples(index=False)]
    assert actions == [
        (datetime(2024, 5, 1), "dividend", 0.83),  # noqa: DTZ001  (session dates are naive)
        (datetime(2024, 5, 3), "split", 2.0),  # noqa: DTZ001
    ]
    assert answer.calls == 1


def test_no_bars_at_twelve_data_is_an_answer_although_it_is_written_as_an_error(server: ScriptedVendor) -> None:
    answer = asked(TWELVE_DATA, server, TWELVE_DATA.documents[0], Answer(TWELVE_DATA.load("no_data"), 400))
    assert isinstance(answer, DailyBars)
    assert answer.bars.empty
