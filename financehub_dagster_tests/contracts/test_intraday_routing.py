"""Who is asked for bars within days: the order, the batches, and what becomes of a vendor that cannot answer."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from financehub_dagster.gateway.errors import NotConfigured, ProviderError
from financehub_dagster.market.instruments import AssetType
from financehub_dagster.providers import all_providers
from financehub_dagster.providers.base import IntradayBars
from financehub_dagster.providers.routing import IntradayRouter
from financehub_dagster.sandbox.client import Sandbox
from financehub_dagster.settings import get_settings
from financehub_dagster_tests.contracts.test_provider_sandbox import GENEROUS, UNIVERSE, make_generous

pytestmark = pytest.mark.usefixtures("books", "keys")

NOW = datetime(2026, 11, 25, 18, 7, 30, tzinfo=UTC)
SPAN = (NOW - timedelta(minutes=60), NOW)
MIXED = [UNIVERSE[symbol] for symbol in ("AAPL", "BTC", "DAX", "EURUSD")]


@pytest.fixture(autouse=True)
def _frozen(sandbox: Sandbox) -> None:
    make_generous(sandbox, "twelve_data")
    sandbox.freeze(NOW)


def router(only: list[str] | None = None, **twelve_data: Any) -> IntradayRouter:
    fields = {
        "yahoo": {"requests_per_second": 1000},
        "binance": {},
        "twelve_data": GENEROUS["twelve_data"] | twelve_data,
    }
    quick: dict[str, Any] = {"first_pause": 0.001, "breaker_threshold": 1000}
    made = {name: type(all_providers()[name])(**quick, **of) for name, of in fields.items()}
    lists = {kind: ["yahoo", "twelve_data"] for kind in ("stock", "etf", "index", "fx")}
    return IntradayRouter(**lists).over(made, only)


def sources(found: dict[str, IntradayBars] | Any) -> dict[str, str]:
    return {symbol: answer.source for symbol, answer in found.items()}


def test_each_kind_of_instrument_has_its_own_order() -> None:
    found = router().intraday_bars(MIXED, 1, *SPAN)
    assert sources(found.answers) == {"AAPL": "yahoo", "BTC": "binance", "DAX": "yahoo", "EURUSD": "yahoo"}
    assert not found.failed
    assert {len(answer.bars) for answer in found.answers.values()} == {60, 0}  # Xetra has closed


def test_a_vendor_that_is_down_is_replaced_by_the_next_which_is_asked_once_for_all(sandbox: Sandbox) -> None:
    sandbox.fault("status", vendor="yahoo", status=503)
    stocks = [UNIVERSE[symbol] for symbol in ("AAPL", "MSFT", "IBM")]
    found = router().intraday_bars(stocks, 1, *SPAN)
    assert sources(found.answers) == dict.fromkeys(("AAPL", "MSFT", "IBM"), "twelve_data")
    assert sandbox.calls("twelve_data")["total"] == 1


def test_what_one_vendor_keeps_no_longer_comes_from_the_next() -> None:
    now = datetime.now(UTC)
    long_ago = (now - timedelta(days=60), now - timedelta(days=57))
    (answer,) = router().intraday_bars(MIXED[:1], 1, *long_ago).answers.values()
    assert (answer.source, answer.told_since) == ("twelve_data", None)


def test_one_bad_instrument_costs_no_other_anything(sandbox: Sandbox) -> None:
    sandbox.delist("MSFT")
    stocks = [UNIVERSE[symbol] for symbol in ("MSFT", "AAPL")]
    for order in (["yahoo"], ["twelve_data"]):
        found = router(order).intraday_bars(stocks, 1, *SPAN)
        assert set(found.answers) == {"AAPL"}
        assert set(found.failed) == {"MSFT"}


def test_batches_are_as_large_as_the_first_vendor_takes() -> None:
    stocks = [UNIVERSE[symbol] for symbol in ("AAPL", "MSFT", "IBM", "GE", "KO")]
    together = router(["twelve_data"], credits_per_minute=2).batches(stocks)
    assert sorted(map(len, together)) == [1, 2, 2]
    assert sorted(each.symbol for batch in together for each in batch) == ["AAPL", "GE", "IBM", "KO", "MSFT"]
    assert [len(batch) for batch in router().batches(stocks)] == [1] * 5


def test_without_any_key_each_instrument_is_told_what_to_set(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TWELVE_DATA_API_KEYS")
    get_settings.cache_clear()
    off = router(["twelve_data"])
    found = off.intraday_bars(MIXED[:1], 1, *SPAN)
    errors: dict[str, ProviderError] = dict(found.failed)
    assert isinstance(errors["AAPL"], NotConfigured)
    assert sandbox.calls()["total"] == 0
    assert [len(batch) for batch in off.batches(MIXED)] == [1] * len(MIXED)
    assert off.why_off(list(AssetType)) == "off: set TWELVE_DATA_API_KEYS"
    assert IntradayRouter().why_off(list(AssetType)) is None
