"""What runs and what is stored, for `financehub status`.

Belongs here: reading the state of a home without starting or changing anything. Does not belong here: SQL.
"""

from dataclasses import asdict, dataclass, field

from financehub_dagster.cli import prepare
from financehub_dagster.cli.console import Console
from financehub_dagster.cli.home import Home, Mode, enter
from financehub_dagster.cli.state import State, running


@dataclass
class Status:
    """State of one home; revision is the database's, head what this program needs; heartbeats in UTC by daemon."""

    home: str
    mode: str | None
    supervisor: int | None
    services: dict[str, str] = field(default_factory=dict)
    urls: dict[str, str] = field(default_factory=dict)
    database: str = "stopped"
    revision: str | None = None
    head: str | None = None
    rows: dict[str, int] = field(default_factory=dict)
    heartbeats: dict[str, str] = field(default_factory=dict)
    runs: dict[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, object]:
        """For --json."""
        return asdict(self)


def collect(home: Home) -> Status:
    """Look at everything; raises DatabaseError when a database that should answer does not."""
    state = running(home)
    mode = home.mode
    status = Status(str(home.path), None if mode is None else str(mode), None)
    if state is not None:
        _processes(status, state)
    if mode is not None:
        enter(home, mode)
        _database(status, home)
        if status.revision is not None:
            _stored(status)
            _dagster(status)
    return status


def _processes(status: Status, state: State) -> None:
    status.supervisor = state.supervisor.pid
    status.urls = dict(state.urls)
    for child in state.children:
        status.services[child.name] = "running" if child.alive() else "restarting"


def _database(status: Status, home: Home) -> None:
    from financehub_dagster.storage import embedded, migrations
    from financehub_dagster.storage.engine import describe
    from financehub_dagster.storage.errors import NotMigrated
    from financehub_dagster.storage.urls import is_embedded, market_url

    status.head = migrations.head()
    if is_embedded() and not embedded.status(home.path).running:
        return
    status.database = describe(market_url())
    try:
        status.revision = migrations.current()
    except NotMigrated:
        status.revision = None


def _stored(status: Status) -> None:
    from financehub_dagster.storage import tables
    from financehub_dagster.storage.engine import transaction
    from financehub_dagster.storage.history import row_count

    prepare.require_migrated()
    with transaction() as connection:
        status.rows = {table.name: row_count(connection, table.name) for table in tables.metadata.sorted_tables}


def _dagster(status: Status) -> None:
    import dagster as dg

    with dg.DagsterInstance.get() as instance:
        for name, heartbeat in instance.get_daemon_heartbeats().items():
            status.heartbeats[name] = _utc(heartbeat.timestamp)
        for state in (dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED):
            status.runs[state.value.lower()] = instance.get_runs_count(dg.RunsFilter(statuses=[state]))


def _utc(seconds: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def show(console: Console, status: Status) -> None:
    """Print what was found."""
    console.say(f"home      {status.home} ({status.mode or 'nothing was ever started here'})")
    console.say(f"platform  {_platform(status)}")
    console.say(f"database  {status.database}{_revision(status)}")
    for name, state in status.services.items():
        console.say(f"{name:<9} {state} {status.urls.get(name, '')}".rstrip())
    if status.heartbeats:
        console.say(f"daemon    last heartbeat {max(status.heartbeats.values())}")
    if status.runs:
        console.say(f"runs      {', '.join(f'{count} {state}' for state, count in status.runs.items())}")
    if status.rows:
        console.table("", ["table", "rows"], sorted(status.rows.items()))


def _platform(status: Status) -> str:
    if status.supervisor is None:
        start = "financehub up --sandbox" if status.mode == Mode.SANDBOX else "financehub up"
        return f"stopped: `{start}` starts it"
    return f"running (process {status.supervisor})"


def _revision(status: Status) -> str:
    if status.database == "stopped" or status.revision == status.head:
        return ""
    return f", at revision {status.revision}, needs {status.head}: `financehub db upgrade`"
