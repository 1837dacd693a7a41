"""Questions under a symbol that an instrument gave up: answered about that instrument, and said so.

Belongs here: replacing the symbols of a question. Does not belong here: which symbols were given up (storage).
"""

import warnings
from collections.abc import Sequence
from dataclasses import replace

from financehub_dagster.serving.questions import TableQuery
from financehub_dagster.storage.queries import arrow, given_up


class RenamedSymbol(UserWarning):
    """A symbol that was asked for is another one now; the rows are under the present one."""


def with_present_symbols(reader: arrow.Reader, question: TableQuery, lacking: Sequence[str]) -> TableQuery:
    """The question with those of `lacking` that were given up replaced, each with a warning."""
    asked = question.selection.symbols
    known = [each for each in reader.given_up() if each.old in lacking]
    told: list[str] = []
    symbols = given_up.present(known, asked or (), told.append)
    if not told:
        return question
    for each in told:
        warnings.warn(each, RenamedSymbol, stacklevel=2)
    return replace(question, selection=replace(question.selection, symbols=symbols))
