"""The code server of a platform by itself: what it says of code that does not load, and of a database that is away."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from financehub_dagster.cli.errors import CommandError
from financehub_dagster.cli.home import Home
from financehub_dagster.cli.supervisor import ports, services
from financehub_dagster.operations.probes import Trouble
from financehub_dagster_tests.fixtures.eventually import eventually
from financehub_dagster_tests.fixtures.folder import REPOSITORY

PATIENCE = 120.0
NOT_LOADED = "the code location does not load: RuntimeError: no such luck"


@contextmanager
def running(folder: Path, service: services.Service, **environment: str) -> Iterator[services.Service]:
    """A part of a platform in `folder`, whose modules it can import."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("FINANCEHUB_", "DAGSTER_"))}
    ours |= {"PYTHONPATH": f"{REPOSITORY}:{folder}", "FINANCEHUB_HOME": str(folder), "DAGSTER_HOME": str(folder)}
    ours |= environment
    process = subprocess.Popen(service.argv, cwd=folder, env=ours, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        yield service
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def code_server(folder: Path, definitions: str, **environment: str) -> Iterator[services.Service]:
    """It answers, whatever that is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(services, "DEFINITIONS", definitions)
        service = services.code_server(ports.pick_free())
    with running(folder, service, **environment):
        eventually(service.ready, PATIENCE)
        yield service


def trouble(service: services.Service) -> str:
    """Why it does not work."""
    assert service.probe is not None
    with pytest.raises(Trouble) as caught:
        service.probe(lambda: 0.0)()
    return str(caught.value)


def test_code_that_does_not_load_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("raise RuntimeError('no such luck')")
    with code_server(tmp_path, "broken") as service:
        assert trouble(service) == NOT_LOADED
        workspace = services.write_workspace(Home(tmp_path, tmp_path), int(str(service.url).rpartition(":")[2]))
        webserver = services.dagster_webserver(ports.pick_free(), workspace, services.Pages())
        with running(tmp_path, webserver), pytest.raises(CommandError) as caught:
            eventually(webserver.ready, PATIENCE)
        assert str(caught.value) == NOT_LOADED


def test_definitions_of_somebody_else_are_served(tmp_path: Path) -> None:
    (tmp_path / "theirs.py").write_text("from financehub_dagster.definitions import defs as defs")
    with code_server(tmp_path, "theirs") as service:
        assert service.probe is not None
        service.probe(lambda: 0.0)()


def test_a_database_that_was_away_when_it_began_is_trouble_until_it_is_started_again(tmp_path: Path) -> None:
    """Dagster keeps the error, and would show it for ever."""
    (tmp_path / "dagster.yaml").write_text((REPOSITORY / "dagster.yaml").read_text())
    address = f"postgresql+psycopg://nobody@127.0.0.1:{ports.pick_free()}/nothing"
    with code_server(tmp_path, services.DEFINITIONS, FINANCEHUB_DATABASE_URL=address) as service:
        assert "cannot be reached" in trouble(service)
