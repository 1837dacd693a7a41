"""Runs warn of mixed units, splits that were not applied, another security, and rows without a session."""

from datetime import date, timedelta
from typing import Any

import dagster as dg
import numpy as np
import pytest

from financehub_dagster.definitions import build_definitions
from financehub_dagster.market.indicators import engine
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.providers.binance.provider import BinanceProvider
from financehub_dagster.providers.yahoo.provider import YahooProvider
from financehub_dagster.storage.database.engine import transaction
from financehub_dagster.storage.queries.instruments import upsert_instruments
from financehub_dagster_tests.assets.conftest import Platform
from financehub_dagster_tests.contracts.charts import OPENS, at, chart, weekdays
from financehub_dagster_tests.contracts.klines import kline
from financehub_dagster_tests.contracts.scripted import Answer, ScriptedVendor

STOCKS, CRYPTOS, INDICATORS = "stock_prices_daily", "crypto_prices_daily", "indicators_daily"
FEBRUARY, MARCH = "2024-02-01", "2024-03-01"
CASE = Instrument("CASE", "Case", AssetType.STOCK, "XNYS", "USD", "America/New_York")
COIN = Instrument("LUNA", "Luna", AssetType.CRYPTO, "XXXX", aliases={"binance": "LUNAUSDT"})
DAYS = [day for day in weekdays(date(2024, 2, 1), 41) if day != date(2024, 2, 19)]
"""The sessions of February and March 2024, less Presidents' Day, and Good Friday, 29 March, which is none."""
WARNINGS = {"one_unit", "one_security", "splits_applied", "in_session", "no_doubtful_bars"}


@pytest.fixture
def scripted(platform: Platform, vendor: ScriptedVendor) -> Platform:
    """A platform with a stock and a coin whose vendors say what a test writes down."""
    with transaction() as connection:
        upsert_instruments(connection, [CASE, COIN])
    overrides = {
        "yahoo": YahooProvider(base_url=vendor.url, requests_per_second=1000, first_pause=0.001),
        "binance": BinanceProvider(base_url=vendor.url, first_pause=0.001),
    }
    platform.definitions = build_definitions(resource_overrides=overrides)
    return platform


def told(platform: Platform, table: str, first: str, last: str) -> dict[str, str]:
    """What the checks of one run warn of."""
    symbol = CASE.symbol if table == STOCKS else COIN.symbol
    outcome = platform.run([table, INDICATORS], first, last, symbols=[symbol], checked=True)
    assert outcome.success, outcome.error
    found = {name: check for name, check in platform.checks(outcome, table).items() if name in WARNINGS}
    assert {check.severity for check in found.values()} == {dg.AssetCheckSeverity.WARN}
    return {name: str(check.description) for name, check in found.items() if not check.passed}


def prices(closes: list[float]) -> dict[str, list[float]]:
    """Bars of one price, traded."""
    return {**dict.fromkeys(("open", "high", "low", "close"), closes), "volume": [1000.0] * len(closes)}


def case(days: list[date], closes: list[float], **changes: Any) -> Answer:
    return Answer(chart(days, symbol=CASE.symbol, **{**prices(closes), **changes}))


def test_pounds_among_pence_are_told_and_so_is_the_way_back_in_the_next_month(scripted, vendor):
    march = [day for day in DAYS if day.month == 3]
    closes = [6.0 if day not in (DAYS[3], DAYS[4], march[0]) else 0.06 for day in DAYS]
    vendor.will_answer(case(DAYS, closes))
    assert set(told(scripted, STOCKS, FEBRUARY, FEBRUARY)) == {"one_unit", "no_doubtful_bars"}
    warned = told(scripted, STOCKS, MARCH, MARCH)
    assert set(warned) == {"one_unit", "no_doubtful_bars"}
    assert warned["one_unit"] == (
        "closes differ from the one before by about 100 or 1,000 times: 2 of 20;"
        " first: CASE 2024-03-01 0.06 2024-02-29 6.0"
    )
    flagged = f"select date from {STOCKS} where 'unit_100x' = any(flags) order by date"
    assert scripted.rows(flagged) == [(DAYS[3],), (DAYS[4],), (march[0],)]


def test_a_split_that_was_not_applied_is_told(scripted, vendor):
    at_split = DAYS.index(date(2024, 3, 6))
    stamp = at(DAYS[at_split], OPENS)
    split = {"splits": {str(stamp): {"date": stamp, "numerator": 10, "denominator": 1, "splitRatio": "10:1"}}}
    closes = [990.0 + n for n in range(at_split)] + [99.0 + n / 10 for n in range(len(DAYS) - at_split)]
    vendor.will_answer(case(DAYS, closes, events=split))
    warned = told(scripted, STOCKS, FEBRUARY, MARCH)
    assert set(warned) == {"splits_applied"}
    assert "splits show in the prices as a step: 1 of 1; first: CASE 2024-03-06" in warned["splits_applied"]


def test_rows_of_weekends_and_holidays_are_told_and_no_indicator_is_made_of_them(scripted, vendor):
    strays = {date(2024, 3, 9): 77.0, date(2024, 2, 19): 50.0}
    rng = np.random.default_rng(7)
    sound = dict(zip(DAYS, np.round(100 * np.exp(np.cumsum(rng.normal(0, 0.01, len(DAYS)))), 2).tolist(), strict=True))
    days = sorted([*DAYS, *strays])
    closes = [strays.get(day) or sound[day] for day in days]
    vendor.will_answer(case(days, closes, volume=[0 if day in strays else 1000 for day in days]))
    warned = told(scripted, STOCKS, FEBRUARY, MARCH)
    assert set(warned) == {"in_session", "no_doubtful_bars"}
    assert warned["in_session"].startswith("bars are of days without session: 2 of 42; first: CASE 2024-02-19 50.0")
    names = ("sma_20", "rsi_14", "obv", "donchian_lower")
    stored = {row[0]: row[1:] for row in scripted.rows(f"select date, {', '.join(names)} from {INDICATORS}")}
    assert len(stored) == 42, "every bar has its row"
    assert all(value is None for day in strays for value in stored[day])
    series = [sound[day] for day in DAYS]
    expected = engine.compute(series, series, series, series, [1000.0] * len(DAYS))
    for number, day in enumerate(DAYS):
        found = [np.nan if value is None else value for value in stored[day]]
        np.testing.assert_allclose(found, [expected[name][number] for name in names], rtol=1e-9)


def test_a_flat_price_has_no_relative_strength(scripted, vendor):
    volume = [1000.0 + number for number in range(len(DAYS))]
    vendor.will_answer(case(DAYS, [100.0] * len(DAYS), volume=volume))
    assert told(scripted, STOCKS, FEBRUARY, MARCH) == {}
    last = f"select rsi_14, stoch_k, willr_14, mfi_14, adx_14, cci_20 from {INDICATORS} order by date desc limit 1"
    assert scripted.rows(last) == [(None, None, None, None, 0.0, 0.0)]


def test_two_coins_under_one_symbol_are_told(scripted, vendor):
    first = date(2024, 2, 1)
    old = [kline(first + timedelta(days=n), *["0.00005"] * 4, "1000.0") for n in range(13)]
    new = [kline(first + timedelta(days=n), *["9.0"] * 4, "1000.0") for n in range(21, 29)]
    vendor.will_answer(Answer([*old, *new]))
    warned = told(scripted, CRYPTOS, FEBRUARY, FEBRUARY)
    assert set(warned) == {"one_security", "no_doubtful_bars"}
    assert "LUNA 2024-02-22 9.0 2024-02-13" in warned["one_security"]
