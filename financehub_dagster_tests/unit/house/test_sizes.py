"""Sizes: no file past 500 lines, no function past 60, no folder of the product past 20 modules."""

import ast
from collections import Counter
from pathlib import Path

from financehub_dagster_tests.fixtures.folder import REPOSITORY

LONGEST_FILE = 500
LONGEST_FUNCTION = 60
FULLEST_FOLDER = 20
MIGRATIONS = REPOSITORY / "financehub_dagster/storage/database/migrations/versions"


def sources() -> list[Path]:
    return [
        path
        for folder in ("financehub_dagster", "financehub_dagster_tests", "scripts")
        for path in sorted((REPOSITORY / folder).rglob("*"))
        if path.suffix in {".py", ".sh"}
    ]


def test_there_are_sources_to_measure() -> None:
    assert len(sources()) > 50


def test_no_file_is_longer_than_five_hundred_lines() -> None:
    lengths = {str(path.relative_to(REPOSITORY)): len(path.read_text().splitlines()) for path in sources()}
    assert {name: length for name, length in lengths.items() if length > LONGEST_FILE} == {}


def test_no_function_is_longer_than_sixty_lines() -> None:
    offenders = {}
    for path in sources():
        if path.suffix == ".sh":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
                length = node.end_lineno - node.lineno + 1
                if length > LONGEST_FUNCTION:
                    offenders[f"{path.relative_to(REPOSITORY)}:{node.lineno} {node.name}"] = length
    assert offenders == {}


def test_no_folder_of_the_product_holds_more_than_twenty_modules_side_by_side() -> None:
    modules = Counter(
        path.parent for path in (REPOSITORY / "financehub_dagster").rglob("*.py") if path.name != "__init__.py"
    )
    assert modules.pop(MIGRATIONS) > 0
    assert {
        str(folder.relative_to(REPOSITORY)): count for folder, count in modules.items() if count > FULLEST_FOLDER
    } == {}
