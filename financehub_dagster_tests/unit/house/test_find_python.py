"""scripts/find-python.sh in prepared folders: which interpreter it chooses, and what it says when none will do."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from financehub_dagster_tests.fixtures.folder import REPOSITORY

SCRIPT = REPOSITORY / "scripts" / "find-python.sh"
BASE = Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
MINE = f"{sys.version_info.major}.{sys.version_info.minor}"
OTHER = {"3.12": "3.13", "3.13": "3.12"}[MINE]
TOOLS = ("/usr/bin", "/bin")


class Machine:
    """A machine laid out in a temporary folder: its PATH, home and system folders hold only what a test puts there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.tools = root / "tools"
        self.home = root / "home"
        self.system = root / "system"
        for folder in (self.tools, self.home, self.system):
            folder.mkdir()
        for name in ("sh", "tr", "sed", "env"):
            tool = next(Path(folder, name) for folder in TOOLS if Path(folder, name).exists())
            (self.tools / name).symlink_to(tool)

    def works(self, path: str) -> Path:
        """Put an interpreter there that runs: a link to the one these tests run on."""
        return self._place(path, f'#!/bin/sh\nexec "{BASE}" "$@"\n')

    def fails(self, path: str, exit_code: int = 127) -> Path:
        """Put something there that is executable and exits at once, as a pyenv shim of an inactive version does."""
        return self._place(path, f"#!/bin/sh\nexit {exit_code}\n")

    def _place(self, path: str, text: str) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755)
        return file

    def find(self, *folders: str, **environment: str) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join([*(str(self.root / folder) for folder in folders), str(self.tools)])
        return subprocess.run(
            ["/bin/sh", str(SCRIPT)],
            env={"PATH": path, "HOME": str(self.home), "SYSTEM_PREFIX": str(self.system), **environment},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def real(result: subprocess.CompletedProcess[str]) -> Path:
    assert result.returncode == 0, result.stderr
    return Path(result.stdout.strip()).resolve()


@pytest.mark.parametrize(
    "place",
    [
        f"bin/python{MINE}",
        "bin/python3",
        "bin/python",
        f"home/.pyenv/versions/{MINE}.1/bin/python{MINE}",
        f"home/.local/share/uv/python/cpython-{MINE}.8-linux-x86_64-gnu/bin/python{MINE}",
        f"home/.local/share/mise/installs/python/{MINE}/bin/python{MINE}",
        f"home/.asdf/installs/python/{MINE}.4/bin/python{MINE}",
        f"system/root/.pyenv/versions/{MINE}.1/bin/python{MINE}",
        f"system/opt/pyenv/versions/{MINE}.9/bin/python{MINE}",
        f"system/usr/bin/python{MINE}",
        f"system/usr/local/bin/python{MINE}",
        f"system/opt/conda/bin/python{MINE}",
        f"system/opt/python/{MINE}.2/bin/python{MINE}",
    ],
)
def test_an_interpreter_is_found_wherever_it_usually_stands(machine: Machine, place: str) -> None:
    machine.works(place)
    assert real(machine.find("bin")) == BASE.resolve()


def test_a_dead_shim_leads_to_the_version_its_pyenv_holds(machine: Machine) -> None:
    machine.fails(f"opt/pyenv/shims/python{MINE}")
    machine.fails("opt/pyenv/shims/python3", exit_code=1)
    machine.works(f"opt/pyenv/versions/{MINE}.1/bin/python{MINE}")
    assert real(machine.find("opt/pyenv/shims")) == BASE.resolve()


def test_pyenv_root_is_searched_although_nothing_of_it_is_on_the_path(machine: Machine) -> None:
    machine.works(f"elsewhere/versions/{MINE}.1/bin/python{MINE}")
    assert real(machine.find(PYENV_ROOT=str(machine.root / "elsewhere"))) == BASE.resolve()


def test_a_python3_of_another_version_is_passed_over(machine: Machine) -> None:
    machine.fails("bin/python3", exit_code=1)
    machine.works(f"system/usr/bin/python{MINE}")
    assert real(machine.find("bin")) == BASE.resolve()


def test_a_name_that_lies_about_its_version_is_passed_over(machine: Machine) -> None:
    machine.works(f"bin/python{OTHER}")
    result = machine.find("bin")
    assert (result.returncode, result.stdout, result.stderr) == (1, "", "")


def test_a_folder_in_an_interpreters_place_is_passed_over(machine: Machine) -> None:
    (machine.root / "bin" / f"python{MINE}").mkdir(parents=True)
    assert machine.find("bin").returncode == 1


def test_folders_with_spaces_are_searched_too(machine: Machine) -> None:
    machine.works(f"my tools/python{MINE}")
    assert real(machine.find("my tools")) == BASE.resolve()


def test_without_any_interpreter_it_fails_and_says_nothing(machine: Machine) -> None:
    result = machine.find("bin")
    assert (result.returncode, result.stdout, result.stderr) == (1, "", "")


def test_without_a_home_only_the_system_is_searched(machine: Machine) -> None:
    machine.works(f"system/usr/bin/python{MINE}")
    assert real(machine.find("bin", HOME="")) == BASE.resolve()


def test_the_named_interpreter_is_used_and_no_other(machine: Machine) -> None:
    machine.works(f"bin/python{MINE}")
    named = machine.works("special/interpreter")
    assert real(machine.find("bin", PYTHON=str(named))) == BASE.resolve()


def test_a_named_interpreter_that_will_not_do_is_refused_by_name(machine: Machine) -> None:
    machine.works(f"bin/python{MINE}")
    result = machine.find("bin", PYTHON="/no/such/python")
    assert result.returncode == 2
    assert result.stderr.startswith("PYTHON=/no/such/python is not a 64-bit CPython 3.12 or 3.13")
    assert result.stderr.count("\n") == 1
