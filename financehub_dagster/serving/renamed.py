"""Questions under a symbol that an instrument gave up: answered about that instrument, and said so.

Belongs here: replacing the symbols of a question. Does not belong here: which symbols were given up (storage).
"""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from financehub_dagster.serving.questions import TableQuery
from financehub_dagster.storage.queries import arrow


class RenamedSymbol(UserWarning):
    """A symbol that was asked for is another one now; the rows are under the present one."""


def with_present_symbols(reader: arrow.Reader, question: TableQuery, lacking: Sequence[str]) -> TableQuery:
    """The question with those of `lacking` that were given up replaced, each with a warning."""
    asked = question.selection.symbols
    found = {each.old: each for each in reader.given_up() if each.old in lacking and not each.reused}
    if asked is None or not found:
        return question
    for each in found.values():
        warnings.warn(
            f"{each.old} is {each.symbol} since {each.until + timedelta(days=1)}", RenamedSymbol, stacklevel=2
        )
    symbols = list(dict.fromkeys(found[name].symbol if name in found else name for name in asked))
    return replace(question, selection=replace(question.selection, symbols=symbols))
