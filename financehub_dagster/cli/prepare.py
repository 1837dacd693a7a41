"""From an empty folder to a database that can be worked on.

Belongs here: the steps that `up`, `demo`, `backfill` and others share before their own work. Does not belong here: SQL.
"""

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from financehub_dagster.cli.console import Console
from financehub_dagster.cli.errors import CommandError
from financehub_dagster.cli.home import (
    Home,
    Mode,
    block_for,
    enter,
    env_file,
    home_in_use,
    require_started,
    sandbox_variables,
)
from financehub_dagster.cli.project_files import write_project_files
from financehub_dagster.cli.supervisor import ports
from financehub_dagster.cli.supervisor.state import running
from financehub_dagster.settings import get_settings
from financehub_dagster.storage import whole_files
from financehub_dagster.storage.database.errors import NotMigrated
from financehub_dagster.storage.database.urls import is_embedded, market_url

if TYPE_CHECKING:
    from financehub_dagster.storage.database.engine import Connection


def act_on_home(console: Console, new: Mode | None = None) -> Home:
    """Lead this process to the platform that was last started here.

    new: the mode of a new home; without it a folder that is none yet is refused, unless the database is somebody's own:
    who mistypes a folder gets neither a home nor a database there.
    """
    home = home_in_use()
    get_settings.cache_clear()  # whoever read them before now saw another environment
    mode = home.mode or new or (require_started(home) if is_embedded() else Mode.LIVE)
    home.prepare(mode)
    for note in enter(home, mode):
        console.warn(note)
    if not env_file().block:
        point_env_file(console, block_for(home, mode))
    get_settings.cache_clear()
    return home


def point_env_file(console: Console, values: Mapping[str, str]) -> None:
    """Lead Dagster's own commands in this folder to the platform: the managed block of `.env`, and the project files.

    Where that is impossible, say what these commands need instead.
    """
    try:
        env_file().write_block(values)
        others = write_project_files(Path.cwd())
    except OSError as error:
        names = ", ".join(values)
        console.warn(f".env: {error.strerror}; dagster's own commands need {names} in their environment")
        return
    if others:
        workspace = Path(values["FINANCEHUB_HOME"]) / "workspace.yaml"
        yours = " and ".join(others)
        console.note(
            f"{yours} here is yours and stays: give dagster's commands `-w {workspace}` while the platform runs"
        )


def require_vendors(home: Home) -> None:
    """Lead this process to the home's vendors; raises CommandError when they are the sandbox's and it does not run."""
    if home.mode is Mode.SANDBOX and _sandbox_url(home) is None:
        raise CommandError(f"{home.path} holds sandbox data and its sandbox is not running: `financehub up --sandbox`")
    lead_to_vendors(home)


def lead_to_vendors(home: Home) -> None:
    """Lead this process to the home's vendors; where the sandbox does not run, to the address it had last."""
    if home.mode is not Mode.SANDBOX:
        return
    url = _sandbox_url(home) or f"http://{ports.HOST}:{ports.remembered(home.ports_file, 'sandbox')}"
    os.environ.update(sandbox_variables(url))
    get_settings.cache_clear()


def _sandbox_url(home: Home) -> str | None:
    state = running(home)
    return None if state is None else state.urls.get("sandbox")


def tell_what_is_off(console: Console) -> None:
    """Say once, at the start of long work, which vendors have no key; to be asked once `.env` leads to this home."""
    get_settings.cache_clear()  # what was read before may be the keys of another home's block
    off = get_settings().missing_keys()
    if off:
        console.note(off_line(off))


def off_line(off: Mapping[str, str]) -> str:
    """Which vendors are off and which variable turns each on, in one line."""
    return "off without a key: " + ", ".join(f"{provider} ({variable})" for provider, variable in off.items())


def migrate() -> tuple[str | None, str | None]:
    """Create both databases, migrate the market's and note the first day; returns the revisions before and after.

    What either database lacks is found before anything is migrated.
    """
    from financehub_dagster.storage.database import migrations
    from financehub_dagster.storage.database.upgrade import requirements

    market = market_url()
    requirements.require(market)
    revisions = migrations.upgrade(market)
    _note_first_day()
    return revisions


def _note_first_day() -> None:
    """Write the platform's first day into its home, once: today, or that of the oldest answer in its database."""
    from financehub_dagster.storage.database.engine import transaction
    from financehub_dagster.storage.queries.history import first_fetched
    from financehub_dagster.tables import TABLES

    settings = get_settings()
    if settings.first_day is not None:
        return
    with transaction() as connection:
        oldest = first_fetched(connection, [name for name, table in TABLES.items() if table.current_only])
    whole_files.replace(settings.first_day_file, f"{(oldest or datetime.now(UTC)).astimezone(UTC).date()}\n")


def is_set_up() -> bool:
    """Does the market database hold tables, of whichever revision?"""
    return _revision() is not None


def require_migrated() -> None:
    """Raise CommandError unless the market database is at the newest revision."""
    from financehub_dagster.storage.database.upgrade import revisions

    current = _revision()
    if current is not None and current not in revisions.STEPS:
        raise revisions.unknown(current)
    problem = revisions.mismatch(current)
    if problem is not None:
        raise CommandError(problem)
    _require_extra_tables()


def _require_extra_tables() -> None:
    from financehub_dagster.tables import EXTRA

    if not EXTRA:
        return
    from financehub_dagster.storage.database.engine import transaction
    from financehub_dagster.storage.database.upgrade import extra_tables

    with transaction() as connection:
        lacking = extra_tables.lacking(connection)
    if lacking:
        raise CommandError(f"the database lacks {', '.join(lacking)} of FINANCEHUB_TABLES: run `financehub db upgrade`")


def _revision() -> str | None:
    from financehub_dagster.storage.database import migrations

    try:
        return migrations.current()
    except NotMigrated:
        return None


def has_instruments() -> bool:
    """Does the universe hold anything, removed instruments included?"""
    from financehub_dagster.storage.database.engine import transaction
    from financehub_dagster.storage.queries.history import row_count

    with transaction() as connection:
        return bool(row_count(connection, "instruments"))


def load_default_universe() -> int:
    """Store the instruments that come with the package if there are none; returns how many were stored."""
    from financehub_dagster.market.instrument_files import default_universe
    from financehub_dagster.storage.database.transactions import in_transaction
    from financehub_dagster.storage.queries.history import row_count
    from financehub_dagster.storage.queries.instruments import upsert_instruments

    def load(connection: "Connection") -> int:
        if row_count(connection, "instruments"):
            return 0
        instruments = default_universe()
        upsert_instruments(connection, instruments)
        return len(instruments)

    return in_transaction(load)
