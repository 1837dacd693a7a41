"""Messages are right in number: `wording.counted` puts a count and its noun, or the noun stands before the count."""

import ast
import re
from collections.abc import Iterator
from itertools import pairwise

import pytest

from financehub_dagster.wording import counted
from financehub_dagster_tests.fixtures.folder import REPOSITORY

PACKAGE = REPOSITORY / "financehub_dagster"
PLURAL = re.compile(r" (?:[a-z]+ ){0,2}?(?!(?:is|was|has|as|its|this|less|bytes|days|calendars)\b)[a-z]+s\b")
"""Some words, of which the last ends as plurals do. Calendars of an instrument are several, and days a constant."""


def messages_with_a_count(source: str) -> Iterator[str]:
    """The f-strings in which a number is followed by a plural: `len` or `sum` of something, or one with a comma."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.JoinedStr):
            continue
        for number, after in pairwise(node.values):
            if not (isinstance(number, ast.FormattedValue) and isinstance(after, ast.Constant)):
                continue
            counts = isinstance(number.value, ast.Call) and ast.unparse(number.value.func) in ("len", "sum")
            with_comma = number.format_spec is not None and ast.unparse(number.format_spec).endswith(",'")
            if (counts or with_comma) and PLURAL.match(str(after.value)):
                yield f"{node.lineno}: {ast.unparse(node)}"


@pytest.mark.parametrize(
    ("count", "words", "expected"),
    [
        (1, ("row",), "1 row"),
        (0, ("row",), "0 rows"),
        (3472, ("row",), "3,472 rows"),
        (1, ("piece of work waits", "pieces of work wait"), "1 piece of work waits"),
        (2, ("piece of work waits", "pieces of work wait"), "2 pieces of work wait"),
    ],
)
def test_a_count_has_the_noun_that_fits(count: int, words: tuple[str, ...], expected: str) -> None:
    assert counted(count, *words) == expected


def test_no_message_puts_a_plural_behind_a_number_that_may_be_one() -> None:
    files = [path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts[0] != "sandbox"]
    found = [f"{path}:{each}" for path in files for each in messages_with_a_count(path.read_text())]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("message", ['f"{len(lots)} invented lots"', 'f"{rows:,} rows read"'])
def test_such_a_message_is_found(message: str) -> None:
    assert list(messages_with_a_count(f"say({message})"))
    assert not list(messages_with_a_count(f'say({message.replace("s ", " ")[:-2]}")'))
