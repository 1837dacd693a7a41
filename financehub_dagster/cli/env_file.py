"""The `.env` of the current folder: a block that is ours inside a file that is the user's.

Belongs here: reading the file and replacing the block. Does not belong here: which variables the block holds.
Dagster's own commands let `.env` win over the process environment, later lines over earlier ones: the block is last.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from financehub_dagster.storage import whole_files

BEGIN = "# >>> financehub: written by `financehub up` and `demo`, edits in this block are lost >>>"
END = "# <<< financehub <<<"


@dataclass(frozen=True)
class EnvFile:
    """One `.env`, split into the user's own text and the managed block."""

    path: Path
    own_text: str
    block_text: str

    @classmethod
    def read(cls, path: Path) -> "EnvFile":
        """Read the file; a missing one is empty. A block without its end marker reaches to the end of the file."""
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        before, begin, rest = text.partition(BEGIN)
        if not begin:
            return cls(path, text, "")
        block, _, after = rest.partition(END)
        return cls(path, before + after.removeprefix("\n"), block)

    @property
    def own(self) -> dict[str, str]:
        """The user's variables; names without a value are left out."""
        return _parse(self.own_text)

    @property
    def block(self) -> dict[str, str]:
        """The managed variables; empty when nothing was ever started here."""
        return _parse(self.block_text)

    def write_block(self, values: Mapping[str, str]) -> None:
        """Replace the block and keep everything else; atomic, readable by the owner only."""
        lines = [BEGIN, *(f"{name}={_quote(value)}" for name, value in values.items()), END]
        own = self.own_text if not self.own_text or self.own_text.endswith("\n") else self.own_text + "\n"
        whole_files.replace(self.path, own + "\n".join(lines) + "\n", private=True)


def _parse(text: str) -> dict[str, str]:
    from dotenv import dotenv_values

    return {name: value for name, value in dotenv_values(stream=StringIO(text)).items() if value is not None}


def _quote(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
