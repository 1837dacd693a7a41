"""A vendor that says what a test writes down, at the same address for a whole module."""

from collections.abc import Iterator

import pytest

from financehub_dagster_tests.assets.conftest import Platform
from financehub_dagster_tests.assets.prices.scripted_yahoo import ScriptedYahoo, scripted_yahoo
from financehub_dagster_tests.contracts.scripted import Answer, ScriptedVendor, scripted_vendor


@pytest.fixture(scope="module")
def vendor() -> Iterator[ScriptedVendor]:
    with scripted_vendor(Answer({})) as vendor:
        yield vendor


@pytest.fixture
def yahoo(platform: Platform, vendor: ScriptedVendor) -> ScriptedYahoo:
    """A platform of one stock, whose Yahoo answers as it is told to."""
    return scripted_yahoo(platform, vendor)
