"""How many requests 200 instruments take, counted where they arrive."""

from dataclasses import replace
from typing import Any

import pytest

from financehub_dagster.automation.runs import run_tables
from financehub_dagster.definitions import build_definitions
from financehub_dagster.providers.twelve_data.provider import TwelveDataProvider
from financehub_dagster_tests.assets.snapshots.answers import today

COUNT = 200
CRYPTOS = (
    "insert into instruments (symbol, name, asset_type, exchange, currency, timezone, aliases)"
    " select 'C' || n, 'Coin ' || n, 'crypto', 'XXXX', 'USD', 'UTC', jsonb_build_object("
    " 'binance', 'C' || n || 'USDT', 'coingecko', 'coin-' || n, 'coinmarketcap', (900000 + n)::text)"
    " from generate_series(1, :count) n"
)
STOCKS = (
    "insert into instruments (symbol, name, asset_type, exchange, currency, timezone)"
    " select 'S' || n, 'Company ' || n, 'stock', 'XNYS', 'USD', 'America/New_York' from generate_series(1, :count) n"
)


def calls(platform, table: str, **config: Any) -> dict[str, int]:
    """The requests by path of a run that asks about every instrument."""
    repository = platform.definitions.get_repository_def()
    run_tables(repository, [table], today(), config, instance=platform.instance)
    return dict(platform.sandbox.calls()["by_path"])


@pytest.fixture
def many(keyed_platform):
    """Two hundred cryptos, or stocks, and nobody else."""

    def instruments(insert: str) -> Any:
        keyed_platform.execute("delete from instruments")
        keyed_platform.execute(insert, count=COUNT)
        return keyed_platform

    return instruments


def test_quotes_of_all_cryptos_are_one_request_to_binance(many):
    assert calls(many(CRYPTOS), "quotes", providers=["binance"]) == {"/api/v3/ticker/24hr": 1}


def test_markets_are_one_request_per_250_coins_at_coingecko(many):
    assert calls(many(CRYPTOS), "crypto_markets", providers=["coingecko"]) == {"/api/v3/coins/markets": 1}


def test_markets_are_one_request_per_100_coins_at_coinmarketcap(many):
    asked = calls(many(CRYPTOS), "crypto_markets", providers=["coinmarketcap"])
    assert asked == {"/v3/cryptocurrency/quotes/latest": 2}


def test_quotes_of_stocks_are_one_request_per_50_at_yahoo(many):
    assert calls(many(STOCKS), "quotes", providers=["yahoo"])["/v7/finance/quote"] == COUNT / 50


def test_a_request_to_twelve_data_takes_as_many_as_the_minute_and_the_vendor_allow(many):
    platform = many(STOCKS)
    plan = TwelveDataProvider(first_pause=0.0, credits_per_minute=150, credits_per_day=None)
    platform.execute("delete from instruments where substr(symbol, 2)::int > 150")
    overrides = {**platform.overrides, "twelve_data": plan}
    limited = replace(platform, definitions=build_definitions(resource_overrides=overrides))
    calls(limited, "quotes", providers=["twelve_data"])
    weights = [call["weight"] for call in platform.sandbox.calls(detail=True)["calls"]]
    assert weights == [120, 30]
