"""What the tests of the ledger share: a market without instruments, whose history begins on HISTORY_START."""

from collections.abc import Iterator

import pytest

from financehub_dagster.settings import get_settings
from financehub_dagster_tests.unit.ledger.ledger_world import HISTORY_START, World


@pytest.fixture
def world(database, monkeypatch) -> Iterator[World]:
    """A market at NOW, on a database of its own."""
    monkeypatch.setenv("FINANCEHUB_HISTORY_START", HISTORY_START.isoformat())
    get_settings.cache_clear()
    yield World()
    get_settings.cache_clear()
