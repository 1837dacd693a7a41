"""PostgreSQL's client programs: which of those on this machine suits a server, and how they are called.

Belongs here: choosing pg_dump, pg_restore and psql, and turning their failures into one line. Does not belong here:
what they are told to do (`create`, `restore`). The embedded server's own programs speak no TLS, so those in PATH are
preferred for every other server, unless they are older than it.
"""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import URL

from financehub_dagster.storage.backup.file import BackupError
from financehub_dagster.storage.database.embedded.binaries import bin_folder
from financehub_dagster.storage.database.errors import UnsupportedPlatform
from financehub_dagster.storage.database.masking import mask
from financehub_dagster.storage.database.refusals import describe
from financehub_dagster.storage.database.urls import is_embedded, secrets_of

NEEDS_TLS = frozenset({"require", "verify-ca", "verify-full"})
"""Values of sslmode that a program without TLS refuses."""
_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")


@dataclass(frozen=True)
class Programs:
    """pg_dump, pg_restore and psql of one major version in one folder."""

    folder: Path
    major: int

    def command(self, name: str, *arguments: str) -> list[str]:
        """The command line of a program."""
        return [str(self.folder / name), *arguments]


def programs_for(url: URL, needed: int) -> Programs:
    """Programs of version `needed` or later for the server of `url`; raises BackupError where there are none."""
    tls = url.query.get("sslmode") in NEEDS_TLS
    found = [each for folder in _folders(tls=tls) if (each := _in(folder)) is not None]
    for each in found:
        if each.major >= needed:
            return each
    none = f"there are none in PATH{', and those of the embedded server speak no TLS' if tls else ''}"
    there = f"those here are of version {max(each.major for each in found)}" if found else none
    raise BackupError(
        f"{describe(url)} needs pg_dump and pg_restore {needed} or later, and {there}: install PostgreSQL's client "
        "programs"
    )


def _folders(*, tls: bool) -> list[Path]:
    in_path = shutil.which("pg_dump")
    folders = [] if in_path is None else [Path(in_path).parent]
    if tls:
        return folders
    try:
        embedded = [bin_folder()]
    except UnsupportedPlatform:
        embedded = []
    return [*embedded, *folders] if is_embedded() else [*folders, *embedded]


def _in(folder: Path) -> Programs | None:
    majors = []
    for name in ("pg_dump", "pg_restore", "psql"):
        try:
            answer = subprocess.run([folder / name, "--version"], capture_output=True, text=True, check=True).stdout
        except (OSError, subprocess.CalledProcessError):
            return None
        found = _VERSION.search(answer)
        if found is None:
            return None
        majors.append(int(found[1]))
    return Programs(folder, min(majors))


def environment(url: URL) -> dict[str, str]:
    """The environment of a program that connects to `url`: its password, and messages in English."""
    secrets = secrets_of(url)
    return (
        os.environ
        | {"LC_ALL": "C", "PGTZ": "UTC"}
        | ({"PGPASSWORD": secrets["password"]} if "password" in secrets else {})
    )


def failure(url: URL, program: str, messages: str) -> BackupError:
    """The error for a program that failed, by what it wrote: its first complaint, without secrets."""
    lines = [line.strip() for line in mask(messages, secrets_of(url).values()).splitlines() if line.strip()]
    line = next((line for line in lines if re.search(r"error|ERROR|FATAL", line)), lines[-1] if lines else "no reason")
    return BackupError(f"{describe(url)}: {program} failed, nothing was changed: {line}")
