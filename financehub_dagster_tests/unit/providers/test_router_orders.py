"""Every vendor that a router asks by default for a table's instruments is one that the table's asset can reach."""

import pytest

from financehub_dagster.definitions import build_definitions
from financehub_dagster.tables import TABLES
from financehub_dagster.tables.declaration import History

HISTORIES = {name: table for name, table in TABLES.items() if isinstance(table.filled, History)}


@pytest.fixture(scope="module")
def resources():
    return build_definitions().resources


@pytest.mark.parametrize("name", list(HISTORIES))
def test_a_table_has_every_vendor_that_its_router_asks(name, resources):
    table = HISTORIES[name]
    router = resources[table.filled.router]
    asked = {vendor for kind in table.instruments for vendor in getattr(router, str(kind))}
    assert asked
    assert asked <= set(table.filled.vendors)
