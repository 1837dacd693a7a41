"""Docstrings of modules say where other things belong; the modules they name exist."""

import ast
import re
from pathlib import Path

import pytest

from financehub_dagster_tests.fixtures.folder import REPOSITORY

ROOT = REPOSITORY / "financehub_dagster"
IN_BRACKETS = re.compile(r"(?<![a-z_])\(`?([a-z_]{3,}(?:\.[a-z_]+)*)`?\)")
DOTTED = re.compile(r"(?<=[(, ])`?([a-z_]+\.[a-z_]+(?:\.[a-z_]+)*)`?(?=[),])")
NOT_OURS = re.compile(r"\.(yaml|md|py|com)$|^financehub_dagster\.")
"""Files and addresses, and names written out in full, which imports already prove."""


def named(path: Path) -> set[str]:
    """What the docstring of a module names in brackets, or with a dot."""
    text = " ".join((ast.get_docstring(ast.parse(path.read_text())) or "").split())
    found = {*IN_BRACKETS.findall(text), *DOTTED.findall(text)}
    return {name for name in found if not NOT_OURS.search(name)}


def exists(name: str, path: Path) -> bool:
    """Whether a module, or a name within one, can be meant by someone who reads `path`."""
    parts = name.split(".")
    for folder in (parent for parent in path.parents if parent == ROOT or ROOT in parent.parents):
        target = folder.joinpath(*parts)
        if target.is_dir() or target.with_suffix(".py").exists():
            return True
        module = folder.joinpath(*parts[:-1]).with_suffix(".py")
        if len(parts) > 1 and module.exists() and re.search(rf"\b{parts[-1]}\b", module.read_text()):
            return True
    return False


@pytest.mark.parametrize("folder", sorted(path.name for path in ROOT.iterdir() if (path / "__init__.py").exists()))
def test_modules_that_docstrings_name_exist(folder: str) -> None:
    paths = sorted((ROOT / folder).rglob("*.py"))
    missing = {f"{path.relative_to(ROOT)}: {name}" for path in paths for name in named(path) if not exists(name, path)}
    assert missing == set()
