"""Is the platform healthy? One set of checks for `financehub health`, `GET /health`, the minute's sensor and alerts.

Belongs here: what is checked of each component, and what counts as degraded or failed. Does not belong here: the calls
themselves (probes), storing results (storage.operations), restarting what is dead (cli.supervisor). Nothing here costs
a vendor's quota: a vendor is judged by its circuit breakers and by how its last calls ended.
"""

import logging
import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import TYPE_CHECKING, Any

from financehub_dagster.gateway.addresses import place_of
from financehub_dagster.gateway.api_keys import fingerprint
from financehub_dagster.gateway.errors import BadKey
from financehub_dagster.operations import probes, workers
from financehub_dagster.operations.parts import Parts, parts
from financehub_dagster.settings import Settings, get_settings
from financehub_dagster.storage.database.engine import database_time, transaction
from financehub_dagster.storage.database.upgrade import revisions
from financehub_dagster.storage.database.urls import is_embedded
from financehub_dagster.storage.operations.health_checks import Checked, Status
from financehub_dagster.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from financehub_dagster.storage.database.engine import Connection
    from financehub_dagster.storage.operations.daemons import Daemon
    from financehub_dagster.storage.rate_limits.usage import VendorState

ESSENTIAL = frozenset({"database", "schema", "daemon", "code-server", "disk"})
"""The platform is unhealthy when one of these has failed; with anything else it is degraded."""
FOR_A_PERSON = frozenset({"keys", "dead-letters"})
"""What is wrong with these stays wrong until a person does something."""
PROBE_SECONDS = 5.0
WINDOW = timedelta(hours=1)
"""The time over which successes and failures of runs are counted, and in which a vendor's clock was read."""
LONG_WAIT_SECONDS = 900.0
"""A run that waits longer in the queue: more is asked of the platform than it does."""
FEWEST_FAILURES, MOST_FAILED = 5, 0.5
"""Runs count as degraded when at least as many, and this part of all that ended in the window, have failed."""
LOW_DISK, NO_DISK = 2_000_000_000, 300_000_000
"""Free bytes below which the disk is degraded, and below which it has failed: PostgreSQL stops when it is full."""
TICKLESS = 300.0
"""Seconds: sensors tick every 30 or 60, and Dagster waits a minute for a tick to end."""
LAGGING = 30.0
"""Seconds behind the primary from which on a replica is degraded: reports no longer show what was stored."""
CLOCK_OFF, CLOCK_WRONG = workers.CLOCK_OFF, 120.0
"""Seconds of difference from the vendors' clocks: Date has whole seconds and responses take some. Signed requests of
Binance are refused from 5 s on, and a minute's bars are misjudged as finished from a minute on."""


@dataclass(frozen=True)
class Health:
    """The components as they are now. status is ok, degraded, or failed when an essential component has failed."""

    status: Status
    components: tuple[Checked, ...]
    checked_at: datetime

    def as_dict(self) -> dict[str, Any]:
        """For JSON: status, checked_at, and each component by its name."""
        return {
            "status": self.status,
            "checked_at": self.checked_at.isoformat(timespec="seconds"),
            "components": {
                each.component: {key: value for key, value in asdict(each).items() if key != "component"}
                for each in self.components
            },
        }


_logger = logging.getLogger("financehub.health")

type Check = Callable[[], Checked | Sequence[Checked]]


def check() -> Health:
    """Check all components at once; each is bounded in time, so that this is over within some ten seconds."""
    settings = get_settings()
    found_parts = parts(settings.home)
    checks: dict[str, Check] = {"disk": lambda: disk(settings)}
    if settings.financehub_run_launcher == "celery":
        checks["workers"] = lambda: workers.check(settings)
    found = _measured("database", check_database)
    if found_parts is not None:
        checks |= _supervised(found_parts)
    if found[0].status == "ok":
        checks |= {"daemon": lambda: daemon(found_parts), "runs": runs, "vendors": lambda: vendors(settings)}
        checks |= {"schema": check_schema, "keys": lambda: keys(settings), "dead-letters": dead_letters}
        if settings.financehub_read_database_url is not None:
            checks["replica"] = replica
    else:
        unknown = ("schema", "daemon", "runs")
        found += [Checked(name, "degraded", "unknown: the database does not answer") for name in unknown]
    with ThreadPoolExecutor(len(checks)) as together:
        for result in together.map(lambda item: _measured(*item), checks.items()):
            found += result
    found.sort(key=lambda each: (each.component not in ESSENTIAL, each.component))
    return Health(overall(found), tuple(found), datetime.now(UTC))


def overall(components: Sequence[Checked]) -> Status:
    """The status of the whole platform."""
    if any(each.status == "failed" and each.component in ESSENTIAL for each in components):
        return "failed"
    return "ok" if all(each.status == "ok" for each in components) else "degraded"


def check_database() -> Checked:
    """A new connection is made and answers; an embedded server that is not running is not started for it."""
    from financehub_dagster.storage.database import embedded

    if is_embedded() and not embedded.status(get_settings().home).running:
        return Checked("database", "failed", "it is not running: `financehub up` starts it")
    probes.database()
    return Checked("database", "ok", "it answers")


def check_schema() -> Checked:
    """The database is at the revision that this process was written for; a later version may have migrated it since."""
    from financehub_dagster.storage.database import migrations

    revision = migrations.current()
    problem = revisions.mismatch(revision)
    if problem is None:
        return Checked("schema", "ok", f"at revision {revision}")
    _logger.error("%s", problem)
    return Checked("schema", "failed", problem)


def replica() -> Checked:
    """The replica that reports read answers, follows the primary, and is not far behind."""
    from financehub_dagster.storage.database.replication import lag

    found = lag()
    if found.bytes is None:
        return Checked("replica", "degraded", "it follows no primary: what it shows may be of any age")
    status: Status = "ok" if found.seconds is not None and found.seconds <= LAGGING else "degraded"
    behind = "an unknown time" if found.seconds is None else f"{found.seconds:.1f} s"
    return Checked("replica", status, f"{behind} behind the primary ({found.bytes / 1e6:.1f} MB)")


def daemon(found: Parts | None) -> Checked:
    """A daemon has written a heartbeat of late, unless the supervisor has just started it; it ticks, and drives alone.

    Heartbeats go on while its calls to the code server hang, and nothing ticks.
    """
    from financehub_dagster.storage.database.dagster_state import heartbeats_and_tick

    (beats, still), now = heartbeats_and_tick(), datetime.now(UTC)
    started = None if found is None else found.started.get("daemon")
    if started is None and not beats:
        return Checked("daemon", "failed", "it has never written a heartbeat: `financehub up` starts it")
    probes.recent(beats.values(), started or min(beats.values()), now)
    age = max(0.0, (now - max(beats.values(), default=now)).total_seconds())
    together, claims = _driving()
    if together:
        told = " and ".join(str(each) for each in together)
        return Checked(
            "daemon", "degraded", f"{len(together)} drive, so ticks are made twice: stop all but one: {told}"
        )
    if still is not None and still > TICKLESS and (started is None or (now - started).total_seconds() > TICKLESS):
        told = f"it writes heartbeats, but nothing has ticked for {still / 60:.0f} minutes"
        return Checked("daemon", "degraded", f"{told}: unless all schedules and sensors are off, start it again")
    where = "" if claims is None or claims.is_over else f" on {claims.host} ({claims.home})"
    return Checked("daemon", "ok", f"last heartbeat {age:.0f} s ago{where}")


def _driving() -> "tuple[list[Daemon], Daemon | None]":
    """The daemons that drive at the same time, and the one that may."""
    from financehub_dagster.storage.operations import daemons

    with transaction() as connection:
        return daemons.driving_together(connection), daemons.holder(connection)


def runs() -> list[Checked]:
    """The queue, and how the runs of the last hour ended."""
    from financehub_dagster.storage.database.dagster_state import activity, ended_within

    found, (succeeded, failed) = activity(), ended_within(WINDOW)
    waiting = f"{found.queued} queued, {found.running} in progress"
    late = found.oldest_queued > LONG_WAIT_SECONDS
    minutes = round(found.oldest_queued / 60)
    longest = f"; the oldest has waited for {counted(minutes, 'minute')}" if minutes else ""
    bad = failed >= FEWEST_FAILURES and failed > MOST_FAILED * (succeeded + failed)
    return [
        Checked("queue", "degraded" if late else "ok", waiting + longest),
        Checked("runs", "degraded" if bad else "ok", f"{succeeded} succeeded and {failed} failed in the last hour"),
    ]


def disk(settings: Settings) -> Checked:
    """Room where the home is, and with it the embedded database and the logs."""
    free, total = disk_bytes(settings)
    status: Status = "failed" if free < NO_DISK else "degraded" if free < LOW_DISK else "ok"
    return Checked("disk", status, f"{free / 1e9:.1f} of {total / 1e9:.0f} GB free")


def disk_bytes(settings: Settings) -> tuple[int, int]:
    """Bytes that are free where the home is, or will be, and all there are."""
    home = settings.home
    usage = shutil.disk_usage(next(each for each in (home, *home.parents) if each.exists()))
    return usage.free, usage.total


def vendors(settings: Settings) -> list[Checked]:
    """Every vendor that has the key it needs, and our clock against theirs."""
    from financehub_dagster.storage.rate_limits.usage import vendor_states

    now = datetime.now(UTC)
    with transaction() as connection:
        states = vendor_states(connection, _places(settings))
    found = []
    for state in states:
        last = "no calls yet" if state.last_at is None else f"last call {state.outcome} {_ago(now, state.last_at)}"
        today = f"{counted(state.calls, 'call')} today, {state.failures} failed"
        shut = state.open_until is not None
        why = f"no calls until {state.open_until:%H:%M:%S} UTC ({state.reason}); " if shut else ""
        found.append(Checked(f"vendor:{state.provider}", "degraded" if shut else "ok", f"{why}{last}; {today}"))
    return [*found, clock(_offsets(states, now))]


def keys(settings: Settings) -> Checked:
    """No vendor refuses one of the keys in use; a refused one is left out for a day, and fallback vendors hide that."""
    from financehub_dagster.storage.rate_limits import api_keys

    accounts = [
        (name, fingerprint(name, secret) + place)
        for name, place in _places(settings).items()
        for secret in settings.api_keys(name)
    ]
    with transaction() as connection:
        refused = api_keys.refused(connection, accounts, BadKey.__name__)
    if not refused:
        return Checked("keys", "ok", f"none of {len(accounts)} is refused" if accounts else "no key is set")
    told = "; ".join(f"{scope.split('@')[0]}: {reason}" for _, scope, reason in refused)
    remedy = "replace it, or put it right at the vendor and launch `test_connection`"
    return Checked("keys", "degraded", f"{len(refused)} of {len(accounts)} refused ({told}): {remedy}")


def dead_letters() -> Checked:
    """No failed work waits for a person: what was parked is not tried again by itself."""
    from financehub_dagster.storage.dead_letters.replays import parked_by_task

    with transaction() as connection:
        parked = parked_by_task(connection)
    if not parked:
        return Checked("dead-letters", "ok", "none is parked")
    told = ", ".join(f"{count} of {task}" for task, count in parked.items())
    return Checked("dead-letters", "degraded", f"parked: {told}; `financehub dlq list --status parked`")


def vendors_ahead(connection: "Connection", now: datetime) -> float | None:
    """By how many seconds the vendors' clocks are ahead of ours, the median; None where none was read of late."""
    from financehub_dagster.storage.rate_limits.usage import vendor_states

    offsets = _offsets(vendor_states(connection, _places(get_settings())), now)
    return median(offsets) if offsets else None


def _places(settings: Settings) -> dict[str, str]:
    return {name: place_of(settings.base_url(name)) for name in settings.configured_vendors()}


def _offsets(states: "Iterable[VendorState]", now: datetime) -> list[float]:
    """The offsets that were read of late, by a clock like the one of `now`: one that was set since reads another."""
    return [
        state.clock_offset
        for state in states
        if state.clock_offset is not None
        and state.clock_read_at is not None
        and abs(now - state.clock_read_at) < WINDOW
    ]


def clock(offsets: Sequence[float]) -> Checked:
    """Our clock, given how many seconds the vendors' clocks were ahead of it; the database's where none is known."""
    if offsets:
        by, whose = median(offsets), f"the clocks of {counted(len(offsets), 'vendor')}"
    else:
        by, whose = _database_ahead(), "the database's clock"
    status: Status = "failed" if abs(by) > CLOCK_WRONG else "degraded" if abs(by) > CLOCK_OFF else "ok"
    return Checked("clock", status, f"{abs(by):.1f} s {'behind' if by > 0 else 'ahead of'} {whose}")


def _database_ahead() -> float:
    with transaction() as connection:
        before = datetime.now(UTC)
        found = database_time(connection)
        return (found - before).total_seconds() - (datetime.now(UTC) - before).total_seconds() / 2


def _supervised(found: Parts) -> dict[str, Check]:
    """Calls to the parts of a supervised platform, as the supervisor itself makes them."""
    calls = {"code-server": probes.code_server, "webserver": probes.webserver, "sandbox": probes.sandbox}

    def call(name: str) -> Check:
        def work() -> Checked:
            calls[name](found.urls[name], PROBE_SECONDS)
            return Checked(name, "ok", "it answers")

        return work

    return {name: call(name) for name in calls if name in found.urls}


def _measured(name: str, check: Check) -> list[Checked]:
    """The results of a check, with the seconds it took; what it raises is a result too."""
    began = time.monotonic()
    try:
        found = check()
    except probes.Trouble as trouble:
        found = Checked(name, "failed", str(trouble))
    except Exception as error:  # noqa: BLE001 - a check that cannot be made is a finding, and the others go on
        found = Checked(name, "failed", f"it cannot be checked: {error}".replace("\n", " "))
    seconds = time.monotonic() - began
    results = [found] if isinstance(found, Checked) else list(found)
    return [Checked(each.component, each.status, each.detail, round(seconds, 3)) for each in results]


def _ago(now: datetime, then: datetime) -> str:
    seconds = max(0.0, (now - then).total_seconds())
    return f"{seconds:.0f} s ago" if seconds < 120 else f"{seconds / 60:.0f} min ago"
