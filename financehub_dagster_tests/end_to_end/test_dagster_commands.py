"""Dagster's own commands in a folder that is no checkout act on the platform that was started there."""

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from financehub_dagster.cli.app import run
from financehub_dagster.cli.project_files import FILES, MARK
from financehub_dagster.cli.supervisor.services import CODE_LOCATION
from financehub_dagster_tests.end_to_end.conftest import empty_folder

SCHEDULE = "fetch_news_schedule"
BIN = Path(sys.executable).parent


def typed(line: str) -> str:
    """What a command says that a person types in this folder: nothing but `.env` leads it to the platform."""
    command, *words = line.split()
    environment = {name: value for name, value in os.environ.items() if name not in ("DAGSTER_HOME", "FINANCEHUB_HOME")}
    done = subprocess.run([BIN / command, *words], capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def platform_folder(folder, database, dagster_database, capsys) -> Path:
    """A folder in which a platform was set up."""
    assert run(["db", "upgrade"]) == 0
    return folder


def test_a_schedule_is_stopped_where_the_platform_looks_for_it(platform_folder):
    assert "Stopped schedule" in typed(f"dagster schedule stop {SCHEDULE}")
    with dg.DagsterInstance.from_config(str(platform_folder / ".financehub/live/dagster")) as instance:
        [state] = [state for state in instance.all_instigator_state() if state.instigator_name == SCHEDULE]
        assert state.status.value == "STOPPED"
        assert state.origin.repository_origin.code_location_origin.location_name == CODE_LOCATION


def test_dg_finds_the_definitions(platform_folder):
    assert "All definitions loaded successfully" in typed("dg check defs")


@pytest.fixture
def plain(tmp_path):
    """A folder in which nothing was started."""
    with empty_folder(tmp_path) as folder:
        yield folder


def test_a_project_of_the_users_is_left_alone(plain, database, dagster_database):
    (plain / "pyproject.toml").write_text("[tool.dg]\ndirectory_type = 'project'\n")
    assert run(["db", "upgrade"]) == 0
    assert [name for name in FILES if (plain / name).exists()] == []


def test_a_file_of_the_users_is_left_alone_and_the_other_way_is_named(plain, database, dagster_database, capsys):
    (plain / "workspace.yaml").write_text("load_from: []\n")
    assert run(["db", "upgrade"]) == 0
    assert (plain / "workspace.yaml").read_text() == "load_from: []\n"
    assert (plain / "dg.toml").read_text().startswith(MARK)
    assert "live/workspace.yaml` while the platform runs" in capsys.readouterr().err
