"""What can be wrong with a question to the stored tables, in one line that names the thing and what there is."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

MOST = 12
"""Names that are listed; of more only the similar ones."""


class ReadError(Exception):
    """The question cannot be answered; the message is one line with the remedy."""


class ExportFailed(Exception):
    """Files could not be written; the message is one line with the remedy."""


def unknown(kind: str, name: str, known: Iterable[str], hint: str, *, of: str = "") -> ReadError:
    """The error for a name that does not exist, among those `of` something; hint says where all names are listed."""
    return ReadError(f"unknown {kind} {name}{f' of {of}' if of else ''}: {meant(name, list(known), hint)}")


def meant(name: str, known: Sequence[str], hint: str) -> str:
    """Which of the `known` names may be meant, in words; hint says where all of them are listed."""
    close = get_close_matches(name, known, n=3)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"there are {', '.join(known)}" if 0 < len(known) <= MOST else hint


def require_text(name: str) -> None:
    """Raise ReadError for a name that PostgreSQL cannot be asked about: with a character 0, or half of one."""
    if "\0" in name:
        raise ReadError("a name holds a character 0, which no name has")
    if any("\ud800" <= letter <= "\udfff" for letter in name):
        raise ReadError(f"{name!a} is no text in UTF-8, which all names are")
