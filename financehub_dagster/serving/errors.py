"""What can be wrong with a question to the stored tables, in one line that names the thing and what there is."""

from collections.abc import Iterable
from difflib import get_close_matches

MOST = 12
"""Names that are listed; of more only the similar ones."""


class ReadError(Exception):
    """The question cannot be answered; the message is one line with the remedy."""


class ExportFailed(Exception):
    """Files could not be written; the message is one line with the remedy."""


def unknown(kind: str, name: str, known: Iterable[str], hint: str, *, of: str = "") -> ReadError:
    """The error for a name that does not exist, among those `of` something; hint says where all names are listed."""
    names = list(known)
    close = get_close_matches(name, names, n=3)
    if close:
        meant = f"did you mean {' or '.join(close)}?"
    else:
        meant = f"there are {', '.join(names)}" if 0 < len(names) <= MOST else hint
    return ReadError(f"unknown {kind} {name}{f' of {of}' if of else ''}: {meant}")
