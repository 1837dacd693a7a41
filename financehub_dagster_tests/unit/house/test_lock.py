"""uv.lock answers pyproject.toml as it stands: `make setup` installs from the lock alone and would not notice."""

import tomllib
from itertools import chain
from typing import Any

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from financehub_dagster_tests.fixtures.folder import REPOSITORY

Named = set[tuple[str, SpecifierSet]]


def load(name: str) -> dict[str, Any]:
    return tomllib.loads((REPOSITORY / name).read_text())


def wanted(requirements: list[str]) -> Named:
    return {(canonicalize_name(each.name), each.specifier) for each in map(Requirement, requirements)}


def declared() -> Named:
    """The dependencies, those of the extras included."""
    project = load("pyproject.toml")["project"]
    return wanted([*project["dependencies"], *chain(*project["optional-dependencies"].values())])


def locked(entries: list[dict[str, Any]]) -> Named:
    return {(entry["name"], SpecifierSet(entry.get("specifier", ""))) for entry in entries}


def own_metadata() -> dict[str, Any]:
    packages = load("uv.lock")["package"]
    metadata: dict[str, Any] = next(each for each in packages if each["name"] == "financehub-dagster")["metadata"]
    return metadata


def test_the_lock_answers_the_declared_dependencies() -> None:
    assert locked(own_metadata()["requires-dist"]) == declared()


def test_the_lock_answers_the_development_tools() -> None:
    assert locked(own_metadata()["requires-dev"]["dev"]) == wanted(load("pyproject.toml")["dependency-groups"]["dev"])


def test_the_lock_names_no_index_but_the_public_one() -> None:
    registries = {package["source"].get("registry") for package in load("uv.lock")["package"]} - {None}
    assert registries == {"https://pypi.org/simple"}


def test_every_dagster_package_has_the_same_release() -> None:
    versions = {
        each["name"]: each["version"] for each in load("uv.lock")["package"] if each["name"].startswith("dagster")
    }
    assert len({version.split(".")[-1] for version in versions.values()}) == 1, versions
