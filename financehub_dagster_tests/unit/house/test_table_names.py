"""A table and what it is made of are declared in one place.

Its name stands elsewhere only where something is about that very table.
"""

import re
from pathlib import Path

from financehub_dagster.market import bar_arrays
from financehub_dagster.market.bar_arrays import DAILY_VALUES
from financehub_dagster.tables import DATA, EXTRA, TABLES
from financehub_dagster_tests.fixtures.folder import REPOSITORY

PACKAGE = REPOSITORY / "financehub_dagster"
EXCEPTED = ("tables", "sandbox", "storage/database/migrations")
WORDS = {"instruments", "quotes", "fundamentals", "crypto_markets", "pivot_points", "signals"}
"""Names that are words of the field too, or what vendors can be asked for: they count where they are quoted, outside of
the providers."""
MOST = 25


def lines_that_name_a_table() -> list[str]:
    """file:line: text, for each line that has the name of a table of market data."""
    names = re.compile(rf"\b(?:{'|'.join(name for name in DATA if name not in WORDS)})\b")
    words = re.compile(rf"[\"'](?:{'|'.join(WORDS - {'instruments'})})[\"']")
    found = []
    for file in sorted(PACKAGE.rglob("*.py")):
        path = file.relative_to(PACKAGE).as_posix()
        if path.startswith(EXCEPTED):
            continue
        for number, line in enumerate(file.read_text().splitlines(), start=1):
            if names.search(line) or (words.search(line) and not path.startswith("providers")):
                found.append(f"{path}:{number}: {line.strip()}")
    return found


def test_few_lines_outside_of_the_declarations_name_a_table():
    found = lines_that_name_a_table()
    assert found, "the pattern finds nothing any more"
    assert len(found) <= MOST, "\n".join(found)


def test_every_table_is_declared_in_a_file_of_its_name():
    files = {path.stem for path in (PACKAGE / "tables").rglob("*.py")}
    assert TABLES.keys() - {table.name for table in EXTRA} <= files


def test_the_numbers_of_a_daily_bar_are_listed_once():
    listed = ", ".join(f'"{name}"' for name in DAILY_VALUES)
    assert [path for path in sorted(PACKAGE.rglob("*.py")) if listed in path.read_text()] == [Path(bar_arrays.__file__)]
