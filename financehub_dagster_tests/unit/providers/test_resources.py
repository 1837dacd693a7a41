"""Providers as Dagster sees them: named, documented, configurable, and light until they are asked."""

import subprocess
import sys

import dagster as dg
import pytest
from pydantic import ValidationError

from financehub_dagster.providers import all_providers
from financehub_dagster.providers.binance.provider import BinanceProvider
from financehub_dagster.providers.yahoo.provider import YahooProvider
from financehub_dagster_tests.fixtures.folder import REPOSITORY

PAGE = (REPOSITORY / "docs" / "providers.md").read_text()
HEAVY = ("pandas", "numpy", "yfinance", "binance", "curl_cffi")
LOOK = f"""
import sys
from financehub_dagster.providers import all_providers
all_providers()
print([name for name in {HEAVY} if name in sys.modules])
"""


def test_every_provider_is_listed_under_its_name() -> None:
    providers = all_providers()
    assert list(providers) == [
        "yahoo",
        "binance",
        "alpha_vantage",
        "coingecko",
        "coinmarketcap",
        "finnhub",
        "twelve_data",
        "newsapi",
    ]
    assert all(isinstance(provider, dg.ConfigurableResource) for provider in providers.values())


@pytest.mark.parametrize("name", all_providers())
def test_every_provider_and_every_field_of_it_is_documented(name: str) -> None:
    assert f"`{name}`" in PAGE
    for field, about in type(all_providers()[name]).model_fields.items():
        assert f"`{field}`" in PAGE
        assert about.description


def test_binding_the_providers_loads_no_client_library() -> None:
    run = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_limits_can_be_changed_by_run_config() -> None:
    seen = []

    @dg.op
    def look(yahoo: YahooProvider) -> None:
        seen.append(yahoo.requests_per_second)

    @dg.job(resource_defs={"yahoo": YahooProvider.configure_at_launch()})
    def job() -> None:
        look()

    assert job.execute_in_process({"resources": {"yahoo": {"config": {"requests_per_second": 0.5}}}}).success
    assert seen == [0.5]


def test_a_limit_that_allows_nothing_is_refused() -> None:
    with pytest.raises(ValidationError, match="requests_per_second"):
        YahooProvider(requests_per_second=0)
    with pytest.raises(ValidationError, match="weight_per_minute"):
        BinanceProvider(weight_per_minute=1)
