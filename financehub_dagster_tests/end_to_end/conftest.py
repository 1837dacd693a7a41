"""What the end-to-end tests of the command line share."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager
from pathlib import Path

import pytest
from sqlalchemy.engine import URL

from financehub_dagster.cli.app import run
from financehub_dagster.sandbox.client import Sandbox
from financehub_dagster.settings import get_settings
from financehub_dagster.storage.database.urls import beside
from financehub_dagster_tests.fixtures.database import Database, DatabaseServer, chosen, reset_engine
from financehub_dagster_tests.fixtures.inbox import Inbox
from financehub_dagster_tests.fixtures.sandbox import as_new


@pytest.fixture(scope="session", autouse=True)
def _loaded_once() -> None:
    """The code location of this process, before a test moves the start of history: its partitions begin there."""
    import financehub_dagster.definitions  # noqa: F401


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


def loaded_by(*arguments: str, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> tuple[str, set[str]]:
    """What a command prints in a process of its own, and the modules it has loaded at its end."""
    show = "import sys; from financehub_dagster.cli.app import run; run(sys.argv[1:]); print(*sys.modules)"
    command = [sys.executable, "-c", show, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=cwd, env=env)
    *text, modules = done.stdout.splitlines()
    return "\n".join(text), set(modules.split())


@contextmanager
def prepared(
    server: DatabaseServer, template: str, sandbox: Sandbox, path: Path, universe: str, *, delisted: Sequence[str] = ()
) -> Iterator[Callable[..., URL]]:
    """Databases that tests start from copies of: imports a universe, runs commands, and names that of the market.

    The vendors do not know the symbols in `delisted`.
    """
    url = server.create(template)

    def run_all(*commands: Sequence[str]) -> URL:
        with empty_folder(path) as folder, chosen(url), as_new(sandbox) as box:
            (folder / "mine.yaml").write_text(universe)
            for symbol in delisted:
                box.delist(symbol)
            for command in (["instruments", "import", "mine.yaml"], *commands):
                assert run(command) == 0
        return url

    yield run_all
    server.drop(url)
    server.drop(beside(url))


@pytest.fixture(scope="module")
def inbox() -> Iterator[Inbox]:
    """Where the alerts of a module's platform arrive."""
    inbox = Inbox()
    yield inbox
    inbox.server.shutdown()


@pytest.fixture
def folder(tmp_path) -> Iterator[Path]:
    """An empty current folder."""
    with empty_folder(tmp_path) as folder:
        yield folder


@pytest.fixture
def dagster_database(database: Database, database_server: DatabaseServer, dagster_template: str) -> None:
    """Dagster's own database beside that of the market: making its tables takes longer than most commands."""
    database_server.create(dagster_template, beside(database.engine.url).database)
