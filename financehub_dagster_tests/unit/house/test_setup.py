"""The Makefile and scripts/setup.sh: what a person types, and what happens on a machine that is not as it should be."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from financehub_dagster_tests.fixtures.folder import REPOSITORY

TARGETS = {"setup", "demo", "up", "test", "lint", "bench", "clean", "help"}
RECORDING_UV = """#!/bin/sh
if [ "$1" = --version ]; then echo "uv {version}"; exit 0; fi
mkdir -p "$UV_PROJECT_ENVIRONMENT/lib/python3.12/site-packages"
printf '%s\\n' "$*" "cache=${{UV_CACHE_DIR:-}}" >> "{log}"
exit {exit_code}
"""


class Clone:
    """A copy of the house's own files beside a uv that only writes down what it is asked to do."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "clone"
        self.folder.mkdir()
        shutil.copy(REPOSITORY / "Makefile", self.folder)
        shutil.copytree(REPOSITORY / "scripts", self.folder / "scripts")
        self.log = folder / "asked"
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.home = folder / "home"
        self.home.mkdir()
        self.put_uv()

    def put_uv(self, version: str = "0.9.1", exit_code: int = 0) -> None:
        uv = self.bin / "uv"
        uv.write_text(RECORDING_UV.format(version=version, log=self.log, exit_code=exit_code))
        uv.chmod(0o755)

    def setup(self, **environment: str) -> subprocess.CompletedProcess[str]:
        path = f"{self.bin}:/usr/bin:/bin"
        return subprocess.run(
            ["/bin/sh", "scripts/setup.sh"],
            cwd=self.folder,
            env={"PATH": path, "HOME": str(self.home), "PYTHON": sys.executable, **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    def asked(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path)


def test_setup_installs_exactly_what_the_lock_file_names(clone: Clone) -> None:
    result = clone.setup()
    assert result.returncode == 0, result.stderr
    assert clone.asked()[0].startswith(f"sync --project {clone.folder} --frozen --python ")


def test_setup_writes_nothing_to_standard_output_that_a_json_reader_would_trip_over(clone: Clone) -> None:
    assert clone.setup().stdout == ""


@pytest.mark.parametrize("home", ["", "/no/such/home"])
def test_a_user_without_a_home_keeps_the_cache_in_the_clone(clone: Clone, home: str) -> None:
    assert clone.setup(HOME=home).returncode == 0
    assert clone.asked()[1] == f"cache={clone.folder}/.uv/cache"


def test_a_user_with_a_home_keeps_the_cache_where_the_next_clone_finds_it(clone: Clone) -> None:
    clone.setup()
    assert clone.asked()[1] == "cache="


def test_dagster_commands_without_configuration_files_find_the_definitions(clone: Clone) -> None:
    clone.setup()
    startup = next(clone.folder.glob(".venv/lib/python3*/site-packages/*.pth")).read_text()
    environment = subprocess.run(
        [sys.executable, "-S", "-c", f"{startup}\nfor pair in os.environ.items(): print('='.join(pair))"],
        env={},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    variables = dict(line.split("=", 1) for line in environment.splitlines() if line.startswith("DAGSTER_CLI"))
    listed = subprocess.run(
        [sys.executable, "-m", "dagster", "asset", "list", "--select", "key:instruments"],
        env={**os.environ, **variables},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert listed.stdout.splitlines()[-1:] == ["instruments"], listed.stderr


def test_a_failed_installation_ends_with_the_remedy(clone: Clone) -> None:
    clone.put_uv(exit_code=1)
    result = clone.setup()
    assert result.returncode == 1
    assert "check the network" in result.stderr.splitlines()[-1]


def test_an_interpreter_that_will_not_do_stops_before_anything_is_changed(clone: Clone) -> None:
    result = clone.setup(PYTHON="/no/such/python")
    assert result.returncode == 1
    assert result.stderr.startswith("PYTHON=/no/such/python is not")
    assert clone.asked() == []


def test_a_uv_too_old_for_the_lock_file_is_not_used(clone: Clone) -> None:
    clone.put_uv(version="0.4.30")
    base = Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")
    closed = {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull, "PYTHON": str(base)}
    result = clone.setup(**closed)
    assert result.returncode == 1
    assert clone.asked() == []
    assert "uv could not be fetched" in result.stderr.splitlines()[-1]
    assert not list(clone.folder.glob(".uv.new.*"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_clone_of_somebody_else_is_refused_in_one_line(clone: Clone) -> None:
    clone.folder.chmod(0o555)
    result = clone.setup()
    assert result.returncode == 1
    assert re.fullmatch(r"setup: .* is not writable by .*: clone .*\n", result.stderr)


def test_make_alone_lists_every_target() -> None:
    listed = subprocess.run(["make"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"^  make (\S+)", listed, flags=re.MULTILINE)) >= TARGETS


def test_ci_runs_what_make_test_runs() -> None:
    assert "make test" in (REPOSITORY / ".ci" / "run").read_text()
    planned = subprocess.run(
        ["make", "--dry-run", "test"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout
    for tool in ("scripts/setup.sh", "ruff format --check", "ruff check", "mypy", "lint-imports", "pytest"):
        assert tool in planned


def test_clean_leaves_data_and_configuration_alone(clone: Clone) -> None:
    for kept in (".financehub/data", ".env"):
        path = clone.folder / kept
        path.parent.mkdir(exist_ok=True)
        path.write_text("kept")
    (clone.folder / ".venv").mkdir()
    (clone.folder / "financehub_dagster" / "__pycache__").mkdir(parents=True)
    (clone.folder / "financehub_dagster_tests").mkdir()
    subprocess.run(["make", "clean"], cwd=clone.folder, check=True, capture_output=True)
    assert (clone.folder / ".financehub" / "data").exists()
    assert (clone.folder / ".env").exists()
    assert not (clone.folder / ".venv").exists()
    assert not (clone.folder / "financehub_dagster" / "__pycache__").exists()
