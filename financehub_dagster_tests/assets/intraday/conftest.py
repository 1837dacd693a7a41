"""A platform whose router of minutes asks the sandbox."""

import pytest

from financehub_dagster.providers import all_providers, intraday
from financehub_dagster.providers.routing import IntradayRouter
from financehub_dagster_tests.assets.intraday.intraday_world import MinuteMarket


@pytest.fixture
def market(platform, sandbox, monkeypatch) -> MinuteMarket:
    """The sandbox's minutes, as of a time that the test chooses."""
    market = MinuteMarket(platform, sandbox, IntradayRouter().over({**all_providers(), **platform.overrides}))
    monkeypatch.setattr(intraday, "our_clock", market.clock)
    return market
