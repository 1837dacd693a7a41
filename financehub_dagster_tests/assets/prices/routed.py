"""What tests of routing share: the platform with keys for the vendors that stand in, and a run that names vendors."""

from collections.abc import Sequence

import dagster as dg
import pytest

from financehub_dagster.assets.charts import PICTURES_TAG
from financehub_dagster.definitions import build_definitions
from financehub_dagster.providers.alpha_vantage.provider import AlphaVantageProvider
from financehub_dagster.providers.twelve_data.provider import TwelveDataProvider
from financehub_dagster.providers.yahoo.provider import YahooProvider
from financehub_dagster.settings import get_settings
from financehub_dagster.storage.queries.instruments import list_instruments
from financehub_dagster_tests.assets.conftest import Platform, without_checks

DAY = 86_400.0


def with_keys(
    platform: Platform,
    environment: pytest.MonkeyPatch,
    *vendors: str,
    calls_per_day: int = 100_000,
    premium: bool = True,
) -> None:
    """Give these vendors a key, without limits but Alpha Vantage's per day, which the sandbox enforces too."""
    for vendor in vendors:
        key = platform.sandbox.keys[f"{vendor.upper()}_API_KEYS"]
        environment.setenv(f"{vendor.upper()}_API_KEYS", key)
        platform.sandbox.declare_key(vendor, key, plan="paid" if premium else "free")
        for seconds in (1.0, 60.0):
            platform.sandbox.limit(vendor, 100_000, seconds)
    platform.sandbox.limit("alpha_vantage", calls_per_day, DAY)
    get_settings.cache_clear()
    overrides = {
        "yahoo": YahooProvider(requests_per_second=1000, first_pause=0.001),
        "twelve_data": TwelveDataProvider(credits_per_minute=100_000, credits_per_day=None, first_pause=0.001),
        "alpha_vantage": AlphaVantageProvider(
            premium=premium, requests_per_second=1000, requests_per_day=calls_per_day, first_pause=0.001
        ),
    }
    platform.definitions = build_definitions(resource_overrides=overrides)


def fetch_from(
    platform: Platform, providers: Sequence[str], month: str, symbols: Sequence[str]
) -> dg.ExecuteInProcessResult:
    """Materialize one month of stocks from these vendors alone."""
    job = without_checks(platform.definitions).resolve_implicit_global_asset_job_def()
    config = {"symbols": list(symbols), "providers": list(providers)}
    return job.execute_in_process(
        run_config={"ops": {"stock_prices_daily": {"config": config}}},
        partition_key=month,
        tags={PICTURES_TAG: "none"},
        asset_selection=[dg.AssetKey("stock_prices_daily")],
        instance=platform.instance,
        raise_on_error=False,
    )


def some_stocks(platform: Platform, count: int) -> list[str]:
    """The most important stocks of the universe."""
    with platform.engine.connect() as connection:
        listed = list_instruments(connection)
    return [each.symbol for each in listed if each.asset_type == "stock"][:count]
