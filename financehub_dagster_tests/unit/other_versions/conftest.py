"""In this folder the server of every test is of another major version than the embedded one.

The oldest that the machine's packages have, otherwise the second one of the embedded server's wheel.
"""

from collections.abc import Iterator

import pytest

from financehub_dagster_tests.end_to_end.conftest import folder
from financehub_dagster_tests.fixtures.database import DatabaseServer, create_dagster_template
from financehub_dagster_tests.fixtures.other_servers import in_wheel, other_server, packaged

__all__ = ["folder"]


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark what only the whole fault suite runs; the functions are those of other suites, where every run has them."""
    from financehub_dagster_tests.unit.other_versions.test_second_version import IN_SHORT

    if item.name.partition("[")[0] not in IN_SHORT:
        item.add_marker(pytest.mark.full)


@pytest.fixture(scope="session")
def database_server() -> Iterator[DatabaseServer]:
    """A server of another major version."""
    programs = next(iter(packaged()), None) or in_wheel()
    if programs is None:
        pytest.skip(
            "there is no second major version of PostgreSQL on this machine (Debian: apt-get install postgresql)"
        )
    with other_server(programs) as server:
        yield server


@pytest.fixture(scope="session")
def market_template(database_server: DatabaseServer) -> str:
    """The name of a migrated database on it."""
    return database_server.migrated()


@pytest.fixture(scope="session")
def database_template(market_template: str) -> str:
    """What the database of each test is a copy of."""
    return market_template


@pytest.fixture(scope="session")
def dagster_template(database_server: DatabaseServer) -> str:
    """The name of a database with Dagster's tables on it."""
    return create_dagster_template(database_server)
