"""Routing over real HTTP: an outage is bridged within five seconds, and the source says who answered."""

import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pandas as pd
import pytest

from financehub_dagster.gateway.errors import (
    BadKey,
    BadRequest,
    Banned,
    BreakerOpen,
    BurstLimit,
    Limited,
    NotConfigured,
    ProviderError,
    QuotaSpent,
    Transient,
    UnknownSymbol,
)
from financehub_dagster.gateway.failover import Candidate, deferred_until, first_answer
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.providers.base import Answers
from financehub_dagster.providers.binance.provider import BinanceProvider
from financehub_dagster.providers.routing import DailyBarsRouter, answers_in_turn
from financehub_dagster.providers.yahoo.provider import YahooProvider
from financehub_dagster.sandbox.client import Sandbox
from financehub_dagster.settings import get_settings
from financehub_dagster_tests.fixtures.database import Database

pytestmark = pytest.mark.usefixtures("database")

SPAN = (date(2017, 9, 1), date(2017, 12, 31))
NAMES = {"binance": "BTCUSDT", "yahoo": "BTC-USD"}
BTC = Instrument("BTC", "Bitcoin", AssetType.CRYPTO, "XXXX", "USD", "UTC", aliases=NAMES)


@pytest.fixture
def database(shared_database: Database) -> Database:
    """One for the module: these tests write the gateway's state alone."""
    return shared_database


@pytest.fixture(autouse=True)
def keyless(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("TWELVE_DATA", "ALPHA_VANTAGE", "FINNHUB"):
        monkeypatch.delenv(f"{name}_API_KEYS", raising=False)
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


def router(**fields: Any) -> DailyBarsRouter:
    vendors = {
        "binance": BinanceProvider(breaker_threshold=2, **fields),
        "yahoo": YahooProvider(requests_per_second=1000, **fields),
        "twelve_data": BinanceProvider(),
    }
    return DailyBarsRouter().over(vendors)


def test_the_first_in_order_answers_when_it_can(sandbox: Sandbox) -> None:
    assert router().daily_bars(BTC, *SPAN).source == "binance"
    assert DailyBarsRouter(crypto=["yahoo", "binance"]).daily_bars(BTC, *SPAN).source == "yahoo"


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "status": 500},
        {"kind": "status", "status": 429},
        {"kind": "status", "status": 418, "retry_after": 60},
        {"kind": "status", "status": 451},
        {"kind": "garbage"},
        {"kind": "reset"},
        {"kind": "timeout", "seconds": 20},
        {"kind": "slow", "seconds": 20},
    ],
    ids=lambda fault: "-".join(str(each) for each in fault.values()),
)
def test_an_outage_is_bridged_within_five_seconds_with_the_usual_patience_configured(
    sandbox: Sandbox, fault: dict[str, Any]
) -> None:
    asked = router()
    YahooProvider(requests_per_second=1000).test_connection()  # the client library is imported once per process
    sandbox.fault(**fault, vendor="binance")
    started = time.monotonic()
    answer = asked.daily_bars(BTC, *SPAN)
    assert time.monotonic() - started < 5.0
    assert answer.source == "yahoo"
    assert len(answer.bars) > 80


def test_behind_an_open_breaker_the_next_is_asked_at_once_and_the_first_again_when_it_is_back(
    sandbox: Sandbox, database: Database
) -> None:
    sandbox.fault("status", vendor="binance", status=500)
    asked = router(first_pause=0.001)
    assert [asked.daily_bars(BTC, *SPAN).source for _ in range(2)] == ["yahoo", "yahoo"]
    sandbox.clear_calls()
    assert asked.daily_bars(BTC, *SPAN).source == "yahoo"
    assert sandbox.calls()["total"] == 1
    sandbox.clear_faults()
    with database.engine.begin() as connection:
        connection.exec_driver_sql("update breakers set open_until = clock_timestamp()")
    assert asked.daily_bars(BTC, *SPAN).source == "binance"


def test_a_vendor_that_stands_alone_is_asked_with_all_patience(sandbox: Sandbox) -> None:
    sandbox.fault("status", vendor="yahoo", status=500, times=3)
    asked = DailyBarsRouter().over({**router(first_pause=0.001)._bound(), "alpha_vantage": None, "finnhub": None})
    stock = Instrument("AAPL", "Apple", AssetType.STOCK, "XNAS", "USD", "America/New_York")
    assert asked.daily_bars(stock, *SPAN).calls == 4


def test_our_symbol_is_not_asked_for_where_it_is_something_else(sandbox: Sandbox) -> None:
    unnamed = Instrument("BTC", "Bitcoin", AssetType.CRYPTO, "XXXX", "USD", "UTC")
    with pytest.raises(BadRequest, match="no alias"):
        DailyBarsRouter(crypto=["yahoo"]).daily_bars(unnamed, *SPAN)
    assert sandbox.calls()["total"] == 0


def failing(error: ProviderError) -> Candidate[Any]:
    def ask() -> str:
        raise error

    return Candidate("failing", ask)


def answering(named: bool = False) -> Candidate[Any]:
    return Candidate("answering", lambda: "an answer", named)


@pytest.mark.parametrize("kind", [Transient, QuotaSpent, BreakerOpen, Banned, BadRequest, NotConfigured])
def test_what_is_one_vendors_own_trouble_goes_on_to_the_next(kind: type[ProviderError]) -> None:
    assert first_answer([failing(kind("v", "no")), answering()], lambda ask: ask()) == "an answer"


def test_an_unknown_symbol_goes_on_only_to_those_the_instrument_is_named_for() -> None:
    unknown = failing(UnknownSymbol("v", "no such symbol"))
    with pytest.raises(UnknownSymbol):
        first_answer([unknown, answering()], lambda ask: ask())
    assert first_answer([unknown, answering(named=True)], lambda ask: ask()) == "an answer"


SOON, TOMORROW = (datetime.now(UTC) + timedelta(seconds=seconds) for seconds in (30, 86_400))


@pytest.mark.parametrize(
    ("errors", "told"),
    [
        ([NotConfigured("a", "off"), QuotaSpent("b", "spent", until=TOMORROW), Transient("c", "down")], "c"),
        ([QuotaSpent("a", "spent", until=TOMORROW), BreakerOpen("b", "open", until=SOON)], "b"),
        ([BadRequest("a", "no alias"), QuotaSpent("b", "spent", until=TOMORROW)], "b"),
        ([NotConfigured("a", "off"), BadKey("b", "refused"), NotConfigured("c", "off")], "b"),
        ([Transient("a", "down"), Transient("b", "down")], "a"),
    ],
    ids=[
        "down-before-spent",
        "the-soonest-end",
        "spent-before-impossible",
        "refused-before-off",
        "the-first-of-equals",
    ],
)
def test_when_nobody_answers_the_reason_that_may_pass_first_is_told(errors: list[ProviderError], told: str) -> None:
    with pytest.raises(ProviderError) as raised:
        first_answer([failing(error) for error in errors], lambda ask: ask())
    assert raised.value.provider == told


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (QuotaSpent("v", "spent", until=TOMORROW), TOMORROW),
        (Banned("v", "banned", until=SOON), SOON),
        (BreakerOpen("v", "open", until=SOON), SOON),
        (BurstLimit("v", "slowly", until=TOMORROW), TOMORROW),
        (BurstLimit("v", "slowly", retry_after=30.0), None),
        (BurstLimit("v", "slowly"), None),
        (Transient("v", "down"), None),
        (UnknownSymbol("v", "no such symbol"), None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_only_what_ends_at_a_time_of_its_own_is_deferred(error: ProviderError, expected: datetime | None) -> None:
    assert deferred_until(error) == expected


@pytest.mark.parametrize("kind", [QuotaSpent, Banned, BreakerOpen])
def test_what_has_no_known_end_is_deferred_for_a_while(kind: type[Limited]) -> None:
    until = deferred_until(kind("v", "no"))
    assert until is not None
    assert timedelta(seconds=30) < until - datetime.now(UTC) <= timedelta(hours=1)


@pytest.mark.parametrize("order", [[], ["nasdaq"]])
def test_an_order_of_unknown_providers_is_refused(order: list[str]) -> None:
    with pytest.raises(ValueError, match="choose at least one of"):
        DailyBarsRouter(crypto=order).daily_bars(BTC, *SPAN)


def test_without_any_key_the_keyed_are_off() -> None:
    with pytest.raises(NotConfigured, match="TWELVE_DATA_API_KEYS"):
        DailyBarsRouter(crypto=["twelve_data"]).daily_bars(BTC, *SPAN)


class Knows:
    """A vendor that has a row for these symbols and says what it was asked."""

    def __init__(self, name: str, *symbols: str) -> None:
        self.name, self.symbols = name, symbols
        self.asked: list[list[str]] = []

    def quotes(self, instruments: list[Instrument]) -> Answers:
        wanted = [each.symbol for each in instruments]
        self.asked.append(wanted)
        failed = {each: Transient(self.name, "no answer", symbol=each) for each in wanted if each not in self.symbols}
        rows = pd.DataFrame({"symbol": [each for each in wanted if each in self.symbols]})
        return Answers(rows, failed, self.name, datetime.now(UTC), 1)


def test_of_a_batch_only_what_is_missing_goes_on_to_the_next() -> None:
    first, second = Knows("yahoo", "A", "B"), Knows("binance", "B", "C")
    universe = [Instrument(each, each, AssetType.STOCK, "XNAS") for each in "ABCD"]
    answers, missing = answers_in_turn(
        {"yahoo": first, "binance": second}, ["yahoo", "binance"], universe, lambda vendor, of: vendor.quotes(of)
    )
    assert second.asked == [["C", "D"]]
    assert [(answer.source, list(answer.rows["symbol"])) for answer in answers] == [
        ("yahoo", ["A", "B"]),
        ("binance", ["C"]),
    ]
    assert list(missing) == ["D"]
    assert missing["D"].provider == "yahoo"
    assert isinstance(missing["D"], Transient)
    assert str(missing["D"]) == "yahoo: D: no answer; binance: D: no answer"
