"""Bars that break a rule: better ones from the next vendor, else the plausible ones, counted and named."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import date
from typing import Any

import pytest
import requests

from financehub_dagster.definitions import build_definitions
from financehub_dagster.providers.twelve_data.provider import TwelveDataProvider
from financehub_dagster.providers.yahoo.provider import YahooProvider
from financehub_dagster.settings import get_settings
from financehub_dagster_tests.assets.conftest import Platform
from financehub_dagster_tests.contracts.scripted import Answer, ScriptedVendor

STOCKS, MARCH, APRIL = "stock_prices_daily", "2015-03-01", "2015-04-01"
FIFTH, LAST = 3, 20
"""Where 2015-03-05 and 2015-03-30 stand among the sessions of March."""
type Change = Callable[[dict[str, list[float | None]]], None]


@pytest.fixture
def yahoo(platform: Platform, vendor: ScriptedVendor, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Makes Yahoo answer with Apple's chart of March and April 2015, changed; with_next gives Twelve Data a key too."""
    span = {"period1": "1425168000", "period2": "1430438400", "interval": "1d", "events": "div,splits,capitalGains"}
    url = f"{platform.sandbox.yahoo_url}/v8/finance/chart/AAPL"
    found: dict[str, Any] = requests.get(url, params=span, headers={"User-Agent": "Mozilla/5.0"}, timeout=10).json()

    def answers(change: Change, *, with_next: bool = False) -> Platform:
        change(found["chart"]["result"][0]["indicators"]["quote"][0])
        vendor.will_answer(Answer(found))
        overrides: dict[str, Any] = {
            "yahoo": YahooProvider(base_url=vendor.url, requests_per_second=1000, first_pause=0.001)
        }
        if with_next:
            key = platform.sandbox.keys["TWELVE_DATA_API_KEYS"]
            monkeypatch.setenv("TWELVE_DATA_API_KEYS", key)
            platform.sandbox.declare_key("twelve_data", key, plan="paid")
            for seconds in (1.0, 60.0):
                platform.sandbox.limit("twelve_data", 100_000, seconds)
            overrides["twelve_data"] = TwelveDataProvider(credits_per_minute=100_000, credits_per_day=None)
        get_settings.cache_clear()
        platform.definitions = build_definitions(resource_overrides={**platform.overrides, **overrides})
        return platform

    with ExitStack() as stack:
        stack.callback(get_settings.cache_clear)
        yield answers


def open_below_low(quote: dict[str, list[float | None]]) -> None:
    """As Yahoo has SPY on these two days: its opens 0.2 % outside."""
    for at in (FIFTH, LAST):
        low = quote["low"][at]
        assert low is not None
        quote["open"][at] = round(low * 0.998, 4)


def close_above_high(quote: dict[str, list[float | None]]) -> None:
    close = quote["close"][LAST]
    assert close is not None
    quote["high"][LAST] = close * 0.97
    quote["low"][LAST] = min(quote["low"][LAST] or close, close * 0.96)
    quote["open"][LAST] = close * 0.965


def bars(platform: Platform, *days: str) -> list[tuple]:
    return platform.rows(
        f"select date::text, source, open < low from {STOCKS} where date = any(cast(:days as date[])) order by 1",
        days=list(days),
    )


def gaps(platform: Platform) -> object:
    """How many ranges of March are missing."""
    march = "daterange(:march, cast(:march as date) + 31)"
    return platform.scalar(
        f"select count(*) from coverage, unnest(gap) as days where table_name = '{STOCKS}' and symbol = 'AAPL'"
        f" and days && {march}",
        march=date.fromisoformat(MARCH),
    )


def next_vendor_calls(platform: Platform) -> int:
    return platform.sandbox.calls()["by_vendor"].get("twelve_data", 0)


def test_a_plausible_bar_is_stored_where_nobody_has_a_better_one(yahoo, vendor):
    platform = yahoo(open_below_low)
    outcome = platform.run([STOCKS, "indicators_daily"], MARCH, symbols=["AAPL"], checked=True)
    numbers = outcome.tables[STOCKS]
    assert (numbers["rows_inserted"], numbers["rows_rejected"], numbers["rows_doubtful"]) == (22, 0, 2)
    assert bars(platform, "2015-03-05", "2015-03-30") == [
        ("2015-03-05", "yahoo", True),
        ("2015-03-30", "yahoo", True),
    ]
    assert gaps(platform) == 0
    assert platform.scalar("select count(*) from indicators_daily") == 22
    checks = platform.checks(outcome, STOCKS)
    assert checks["no_missing_sessions"].passed
    assert checks["bar_sanity"].passed
    assert not checks["no_doubtful_bars"].passed
    assert "AAPL 2015-03-05" in str(checks["no_doubtful_bars"].description)
    again = platform.run(STOCKS, MARCH, symbols=["AAPL"])
    assert again.tables[STOCKS]["rows_unchanged"] == 22


def test_indicators_of_a_bar_that_closes_above_its_high_keep_their_bounds(yahoo):
    platform = yahoo(close_above_high)
    outcome = platform.run([STOCKS, "indicators_daily"], MARCH, symbols=["AAPL"], checked=True)
    assert outcome.tables[STOCKS]["rows_doubtful"] == 1
    assert platform.checks(outcome, "indicators_daily")["schema"].passed
    found = platform.rows("select stoch_k, willr_14 from indicators_daily where date = '2015-03-30'")
    assert [(0 <= stoch_k <= 100, -100 <= willr_14 <= 0) for stoch_k, willr_14 in found] == [(True, True)]


def test_the_next_vendor_is_asked_once_and_its_better_bars_are_kept(yahoo, vendor):
    platform = yahoo(open_below_low, with_next=True)
    numbers = platform.run(STOCKS, MARCH, symbols=["AAPL"]).tables[STOCKS]
    assert (numbers["rows_inserted"], numbers["rows_from_next_vendor"]) == (22, 2)
    assert numbers["rows_by_source"] == {"yahoo": 20, "twelve_data": 2}
    assert "rows_doubtful" not in numbers
    kept = [("2015-03-05", "twelve_data", False), ("2015-03-30", "twelve_data", False)]
    assert bars(platform, "2015-03-05", "2015-03-30") == kept
    told = platform.rows("select date::text, source, rule from rejected_rows order by 1")
    assert told == [("2015-03-05", "yahoo", "outside_range"), ("2015-03-30", "yahoo", "outside_range")]
    assert next_vendor_calls(platform) == 1
    again = platform.run(STOCKS, MARCH, symbols=["AAPL"]).tables[STOCKS]
    assert (again["rows_unchanged"], again["rows_inserted"], again["rows_updated"]) == (20, 0, 0)
    assert bars(platform, "2015-03-05", "2015-03-30") == kept
    vendor.asked.clear()
    assert "taken_back_by_first_choice" not in platform.run(STOCKS, APRIL, symbols=["AAPL"]).tables[STOCKS]
    assert min(int(each.query["period1"]) for each in vendor.asked) >= 1427760000  # nothing before April is asked for
    assert next_vendor_calls(platform) == 1


def test_another_vendors_bar_in_another_unit_is_no_better_one(yahoo):
    def cheap(quote: dict[str, list[float | None]]) -> None:
        for name in ("open", "high", "low", "close"):
            quote[name] = [None if price is None else price / 100 for price in quote[name]]
        open_below_low(quote)

    platform = yahoo(cheap, with_next=True)
    numbers = platform.run(STOCKS, MARCH, symbols=["AAPL"]).tables[STOCKS]
    assert numbers["rows_by_source"] == {"yahoo": 22}
    flags = platform.rows("select unnest(flags), count(*) from stock_prices_daily group by 1 order by 1")
    assert flags == [("adjusted_above_close", 22), ("outside_range", 2)], "adjusted closes are left in the other unit"
    assert next_vendor_calls(platform) == 1
    platform.run(STOCKS, MARCH, symbols=["AAPL"])
    assert next_vendor_calls(platform) == 1


@pytest.mark.parametrize("wrong", [{"low": -3.0}, {"high": 1.0}, {"open": 0.0}], ids=str)
def test_an_impossible_bar_is_rejected_and_the_next_vendor_asked(yahoo, wrong):
    def impossible(quote: dict[str, list[float | None]]) -> None:
        for name, value in wrong.items():
            quote[name][FIFTH] = value

    platform = yahoo(impossible)
    numbers = platform.run(STOCKS, MARCH, symbols=["AAPL"]).tables[STOCKS]
    assert (numbers["rows_inserted"], numbers["rows_rejected"]) == (21, 1)
    assert gaps(platform) == 1
    platform = yahoo(impossible, with_next=True)
    platform.run(STOCKS, MARCH, symbols=["AAPL"])
    assert next_vendor_calls(platform) == 0, "the session waits until it is due to be asked for again"
    platform.execute("update empty_answers set next_ask_at = now() - interval '1 second'")
    numbers = platform.run(STOCKS, MARCH, symbols=["AAPL"]).tables[STOCKS]
    assert (numbers["rows_inserted"], numbers["rows_from_next_vendor"]) == (1, 1)
    assert bars(platform, "2015-03-05") == [("2015-03-05", "twelve_data", False)]
    assert gaps(platform) == 0
    assert next_vendor_calls(platform) == 1
