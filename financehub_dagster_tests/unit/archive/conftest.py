"""A database with three months of minutes, and a home of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from financehub_dagster.settings import get_settings
from financehub_dagster_tests.unit.archive import months


@pytest.fixture
def home(database: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The home's folder; the database holds a July, an August and a November."""
    monkeypatch.setenv("FINANCEHUB_HOME", str(tmp_path))
    get_settings.cache_clear()
    months.fill()
    yield tmp_path
    get_settings.cache_clear()
