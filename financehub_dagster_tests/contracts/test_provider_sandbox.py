"""Six vendors with keys against the sandbox that plays them: every capability, and what distorted answers become."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pandas as pd
import pytest

from financehub_dagster.gateway.errors import NotInPlan, ProviderError, UnknownSymbol
from financehub_dagster.market.instrument_files import default_universe
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.providers import all_providers
from financehub_dagster.providers.base import DailyBars
from financehub_dagster.sandbox.client import Sandbox
from financehub_dagster_tests.contracts.vendor_cases import KEY, VENDORS
from financehub_dagster_tests.faults.bad_days.bad_days import VENDORS as BAD_DAYS

pytestmark = pytest.mark.usefixtures("books", "keys")

UNIVERSE = {each.symbol: each for each in default_universe()}
STOCKS = [UNIVERSE[symbol] for symbol in ("AAPL", "BRK.B", "FB")]
CRYPTOS = [UNIVERSE[symbol] for symbol in ("BTC", "ETH", "DOGE")]
GENEROUS: dict[str, dict[str, Any]] = {
    "alpha_vantage": {"requests_per_second": 1000, "requests_per_day": None, "premium": True},
    "coingecko": {"requests_per_minute": 10_000},
    "coinmarketcap": {"requests_per_minute": 10_000},
    "finnhub": {"requests_per_minute": 10_000},
    "twelve_data": {"credits_per_minute": 10_000, "credits_per_day": None},
    "newsapi": {"requests_per_half_day": 10_000, "requests_per_day": 10_000},
}
"""Limits that leave the sandbox's own out of the way."""
FROZEN = datetime(2026, 11, 20, 22, tzinfo=UTC)
SERVED = [
    (vendor.name, capability)
    for vendor in VENDORS
    for capability in vendor.provider.serves
    if capability != "intraday_bars"  # (test_intraday_sandbox)
]

BESIDE = [(name, capability) for name, capability in SERVED if BAD_DAYS[name].capability != capability]
"""What the matrix of bad days does not ask for."""


def make_generous(sandbox: Sandbox, name: str) -> None:
    """No limit gets in the way, and the key has all there is."""
    for seconds in (1.0, 60.0, 43_200.0, 86_400.0):
        sandbox.limit(name, 1_000_000, seconds)
    if name != "coingecko":  # whose paid keys are of another kind
        sandbox.declare_key(name, KEY, plan="paid")


def instruments(name: str) -> list[Instrument]:
    return CRYPTOS if name.startswith("coin") else STOCKS


def ask(name: str, capability: str) -> pd.DataFrame:
    """The rows of an answer; an instrument that has none fails the test."""
    fields = {"first_pause": 0.001, "breaker_threshold": 1000, **GENEROUS[name]}
    provider: Any = type(all_providers()[name])(**fields)
    today = datetime.now(UTC).date()
    if capability == "daily_bars":
        bars: DailyBars = provider.daily_bars(STOCKS[0], date(2026, 1, 1), today)
        return bars.bars
    since = [datetime.now(UTC) - timedelta(days=14)] if capability == "news" else []
    answer = getattr(provider, capability)(instruments(name), *since)
    for error in answer.failed.values():
        raise error
    return pd.DataFrame(answer.rows)


def outcome(name: str, capability: str) -> Any:
    try:
        return ask(name, capability)
    except ProviderError as error:
        return error


@pytest.mark.parametrize(("name", "capability"), SERVED)
def test_every_capability_is_served(sandbox: Sandbox, name: str, capability: str) -> None:
    make_generous(sandbox, name)
    rows = ask(name, capability)
    assert len(rows) > 0
    if capability not in ("daily_bars", "news"):
        assert rows["symbol"].tolist() == [each.symbol for each in instruments(name)]
    assert set(sandbox.calls()["by_vendor"]) == {name}


@pytest.mark.parametrize(("name", "capability"), BESIDE)
def test_disorder_repetition_and_numbers_as_text_change_nothing(sandbox: Sandbox, name: str, capability: str) -> None:
    make_generous(sandbox, name)
    sandbox.freeze(FROZEN)
    clean = ask(name, capability)
    for kind in ("shuffled", "duplicated", "strings"):
        sandbox.clear_faults()
        sandbox.fault(kind, vendor=name)
        shared = [column for column in clean if column != "author"]  # of several, in any order
        pd.testing.assert_frame_equal(ask(name, capability)[shared], clean[shared])


@pytest.mark.parametrize(("name", "capability"), BESIDE)
def test_another_symbol_or_no_number_is_a_typed_error_or_no_row(sandbox: Sandbox, name: str, capability: str) -> None:
    make_generous(sandbox, name)
    sandbox.freeze(FROZEN)
    clean = ask(name, capability)
    for kind in ("nan", "wrong_symbol"):
        sandbox.clear_faults()
        sandbox.fault(kind, vendor=name)
        found = outcome(name, capability)
        if isinstance(found, ProviderError):
            assert found.provider == name
            assert KEY not in str(found)
        elif kind == "wrong_symbol" and capability != "news" and (name, capability) != ("finnhub", "quotes"):
            assert found.empty
        else:
            assert len(found) <= len(clean)


UNKNOWN = [
    ("yahoo", "daily_bars", "stock"),
    ("yahoo", "quotes", "stock"),
    ("binance", "daily_bars", "crypto"),
    ("binance", "quotes", "crypto"),
    ("alpha_vantage", "daily_bars", "stock"),
    ("alpha_vantage", "quotes", "stock"),
    ("alpha_vantage", "fundamentals", "stock"),
    ("coingecko", "quotes", "crypto"),
    ("coinmarketcap", "quotes", "crypto"),
    ("finnhub", "quotes", "stock"),
    ("finnhub", "fundamentals", "stock"),
    ("twelve_data", "daily_bars", "stock"),
    ("twelve_data", "quotes", "stock"),
]
"""NewsAPI is told no symbols."""


@pytest.mark.parametrize(("name", "capability", "kind"), UNKNOWN)
def test_who_is_not_known_is_named_by_our_symbol_and_by_the_vendors(
    sandbox: Sandbox, name: str, capability: str, kind: str
) -> None:
    if name in GENEROUS:
        make_generous(sandbox, name)
    theirs = {"binance": "NOPEUSDT", "coinmarketcap": "999999"}.get(name, "NOPE")
    of = replace(UNIVERSE["BTC" if kind == "crypto" else "AAPL"], aliases={name: theirs})
    provider: Any = type(all_providers()[name])(**{"first_pause": 0.001, **GENEROUS.get(name, {})})
    if capability == "daily_bars":
        with pytest.raises(UnknownSymbol) as caught:
            provider.daily_bars(of, date(2026, 1, 1), date(2026, 2, 1))
        error: ProviderError = caught.value
    else:
        error = provider_error(provider, capability, of)
    assert isinstance(error, UnknownSymbol)
    assert str(error).startswith(f"{name}: {of.symbol}: ")
    assert f"(as {theirs})" in str(error)


def provider_error(provider: Any, capability: str, of: Instrument) -> ProviderError:
    error: ProviderError = getattr(provider, capability)([of]).failed[of.symbol]
    return error


def test_a_symbol_that_a_market_belongs_to_is_named_with_it(sandbox: Sandbox) -> None:
    make_generous(sandbox, "twelve_data")
    fields = {"first_pause": 0.001, **GENEROUS["twelve_data"]}
    provider: Any = type(all_providers()["twelve_data"])(**fields)
    london = [
        Instrument(symbol, "Nobody's", AssetType.STOCK, "XLON", "GBP", "Europe/London")
        for symbol in ("NOPE.L", "NONE.L")
    ]
    with pytest.raises(UnknownSymbol, match=r"twelve_data: NOPE\.L: is not known there \(as NOPE:XLON\)"):
        provider.daily_bars(london[0], date(2026, 1, 1), date(2026, 2, 1))
    assert {str(error).partition("; ")[0] for error in provider.quotes(london).failed.values()} == {
        "twelve_data: NOPE.L: is not known there (as NOPE:XLON)",
        "twelve_data: NONE.L: is not known there (as NONE:XLON)",
    }


def test_a_free_key_has_no_candles_at_finnhub(sandbox: Sandbox) -> None:
    with pytest.raises(NotInPlan):
        ask("finnhub", "daily_bars")
    assert sandbox.calls()["total"] == 1
