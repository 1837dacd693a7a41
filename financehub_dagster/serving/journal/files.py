"""Where journals are kept: FINANCEHUB_HOME/journal/<account>/<week>.md and .html.

Belongs here: names of files and writing them whole. Does not belong here: their content.
"""

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from financehub_dagster.market.journal.week import Week
from financehub_dagster.storage import whole_files

_LONGEST = 60
"""Characters of a folder's name that are the account's: of up to four bytes each they fit into any file system."""
_RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(10))}
"""Names that Windows does not allow."""


def write(home: Path, folder: str, week: Week, contents: dict[str, str]) -> dict[str, Path]:
    """Write a week's journal in each format (by suffix); returns their paths. Raises OSError.

    A file that is there is replaced, and never seen half-written.
    """
    place = home / "journal" / folder
    place.mkdir(parents=True, exist_ok=True)
    paths = {suffix: place / f"{week}.{suffix}" for suffix in contents}
    for suffix, text in contents.items():
        whole_files.replace(paths[suffix], text)
    return paths


def folders(accounts: Iterable[str]) -> dict[str, str]:
    """The folder of each account: its name where that is safe and like no other, otherwise with digits of its hash."""
    names = list(accounts)
    alike = Counter(_folded(_safe(name)) for name in names)
    return {
        name: safe if (safe := _safe(name)) == name and alike[_folded(safe)] == 1 else f"{safe}-{_hash(name)}"
        for name in names
    }


def _safe(name: str) -> str:
    """Letters, digits and a few signs of any name, and at least one character."""
    kept = "".join(each if each.isalnum() or each in " -_.@+" else "_" for each in name)[:_LONGEST].strip(" .")
    return "_" if not kept or kept.split(".")[0].lower() in _RESERVED else kept


def _folded(name: str) -> str:
    """What file systems that ignore case, or how accents are written, take a name for."""
    return unicodedata.normalize("NFC", name).casefold()


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
