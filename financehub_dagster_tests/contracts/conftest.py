"""What tests of several vendors share: one database for a whole module, and a key for each vendor that wants one."""

from collections.abc import Iterator

import pytest

from financehub_dagster.settings import get_settings
from financehub_dagster_tests.contracts.vendor_cases import KEY, VENDORS
from financehub_dagster_tests.fixtures.database import DatabaseServer, clear_caches


@pytest.fixture(scope="module")
def books(database_server: DatabaseServer, market_template: str) -> Iterator[None]:
    """A database for all tests of a module: they must not mind each other's limits and breakers."""
    url = database_server.create(market_template)
    with pytest.MonkeyPatch.context() as environment:
        text = url.set(drivername="postgresql").render_as_string(hide_password=False)
        environment.setenv("FINANCEHUB_DATABASE_URL", text)
        clear_caches()
        yield
    clear_caches()
    database_server.drop(url)


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The same key for every vendor that wants one."""
    for vendor in VENDORS:
        monkeypatch.setenv(f"{vendor.name.upper()}_API_KEYS", KEY)
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()
