"""One filled database for all tests of reading, which change nothing."""

from datetime import datetime

import pytest

from financehub_dagster_tests.fixtures.database import Database
from financehub_dagster_tests.unit.serving import stored


@pytest.fixture(scope="module")
def before(module_database: Database) -> datetime:
    """A time before AAPL's values changed; the rows are there since."""
    return stored.fill()
