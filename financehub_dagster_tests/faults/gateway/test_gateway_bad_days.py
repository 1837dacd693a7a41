"""What the gateway does on a bad day beyond how it ends, which is the matrix's: Yahoo and Binance over real HTTP."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import pytest

from financehub_dagster.gateway.errors import (
    BreakerOpen,
    BurstLimit,
    Malformed,
    OverrideDown,
    ProviderError,
    Transient,
    UnknownSymbol,
)
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.providers.base import DailyBars
from financehub_dagster.providers.binance.provider import BinanceProvider
from financehub_dagster.providers.yahoo.provider import YahooProvider
from financehub_dagster.sandbox.client import Sandbox
from financehub_dagster.storage.rate_limits import usage
from financehub_dagster_tests.contracts.scripted import Answer, scripted_vendor
from financehub_dagster_tests.fixtures.database import Database

pytestmark = pytest.mark.usefixtures("database")

SPAN = (date(2017, 9, 1), date(2017, 12, 31))


@pytest.fixture
def database(shared_database: Database) -> Database:
    """One for the module: these tests write the gateway's state alone."""
    return shared_database


@dataclass(frozen=True)
class Vendor:
    """One provider as a test asks it: two instruments it knows."""

    name: str
    make: Callable[..., Any]
    first: Instrument
    second: Instrument

    def ask(self, instrument: Instrument | None = None, **fields: Any) -> DailyBars:
        bars: DailyBars = self.make(**{"first_pause": 0.001, **fields}).daily_bars(instrument or self.first, *SPAN)
        return bars


def stock(symbol: str) -> Instrument:
    return Instrument(symbol, symbol, AssetType.STOCK, "XNAS", "USD", "America/New_York")


def crypto(symbol: str) -> Instrument:
    return Instrument(symbol, symbol, AssetType.CRYPTO, "XXXX", "USD", "UTC", aliases={"binance": f"{symbol}USDT"})


def fast_yahoo(**fields: Any) -> YahooProvider:
    return YahooProvider(**{"requests_per_second": 1000, **fields})


YAHOO = Vendor("yahoo", fast_yahoo, stock("AAPL"), stock("MSFT"))
BINANCE = Vendor("binance", BinanceProvider, crypto("BTC"), crypto("ETH"))


@pytest.fixture(params=[YAHOO, BINANCE], ids=lambda vendor: vendor.name)
def vendor(request: pytest.FixtureRequest) -> Vendor:
    found: Vendor = request.param
    return found


def failure(ask: Callable[[], object]) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        ask()
    return caught.value


def test_an_outage_that_lasts_longer_than_a_call_is_not_tried_again(vendor: Vendor, sandbox: Sandbox) -> None:
    sandbox.fault("status", vendor=vendor.name, status=503, retry_after=3600)
    assert type(failure(vendor.ask)) is Transient
    assert sandbox.calls()["total"] == 1


def test_a_stand_in_that_does_not_run_is_named_after_one_try_and_not_asked_again(vendor: Vendor) -> None:
    started = time.monotonic()
    caught = failure(lambda: vendor.ask(base_url="http://127.0.0.1:1", first_pause=10.0))
    assert type(caught) is OverrideDown
    assert "nothing answers at 127.0.0.1:1" in str(caught)
    assert "`financehub up --sandbox`" in str(caught)
    assert type(failure(lambda: vendor.ask(base_url="http://127.0.0.1:1"))) is BreakerOpen
    assert time.monotonic() - started < 10.0


def test_a_fault_that_passes_is_not_noticed_by_the_caller(vendor: Vendor, sandbox: Sandbox) -> None:
    for kind in ("reset", "empty", "truncated"):
        sandbox.fault(kind, vendor=vendor.name, times=1)
    answer = vendor.ask()
    assert len(answer.bars) > 80
    assert sandbox.calls()["total"] == 4
    assert answer.calls == 4


def test_a_kept_connection_that_breaks_costs_a_try_like_any_other(vendor: Vendor, sandbox: Sandbox) -> None:
    vendor.ask()
    sandbox.clear_calls()
    sandbox.fault("reset", vendor=vendor.name)
    assert type(failure(vendor.ask)) is Transient
    assert sandbox.calls()["total"] == 4


def test_a_delisted_symbol_is_unknown_and_costs_one_request(vendor: Vendor, sandbox: Sandbox) -> None:
    sandbox.delist(vendor.first.symbol)
    assert type(failure(vendor.ask)) is UnknownSymbol
    assert sandbox.calls()["total"] == 1


def test_the_pauses_never_exceed_the_budget_of_a_request(vendor: Vendor, sandbox: Sandbox) -> None:
    sandbox.fault("status", vendor=vendor.name, status=500)
    started = time.monotonic()
    assert type(failure(lambda: vendor.ask(first_pause=31.0))) is Transient
    assert time.monotonic() - started < 10
    assert sandbox.calls()["total"] == 1


def test_a_slow_drip_is_cut_off_although_every_byte_is_on_time(vendor: Vendor, sandbox: Sandbox) -> None:
    sandbox.fault("slow", vendor=vendor.name, seconds=5.0)
    started = time.monotonic()
    caught = failure(lambda: vendor.ask(timeout=0.6))
    assert "no complete answer in time" in str(caught)
    assert time.monotonic() - started < 8


def test_a_redirect_is_not_followed_to_where_no_limit_holds(vendor: Vendor) -> None:
    with (
        scripted_vendor(Answer([])) as elsewhere,
        scripted_vendor(Answer(b"", 302, {"Location": elsewhere.url})) as server,
    ):
        assert type(failure(lambda: vendor.ask(base_url=server.url))) is Malformed
        assert len(server.asked) == 4
        assert elsewhere.asked == []


def test_every_try_is_counted_under_its_outcome(vendor: Vendor, sandbox: Sandbox, database: Database) -> None:
    sandbox.fault("status", vendor=vendor.name, status=500, times=2)
    sandbox.fault("empty", vendor=vendor.name, times=1)
    vendor.ask()
    counted = {row.outcome: row.calls for row in usage.read(database.engine, datetime.now(UTC).date())}
    assert counted == {"Transient": 2, "Malformed": 1, "ok": 1}


def test_a_wait_for_our_own_limit_beyond_a_minute_is_refused_and_nothing_is_sent(sandbox: Sandbox) -> None:
    slow = YahooProvider(requests_per_second=0.01)
    slow.daily_bars(stock("AAPL"), *SPAN)
    caught = failure(lambda: slow.daily_bars(stock("MSFT"), *SPAN))
    assert type(caught) is BurstLimit
    assert "our own limit has no free slot before" in str(caught)
    assert caught.retry_after == pytest.approx(102, abs=5)
    assert sandbox.calls()["total"] == 1


def test_requests_keep_the_distance_the_limit_asks_for(sandbox: Sandbox) -> None:
    provider = YahooProvider(requests_per_second=10)
    for symbol in ("AAPL", "MSFT", "INTC", "IBM", "GE", "KO"):
        provider.daily_bars(stock(symbol), *SPAN)
    at = [call["at"] for call in sandbox.calls(detail=True)["calls"]]
    assert at[-1] - at[0] >= 5 * 0.1
