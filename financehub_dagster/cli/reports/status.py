"""What runs and what is stored, for `financehub status`.

Belongs here: reading the state of a home without starting or changing anything. Does not belong here: SQL.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial

from financehub_dagster.cli import prepare
from financehub_dagster.cli.console import Console
from financehub_dagster.cli.home import Home, Mode, enter
from financehub_dagster.cli.supervisor.processes import Leader
from financehub_dagster.cli.supervisor.state import State, running
from financehub_dagster.cli.supervisor.stopping import left_behind
from financehub_dagster.operations import probes
from financehub_dagster.storage.database.errors import NotMigrated
from financehub_dagster.storage.database.processes import since
from financehub_dagster.storage.database.urls import is_embedded, market_url

ASK_SECONDS = 5.0
STARTING_SECONDS = 60.0
"""A process younger than this need not work yet."""
RESTARTS_SHOWN = 5
IN_PROGRESS = ("QUEUED", "STARTING", "STARTED")
CALLS: dict[str, Callable[[str, float], None]] = {
    "sandbox": probes.sandbox,
    "code-server": probes.code_server,
    "webserver": probes.webserver,
    "serve": probes.http_server,
}


@dataclass
class Status:
    """State of one home; revision is the database's, head what this program needs; heartbeats in UTC by daemon.

    services: running, starting, restarting or not working, and troubles why; each was asked to do some work just now.
    others: homes of the same folder in which a platform runs too. drives: who holds the claim on the database.
    left: parts that go on although their supervisor was killed.
    restarts: what was started again, the latest last.
    """

    home: str
    mode: str | None
    supervisor: int | None
    services: dict[str, str] = field(default_factory=dict)
    troubles: dict[str, str] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)
    drives: str | None = None
    left: list[str] = field(default_factory=list)
    restarts: list[dict[str, str]] = field(default_factory=list)
    urls: dict[str, str] = field(default_factory=dict)
    database: str = "stopped"
    revision: str | None = None
    head: str | None = None
    rows: dict[str, int] = field(default_factory=dict)
    heartbeats: dict[str, str] = field(default_factory=dict)
    runs: dict[str, int] = field(default_factory=dict)


def collect(home: Home, others: Sequence[Home] = ()) -> Status:
    """Look at everything; `others` run in the same folder.

    Raises DatabaseError when a database that should answer does not.
    """
    state = running(home)
    mode = home.mode
    status = Status(str(home.path), None if mode is None else str(mode), None)
    status.others = [str(other.path) for other in others]
    beats: dict[str, datetime] = {}
    if mode is not None:
        enter(home, mode)
        _database(status, home)
        if status.revision is not None and "database" not in status.troubles:
            _stored(status)
            beats = _dagster(status)
    if state is not None:
        _parts(status, state, beats)
    elif (last := State.read(home.state_file)) is not None:
        status.left = [child.name for child in left_behind(last)]
    return status


def _parts(status: Status, state: State, beats: dict[str, datetime]) -> None:
    """Ask each part to do some work, all at once."""
    status.supervisor = state.supervisor.pid
    if status.revision is not None and state.revision and status.revision != state.revision:
        status.troubles["supervisor"] = (
            f"it was started for revision {state.revision}, and the database is at {status.revision} by now: "
            "`financehub down`, then `financehub up`"
        )
    status.urls = dict(state.urls)
    status.restarts = [asdict(restart) for restart in state.restarts]
    if state.supervisor.stopped():
        status.troubles["supervisor"] = f"a signal has stopped it: `kill -CONT {state.supervisor.pid}`"
    look = partial(_trouble, status, state, beats)
    with ThreadPoolExecutor(len(state.children) or 1) as together:
        found = dict(zip(state.children, together.map(look, state.children), strict=True))
    for child, trouble in found.items():
        if not child.alive():
            status.services[child.name] = "restarting"
        elif trouble is None:
            status.services[child.name] = "running"
        else:
            began = since(child.pid, child.start)
            young = began is not None and (datetime.now(UTC) - began).total_seconds() < STARTING_SECONDS
            young = young and not child.stopped()
            status.services[child.name] = "starting" if young else "not working"
            status.troubles[child.name] = trouble


def _trouble(status: Status, state: State, beats: dict[str, datetime], child: Leader) -> str | None:
    if child.stopped():
        return "a signal has stopped its process"
    try:
        if child.name in CALLS:
            CALLS[child.name](state.urls[child.name], ASK_SECONDS)
        elif child.name == "daemon" and "database" not in status.troubles:
            now = datetime.now(UTC)
            probes.recent(beats.values(), since(child.pid, child.start) or now, now)
    except probes.Trouble as trouble:
        return str(trouble)
    return None


def _database(status: Status, home: Home) -> None:
    from financehub_dagster.storage.database import embedded, migrations
    from financehub_dagster.storage.database.creation import answers
    from financehub_dagster.storage.database.refusals import describe

    status.head = migrations.head()
    if is_embedded() and not embedded.status(home.path).running:
        return
    status.database = describe(market_url())
    try:
        answers(market_url(), ASK_SECONDS)
        status.revision = migrations.current()
    except NotMigrated:
        status.revision = None
    except TimeoutError:
        status.troubles["database"] = str(probes.silent(ASK_SECONDS))


def _stored(status: Status) -> None:
    from financehub_dagster.storage.database import schema
    from financehub_dagster.storage.database.engine import transaction
    from financehub_dagster.storage.operations.daemons import holder
    from financehub_dagster.storage.queries.history import row_counts

    prepare.require_migrated()
    with transaction() as connection:
        status.rows = row_counts(connection, [table.name for table in schema.metadata.sorted_tables])
        claims = holder(connection)
    status.drives = None if claims is None or claims.is_over else str(claims)


def _dagster(status: Status) -> dict[str, datetime]:
    """Read heartbeats and runs; a database in which Dagster never ran has none."""
    from financehub_dagster.storage.database.dagster_state import heartbeats_and_runs

    try:
        beats, runs = heartbeats_and_runs(IN_PROGRESS)
    except NotMigrated:
        return {}
    status.heartbeats = {name: beat.isoformat(timespec="seconds") for name, beat in beats.items()}
    status.runs = {state.lower(): count for state, count in runs.items()}
    return beats


def show(console: Console, status: Status) -> None:
    """Print what was found."""
    console.say(f"home        {status.home} ({status.mode or 'nothing was ever started here'})")
    console.say(f"platform    {_platform(status)}")
    for other in status.others:
        console.say(f"runs too    {other}: `financehub status --home {other}`")
    console.say(f"database    {status.database}{_revision(status)}{_why(status, 'database')}")
    for name, state in status.services.items():
        console.say(f"{name:<11} {state} {status.urls.get(name, '')}".rstrip() + _why(status, name))
    for restart in status.restarts[-RESTARTS_SHOWN:]:
        console.say(f"restarted   {restart['name']} at {restart['at']}: {restart['why']}")
    if status.heartbeats:
        console.say(f"heartbeat   last {max(status.heartbeats.values())}")
    if status.runs:
        console.say(f"runs        {', '.join(f'{count} {state}' for state, count in status.runs.items())}")
    if status.rows:
        console.table("", ["table", "rows"], sorted(status.rows.items()))


def _platform(status: Status) -> str:
    if status.left:
        return f"killed, but {', '.join(status.left)} still run: `financehub down` ends them"
    if status.supervisor is None and status.drives is not None:
        return f"stopped here; {status.drives} drives this database"
    if status.supervisor is None:
        start = "financehub up --sandbox" if status.mode == Mode.SANDBOX else "financehub up"
        return f"stopped: `{start}` starts it"
    return f"running (process {status.supervisor}){_why(status, 'supervisor')}"


def _why(status: Status, name: str) -> str:
    return f": {status.troubles[name]}" if name in status.troubles else ""


def _revision(status: Status) -> str:
    if status.database == "stopped" or status.revision == status.head or "database" in status.troubles:
        return ""
    return f", at revision {status.revision}, needs {status.head}: `financehub db upgrade`"
