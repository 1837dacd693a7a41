"""What the end-to-end tests of the command line share."""

import os
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path

import pytest

from financehub_dagster.settings import get_settings
from financehub_dagster.storage.database.engine import reset_engine
from financehub_dagster.storage.database.urls import beside
from financehub_dagster_tests.fixtures.database import Database, DatabaseServer


@contextmanager
def empty_folder(path: Path) -> Iterator[Path]:
    """The current folder for the duration; what a command does to the environment of this process is undone then."""
    before = dict(os.environ)
    get_settings.cache_clear()
    with chdir(path):
        yield path
    reset_engine()
    get_settings.cache_clear()
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def folder(tmp_path) -> Iterator[Path]:
    """An empty current folder."""
    with empty_folder(tmp_path) as folder:
        yield folder


@pytest.fixture
def dagster_database(database: Database, database_server: DatabaseServer, dagster_template: str) -> None:
    """Dagster's own database beside that of the market: making its tables takes longer than most commands."""
    database_server.create(dagster_template, beside(database.engine.url).database)
