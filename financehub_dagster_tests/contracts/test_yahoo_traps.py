"""What yfinance does behind one's back, and that it does not do it here: counted at a server, over real HTTP."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import date

import pytest

from financehub_dagster.gateway.errors import Malformed, Transient, UnknownSymbol
from financehub_dagster.gateway.request_context import OutsideOfCall
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.providers.yahoo.provider import YahooProvider
from financehub_dagster.sandbox.client import Sandbox
from financehub_dagster_tests.contracts.charts import chart, weekdays
from financehub_dagster_tests.contracts.scripted import Answer, scripted_vendor
from financehub_dagster_tests.fixtures.database import Database

pytestmark = pytest.mark.usefixtures("database")

SPAN = (date(2015, 1, 1), date(2015, 12, 31))


@pytest.fixture
def database(shared_database: Database) -> Database:
    """One for the module: these tests write the gateway's state alone."""
    return shared_database


def stock(symbol: str) -> Instrument:
    return Instrument(symbol, symbol, AssetType.STOCK, "XNAS", "USD", "America/New_York")


def yahoo(base_url: str | None = None) -> YahooProvider:
    return YahooProvider(base_url=base_url, requests_per_second=1000, first_pause=0.001)


def test_each_instrument_costs_one_request_and_nothing_else_is_asked(sandbox: Sandbox) -> None:
    provider = yahoo()
    for symbol in ("AAPL", "MSFT", "INTC"):
        answer = provider.daily_bars(stock(symbol), *SPAN)
        assert len(answer.bars) == 252
        assert answer.calls == 1
    assert sandbox.calls()["by_path"] == {f"/v8/finance/chart/{symbol}": 1 for symbol in ("AAPL", "MSFT", "INTC")}


def test_the_host_yahoo_would_see_travels_with_the_request_and_no_crumb_does() -> None:
    with scripted_vendor(Answer(chart(weekdays(date(2024, 3, 4), 2)))) as vendor:
        yahoo(vendor.url).daily_bars(stock("AAPL"), *SPAN)
    assert vendor.asked[0].headers["host"] == "query2.finance.yahoo.com"
    assert "crumb" not in vendor.asked[0].query


def test_a_prefix_of_the_stand_in_address_is_kept() -> None:
    with scripted_vendor(Answer(chart(weekdays(date(2024, 3, 4), 2)))) as vendor:
        yahoo(f"{vendor.url}/yahoo/").daily_bars(stock("AAPL"), *SPAN)
    assert vendor.asked[0].path == "/yahoo/v8/finance/chart/AAPL"


def test_an_unknown_symbol_costs_one_request_and_says_what_it_is(sandbox: Sandbox) -> None:
    for symbol in ("NOSUCH1", "NOSUCH2", "NOSUCH3"):
        with pytest.raises(
            UnknownSymbol, match=f"yahoo: {symbol}: No data found, symbol may be delisted; check the symbol"
        ):
            yahoo().daily_bars(stock(symbol), *SPAN)
    assert sandbox.calls()["total"] == 3


def test_an_unknown_symbol_does_not_stop_the_others(sandbox: Sandbox) -> None:
    provider = yahoo()
    with pytest.raises(UnknownSymbol):
        provider.daily_bars(stock("NOSUCH"), *SPAN)
    assert len(provider.daily_bars(stock("AAPL"), *SPAN).bars) == 252
    assert sandbox.calls()["total"] == 2


@pytest.mark.parametrize("kind", ["html", "empty", "garbage", "truncated"])
def test_a_failure_is_not_remembered_once_yahoo_has_recovered(sandbox: Sandbox, kind: str) -> None:
    sandbox.fault(kind, vendor="yahoo", symbol="AAPL")
    with pytest.raises(Malformed):
        yahoo().daily_bars(stock("AAPL"), *SPAN)
    sandbox.clear_faults()
    assert len(yahoo().daily_bars(stock("AAPL"), *SPAN).bars) == 252


def test_an_error_page_is_not_remembered_once_yahoo_has_recovered(sandbox: Sandbox) -> None:
    sandbox.fault("status", vendor="yahoo", status=404, times=1)
    with pytest.raises(UnknownSymbol):
        yahoo().daily_bars(stock("AAPL"), *SPAN)
    assert len(yahoo().daily_bars(stock("AAPL"), *SPAN).bars) == 252


def test_the_same_question_is_asked_again_so_that_corrections_arrive(sandbox: Sandbox) -> None:
    before = yahoo().daily_bars(stock("AAPL"), *SPAN).bars
    sandbox.set_bar("AAPL", date(2015, 6, 1), close=130.25)
    after = yahoo().daily_bars(stock("AAPL"), *SPAN).bars
    changed = before["close"] != after["close"]
    assert after.loc[changed, "close"].tolist() == [130.25]
    assert sandbox.calls()["total"] == 2


def test_two_providers_at_once_each_ask_their_own_vendor() -> None:
    days = weekdays(date(2015, 3, 2), 3)
    together = threading.Barrier(8)
    with (
        scripted_vendor(Answer(chart(days, close=[1.0, 1.0, 1.0]))) as first,
        scripted_vendor(Answer(chart(days, close=[2.0, 2.0, 2.0]))) as second,
    ):

        def fetch(position: int) -> tuple[int, set[float]]:
            provider = yahoo((first, second)[position % 2].url)
            together.wait(timeout=30)
            bars = [provider.daily_bars(stock("AAPL"), *SPAN).bars for _ in range(5)]
            return position % 2, {close for frame in bars for close in frame["close"]}

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(fetch, range(8)))
    assert all(closes == {float(which + 1)} for which, closes in answers)
    assert (len(first.asked), len(second.asked)) == (20, 20)


def test_threads_that_share_a_provider_get_their_own_symbols(sandbox: Sandbox) -> None:
    symbols = ["AAPL", "MSFT", "INTC", "IBM", "GE", "KO", "JNJ", "PFE"]
    provider = yahoo()
    expected = {symbol: provider.daily_bars(stock(symbol), *SPAN).bars["close"].sum() for symbol in symbols}
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda s: (s, provider.daily_bars(stock(s), *SPAN).bars["close"].sum()), symbols * 3))
    assert all(total == expected[symbol] for symbol, total in found)
    assert len(set(expected.values())) == len(symbols)


def test_no_connection_is_a_typed_error_and_not_an_empty_frame() -> None:
    with pytest.raises(Transient, match="nothing answers at 127.0.0.1:1"):
        yahoo("http://127.0.0.1:1").daily_bars(stock("AAPL"), *SPAN)


def test_yfinance_cannot_reach_the_network_past_the_gateway() -> None:
    from financehub_dagster.providers.yahoo import client

    with pytest.raises(OutsideOfCall):
        client.client().get("https://query2.finance.yahoo.com/v8/finance/chart/AAPL")


def test_a_connection_test_takes_one_request(sandbox: Sandbox) -> None:
    assert yahoo().test_connection().startswith("SPY last traded ")
    assert sandbox.calls()["by_path"] == {"/v8/finance/chart/SPY": 1}


def test_the_reason_is_what_yahoo_answered_also_where_another_try_finds_no_slot() -> None:
    with scripted_vendor(Answer(b"<html>")) as vendor:
        slow = YahooProvider(base_url=vendor.url, requests_per_second=0.001, first_pause=0.001)
        with pytest.raises(Malformed, match="AAPL: the answer is not JSON: <html>"):
            slow.daily_bars(stock("AAPL"), *SPAN)
    assert len(vendor.asked) == 1
