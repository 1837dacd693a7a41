"""The week of bad days, played once for all tests that look at it."""

from collections.abc import Iterator

import pytest

from financehub_dagster.sandbox.client import Sandbox
from financehub_dagster_tests.faults.bad_day_runs import Week
from financehub_dagster_tests.fixtures.database import DatabaseServer


@pytest.fixture(scope="session")
def week(database_server: DatabaseServer, market_template: str, sandbox_process: Sandbox) -> Iterator[Week]:
    """A week with a database of its own; each day is played when a test first asks about it."""
    url = database_server.create(market_template)
    yield Week(url.set(drivername="postgresql").render_as_string(hide_password=False), sandbox_process)
    database_server.drop(url)
