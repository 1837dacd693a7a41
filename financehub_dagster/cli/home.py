"""Which platform a command acts on: its folder, its mode, and the environment its processes get.

Belongs here: choosing and preparing the home folder. Does not belong here: starting anything in it.
Sandbox prices never share a home with real ones: the mode is written into the home and the other mode is refused.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from financehub_dagster.cli.env_file import EnvFile
from financehub_dagster.cli.errors import CommandError, WrongUsage
from financehub_dagster.storage import whole_files


class Mode(StrEnum):
    """What the prices in a home are: a vendor's, or the sandbox's."""

    LIVE = "live"
    SANDBOX = "sandbox"


NO_ENV_FILE = "FINANCEHUB_WITHOUT_ENV_FILE"
"""Set where the settings must not be completed by `.env` (settings)."""
DATABASES = ("FINANCEHUB_DATABASE_URL", "FINANCEHUB_DAGSTER_DATABASE_URL", "FINANCEHUB_READ_DATABASE_URL")
"""Settings that lead to databases of live prices."""
DEFAULT_FOLDER = {Mode.LIVE: "live", Mode.SANDBOX: "demo"}


@dataclass(frozen=True)
class Home:
    """One platform's folder: the embedded database, Dagster's home, logs, and what is running."""

    path: Path
    dagster: Path

    @property
    def logs(self) -> Path:
        """Folder of the log files, one per process."""
        return self.path / "logs"

    @property
    def state_file(self) -> Path:
        """Who supervises this home, and which processes."""
        return self.path / "supervisor.json"

    @property
    def lock_file(self) -> Path:
        """Held by the supervisor for as long as it lives."""
        return self.path / "supervisor.lock"

    @property
    def ports_file(self) -> Path:
        """Ports this home has had before."""
        return self.path / "ports.json"

    @property
    def mode(self) -> Mode | None:
        """The mode written into the home; None before anything was started in it."""
        file = self.path / "mode"
        if not file.exists():
            return None
        text = file.read_text().strip()
        if text not in set(Mode):
            raise CommandError(f"{file}: says {text!r}, must say live or sandbox")
        return Mode(text)

    @property
    def is_kept_empty(self) -> bool:
        """Whether it was started with `--empty`: it never gets the default universe."""
        return (self.path / "empty").exists()

    def keep_empty(self) -> None:
        """Write down that it was started with `--empty`."""
        with self.writing():
            (self.path / "empty").touch()

    def check_mode(self, mode: Mode) -> None:
        """Raise WrongUsage when the home is of the other mode."""
        held = self.mode
        if held is not None and held is not mode:
            raise WrongUsage(
                f"{self.path} holds {held} data, which must not mix with {mode} data: choose another FINANCEHUB_HOME, "
                f"or start it with `financehub up{' --sandbox' if held is Mode.SANDBOX else ''}`"
            )

    def prepare(self, mode: Mode) -> None:
        """Create the folders, write the mode and Dagster's configuration; a dagster.yaml of the user's stays."""
        from financehub_dagster.cli import dagster_yaml
        from financehub_dagster.settings import get_settings

        self.check_mode(mode)
        configuration = dagster_yaml.render(get_settings())
        with self.writing():
            self.logs.mkdir(parents=True, exist_ok=True)
            self.dagster.mkdir(parents=True, exist_ok=True)
            whole_files.replace(self.path / "mode", f"{mode}\n")
            target = self.dagster / "dagster.yaml"
            if self.dagster == self.path / "dagster" or not target.exists():
                whole_files.replace(target, configuration)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Turn a folder that cannot be written to into a CommandError that names it and the remedy."""
        try:
            yield
        except OSError as error:
            raise CommandError(
                f"{error.filename or self.path}: {error.strerror}; mend that, or set FINANCEHUB_HOME to another folder"
            ) from None

    def variables(self) -> dict[str, str]:
        """The environment variables that lead a process here."""
        return {"FINANCEHUB_HOME": str(self.path), "DAGSTER_HOME": str(self.dagster)}


def env_file() -> EnvFile:
    """The `.env` of the current folder."""
    path = Path.cwd() / ".env"
    try:
        return EnvFile.read(path)
    except UnicodeDecodeError:
        raise CommandError(f"{path}: not UTF-8 text; save it as UTF-8") from None


@dataclass
class _Choice:
    """The folder that the command line names; it counts for more than the environment and `.env`."""

    folder: str | None = None


_CHOICE = _Choice()


@contextmanager
def chosen_home(folder: str | None) -> Iterator[None]:
    """Act on the home in `folder`, if one is given, whatever the environment and `.env` say."""
    before, _CHOICE.folder = _CHOICE.folder, folder
    try:
        yield
    finally:
        _CHOICE.folder = before


def home_to_start(mode: Mode) -> Home:
    """The home that `up` and `demo` use: FINANCEHUB_HOME, or ./.financehub/live and ./.financehub/demo."""
    chosen = _CHOICE.folder or _given("FINANCEHUB_HOME") or f".financehub/{DEFAULT_FOLDER[mode]}"
    return _home(chosen, _given("DAGSTER_HOME"))


def home_in_use() -> Home:
    """The home every other command acts on: what was last started in this folder, unless FINANCEHUB_HOME says else.

    Raises WrongUsage when the two disagree: Dagster's own commands would follow `.env`, ours the environment. A folder
    that the command line names is meant, and not refused.
    """
    if _CHOICE.folder is not None:
        return _named(_CHOICE.folder)
    home, dagster = (_agreed(name) for name in ("FINANCEHUB_HOME", "DAGSTER_HOME"))
    return _home(home or f".financehub/{DEFAULT_FOLDER[Mode.LIVE]}", dagster)


def is_home_chosen() -> bool:
    """Whether somebody named the home, instead of following `.env`."""
    return (_CHOICE.folder or _given("FINANCEHUB_HOME")) is not None


def relative(home: Home) -> Path:
    """The folder of a home as one types it here."""
    return home.path.relative_to(Path.cwd()) if home.path.is_relative_to(Path.cwd()) else home.path


def require_started(home: Home) -> Mode:
    """The mode of a home; raises CommandError for a folder that is none."""
    if home.mode is None:
        raise CommandError(
            f"{home.path}: nothing was ever started here: `financehub up` starts a platform, "
            "`financehub db upgrade` makes an empty database"
        )
    return home.mode


def home_to_look_at() -> Home:
    """The home that `status` and `down` act on: the named one even where `.env` leads to another."""
    named = _CHOICE.folder or _given("FINANCEHUB_HOME")
    return home_in_use() if named is None else _named(named)


def _named(folder: str) -> Home:
    """The home in `folder`, with the DAGSTER_HOME that `.env` keeps for it if it was started here last."""
    home = _home(folder, _given("DAGSTER_HOME"))
    block = env_file().block
    if block.get("FINANCEHUB_HOME") == str(home.path) and "DAGSTER_HOME" in block:
        return _home(folder, block["DAGSTER_HOME"])
    return home


def _agreed(name: str) -> str | None:
    given, started = _given(name), env_file().block.get(name)
    if given and started and _absolute(name, given) != _absolute(name, started):
        raise WrongUsage(
            f"{name} is {given} but .env here leads to {started}: unset {name}, or run `financehub up` to point .env "
            f"to it{', or name it with --home' if name == 'FINANCEHUB_HOME' else ''}"
        )
    return given or started


def enter(home: Home, mode: Mode) -> list[str]:
    """Make this process act on `home`: export `.env`'s own lines and the home's variables; returns notes to show."""
    for name, value in env_file().own.items():
        if not os.environ.get(name):
            os.environ[name] = value
    os.environ.update(home.variables())
    if _CHOICE.folder is not None and env_file().block.get("FINANCEHUB_HOME") != str(home.path):
        os.environ[NO_ENV_FILE] = "1"  # its block has the vendors and the database of another home
    unused = [name for name in DATABASES if os.environ.pop(name, "")] if mode is Mode.SANDBOX else []
    return [f"{name} is set and not used: sandbox prices stay in the embedded database" for name in unused]


def block_for(home: Home, mode: Mode, sandbox_url: str | None = None) -> dict[str, str]:
    """What `.env` says about a started platform; addresses of databases are only ever blanked, never written."""
    values = home.variables()
    if mode is Mode.SANDBOX:
        values |= dict.fromkeys(DATABASES, "")
    if sandbox_url is not None:
        values |= sandbox_variables(sandbox_url)
    return values


def sandbox_variables(sandbox_url: str) -> dict[str, str]:
    """The vendors' addresses on a sandbox, and keys that it takes: a person's own never leave for it."""
    from financehub_dagster.sandbox.client import Sandbox

    sandbox = Sandbox(sandbox_url)
    return sandbox.environment | sandbox.keys


def _given(name: str) -> str | None:
    return os.environ.get(name) or env_file().own.get(name) or None


def _home(chosen: str, dagster: str | None) -> Home:
    path = _folder("FINANCEHUB_HOME", chosen)
    return Home(path, _folder("DAGSTER_HOME", dagster) if dagster else path / "dagster")


def _folder(name: str, text: str) -> Path:
    """The folder that the variable `name` leads to, which may be missing; raises WrongUsage where it cannot be one."""
    path = _absolute(name, text)
    found = next(each for each in (path, *path.parents) if each.exists())
    if not found.is_dir():
        raise WrongUsage(f"{name} leads to {path}, but {found} is a file: choose another folder")
    return path


def _absolute(name: str, text: str) -> Path:
    try:
        return Path(text).expanduser().resolve()
    except (RuntimeError, OSError):  # an unknown user's home, links that lead to each other, no right to look
        raise WrongUsage(f"{name} is {text}, which leads to no folder: write out the path of one") from None
