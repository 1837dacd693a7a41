"""What the end-to-end tests of the command line share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from financehub_dagster.settings import get_settings
from financehub_dagster.storage.engine import reset_engine


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Iterator[Path]:
    """An empty current folder; what a command does to the environment of this process is undone afterwards."""
    before = dict(os.environ)
    monkeypatch.chdir(tmp_path)
    get_settings.cache_clear()
    yield tmp_path
    reset_engine()
    get_settings.cache_clear()
    os.environ.clear()
    os.environ.update(before)
