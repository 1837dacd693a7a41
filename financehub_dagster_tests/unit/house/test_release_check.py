"""The release checklist: what it refuses, and that its steps exist."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from financehub_dagster_tests.fixtures.folder import REPOSITORY

VERSION = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A repository with the files that the checklist reads, all committed."""
    for name in ("pyproject.toml", "CHANGELOG.md"):
        shutil.copy(REPOSITORY / name, tmp_path)
    shutil.copytree(REPOSITORY / "scripts", tmp_path / "scripts")
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "All"]):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *command], cwd=tmp_path, check=True)
    return tmp_path


def check(clone: Path, *steps: str) -> tuple[int, str]:
    done = subprocess.run(["scripts/release-check.sh", *steps], cwd=clone, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_every_step_that_is_listed_exists() -> None:
    steps = subprocess.run(["scripts/release-check.sh", "--list"], cwd=REPOSITORY, capture_output=True, text=True)
    defined = re.findall(r"^check_(\w+)\(\)", (REPOSITORY / "scripts/release-check.sh").read_text(), re.MULTILINE)
    assert steps.stdout.split() == defined


def test_an_unknown_step_is_wrong_usage(clone: Path) -> None:
    code, said = check(clone, "cleen")
    assert (code, "no step cleen" in said) == (2, True)


def test_a_release_needs_a_clean_checkout_a_new_version_and_its_changes(clone: Path) -> None:
    dated = re.sub(
        r"^## .*$", f"## {VERSION} (2026-12-01)", (clone / "CHANGELOG.md").read_text(), count=1, flags=re.MULTILINE
    )
    (clone / "CHANGELOG.md").write_text(dated)
    code, said = check(clone, "clean", "version", "changelog")
    assert (code, "FAILED: clean" in said, "passed: changelog" in said) == (1, True, True)
    for command in (["add", "-A"], ["commit", "-qm", "Release"]):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *command], cwd=clone, check=True)
    assert check(clone, "clean", "version", "changelog") == (
        0,
        f"passed: clean\npassed: version\npassed: changelog\nready: git tag v{VERSION}\n",
    )
    subprocess.run(["git", "tag", f"v{VERSION}"], cwd=clone, check=True)
    assert "is released already" in check(clone, "version")[1]


def test_the_changes_of_another_version_are_refused(clone: Path) -> None:
    text = (clone / "CHANGELOG.md").read_text().replace(f"## {VERSION}", "## 9.9.9", 1)
    (clone / "CHANGELOG.md").write_text(text)
    code, said = check(clone, "changelog")
    assert (code, "CHANGELOG.md begins with" in said) == (1, True)


def test_the_changelog_tells_of_the_version_at_hand() -> None:
    first = re.search(r"^## (\S+)", (REPOSITORY / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert first is not None
    assert first[1] == VERSION
