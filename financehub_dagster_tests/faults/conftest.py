"""What the fault tests share: the week of bad days, and the states in which processes are killed."""

from collections.abc import Callable, Iterator

import pytest

from financehub_dagster.sandbox.client import Sandbox
from financehub_dagster_tests.faults.bad_days.bad_day_runs import Week
from financehub_dagster_tests.faults.bad_days.bad_days import CELLS, IN_SHORT
from financehub_dagster_tests.faults.kill.kill_world import World
from financehub_dagster_tests.fixtures.database import DatabaseServer
from financehub_dagster_tests.fixtures.fault_form import CASE, in_full


@pytest.fixture(scope="session")
def week(
    database_server: DatabaseServer, market_template: str, sandbox_process: Sandbox, pytestconfig: pytest.Config
) -> Iterator[Week]:
    """A week with a database of its own; each day is played when a test first asks about it."""
    url = database_server.create(market_template)
    address = url.set(drivername="postgresql").render_as_string(hide_password=False)
    yield Week(address, sandbox_process, CELLS if in_full(pytestconfig) else IN_SHORT)
    database_server.drop(url)


@pytest.fixture(scope="session")
def world(database_server, market_template, sandbox_process, tmp_path_factory) -> World:
    """The states that processes are killed in."""
    return World(database_server, sandbox_process, tmp_path_factory.mktemp("world"), market_template)


@pytest.fixture
def count_cases(record_property) -> Callable[..., None]:
    """Says what kind of case a test is, and how many of them."""

    def count(kind: str, cases: int = 1) -> None:
        record_property(CASE, (kind, cases))

    return count
