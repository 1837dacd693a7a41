"""One supervisor per home: it starts the platform's processes, restarts those that do not work, and ends them all.

Belongs here: the life of the processes. Does not belong here: which processes there are (services), and when one counts
as not working (judging). A guard process sees to it that nothing outlives a supervisor that was killed.
"""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from financehub_dagster.cli.console import Console
from financehub_dagster.cli.errors import CommandError
from financehub_dagster.cli.home import Home
from financehub_dagster.cli.signals import StopSignals
from financehub_dagster.cli.supervisor import state
from financehub_dagster.cli.supervisor.judging import AwakeClock, Judge
from financehub_dagster.cli.supervisor.processes import (
    Leader,
    any_stopped,
    end_sessions,
    last_line,
    let_go_on,
    rotate,
    spawn,
)
from financehub_dagster.cli.supervisor.services import Database, Service, nothing_to_wait_for
from financehub_dagster.operations.probes import Trouble
from financehub_dagster.storage.database.upgrade import revisions
from financehub_dagster.wording import counted

WATCH_SECONDS = 0.2
TOLD_SECONDS = 60.0
"""A sleep as long as this is told; shorter ones come from waiting for a part to end, too."""
ENDED = "its server has ended, and whoever needed it first has started it again"
ROTATE_SECONDS = 30.0
"""How often logs are measured."""
AGAIN_SECONDS = 5.0
"""Between two attempts to start a part where the system has no room, memory or processes left for it."""
HUNG_GRACE_SECONDS = 10.0
"""What does not answer gets this long to end by itself; its runs write their dead letters meanwhile."""


@dataclass(frozen=True)
class RestartPolicy:
    """When a process is started again: after `delay` seconds, doubled by each restart within `window` seconds.

    A process that dies more than `most` times within the window will not get better by itself. One that lives and does
    not work is started again as often as that may take, after `longest` seconds at most.
    """

    most: int = 5
    window: float = 600.0
    delay: float = 1.0
    longest: float = 60.0


@dataclass
class _Child:
    service: Service
    process: subprocess.Popen[bytes]
    leader: Leader
    proven: bool
    judge: Judge | None
    deaths: list[float] = field(default_factory=list)
    ailing: list[float] = field(default_factory=list)
    restart_at: float | None = None
    told: bool = True
    refused: str | None = None
    """Why the system did not let it start when that was last tried."""


@dataclass
class _DatabaseWatch:
    database: Database
    judge: Judge
    told: bool = True
    again_at: float = 0.0
    server: int | None = None


class Supervisor:
    """The processes of one home. Use as a context manager; leaving it ends every process that was started."""

    def __init__(
        self, home: Home, environment: Mapping[str, str], console: Console, restarts: RestartPolicy | None = None
    ) -> None:
        self.home = home
        self.environment = dict(environment)
        self.console = console
        self.failure: str | None = None
        self._restarts = restarts or RestartPolicy()
        self._state = state.State(state.myself(), {}, revisions.HEAD)
        self._children: dict[str, _Child] = {}
        self._database: _DatabaseWatch | None = None
        self._clock = AwakeClock()
        self._state_written = True
        self._rotate_at = 0.0
        self._lock = threading.Lock()
        self._leaving = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="watcher", daemon=True)
        self._guard: subprocess.Popen[str] | None = None

    def __enter__(self) -> "Supervisor":
        self._guard = self._start_guard()
        self._state.write(self.home.state_file)
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._leaving.set()
        self._watcher.join()
        for judge in self._judges().values():
            judge.stop()
        killed = end_sessions([child.leader for child in self._children.values()])
        for child in self._children.values():
            child.process.wait()
        for name in killed:
            self.console.warn(f"{name} did not end by itself and was killed")
        self._close_guard()
        self.home.state_file.unlink(missing_ok=True)

    def log(self, name: str) -> Path:
        """The log file of a process."""
        return self.home.logs / f"{name}.log"

    def start(self, service: Service) -> None:
        """Start a process under supervision."""
        with self._lock:
            process, leader = self._spawn(service)
            proven = service.ready is nothing_to_wait_for
            self._children[service.name] = _Child(service, process, leader, proven, self._judge(service, leader))
            if service.url is not None:
                self._state = replace(self._state, urls={**self._state.urls, service.name: service.url})
            self._write_state()

    def watch_database(self, database: Database) -> None:
        """Judge the database too, and repair it where it is ours."""
        with self._lock:
            self._database = _DatabaseWatch(database, Judge(database.probe, self._clock))
            self._database.judge.start()

    def wait_ready(self, name: str, stop: StopSignals) -> None:
        """Wait until a started process works; raises CommandError when it does not, StopRequested when asked to."""
        child = self._children[name]
        service = child.service
        deadline = time.monotonic() + service.ready_within
        while not service.ready():
            self.check()
            if time.monotonic() > deadline:
                raise CommandError(f"{name} is not ready after {service.ready_within:.0f} s: see {self.log(name)}")
            stop.wait(0.2)
        child.proven = True

    def check(self) -> None:
        """Raise CommandError when a process died too often."""
        if self.failure is not None:
            raise CommandError(self.failure)

    def serve(self, stop: StopSignals) -> None:
        """Stay until asked to stop (StopRequested) or until a process died too often (CommandError)."""
        while True:
            stop.wait(WATCH_SECONDS)
            self.check()

    def _spawn(self, service: Service) -> tuple[subprocess.Popen[bytes], Leader]:
        process = spawn(service.argv, self.environment, self.home.path, self.log(service.name))
        leader = Leader.of(service.name, process.pid)
        self._tell_guard(leader)
        return process, leader

    def _start_guard(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "financehub_dagster.cli.supervisor.guard", str(self.home.path)],
            stdin=subprocess.PIPE,
            cwd=self.home.path,
            env=self.environment,
            start_new_session=True,
            text=True,
        )

    def _tell_guard(self, leader: Leader) -> None:
        if self._guard is not None and self._guard.stdin is not None:
            with suppress(BrokenPipeError):  # it has died: the next one is told of all children
                self._guard.stdin.write(json.dumps(asdict(leader)) + "\n")
                self._guard.stdin.flush()

    def _close_guard(self) -> None:
        if self._guard is not None and self._guard.stdin is not None:
            with suppress(BrokenPipeError):
                self._guard.stdin.close()
            let_go_on(self._guard.pid)
            self._guard.wait()

    def _look_after_guard(self) -> None:
        if self._guard is not None and self._guard.poll() is not None:
            self._close_guard()
            try:
                self._guard = self._start_guard()
            except OSError:  # no memory, no more processes: the next look tries again
                return
            for child in self._children.values():
                self._tell_guard(child.leader)

    def _judge(self, service: Service, leader: Leader) -> Judge | None:
        """Begin to judge a process that was just started."""
        if service.probe is None:
            return None
        probe = service.probe(self._clock.now)

        def works() -> None:
            if leader.stopped():
                raise Trouble("a signal has stopped its process")
            probe()

        judge = Judge(works, self._clock)
        judge.start()
        return judge

    def _judges(self) -> dict[str, Judge]:
        found = {name: child.judge for name, child in self._children.items() if child.judge is not None}
        return found if self._database is None else {**found, self._database.database.name: self._database.judge}

    def _write_state(self) -> None:
        leaders = tuple(child.leader for child in self._children.values())
        replace(self._state, children=leaders).write(self.home.state_file)

    def _note_state(self) -> None:
        """Write the state; on a full disk, with the next look: the platform works without it."""
        try:
            self._write_state()
        except OSError:
            self._state_written = False
        else:
            self._state_written = True

    def _watch(self) -> None:
        while not self._leaving.wait(WATCH_SECONDS) and self.failure is None:
            asleep = self._clock.tick()
            try:
                if asleep > TOLD_SECONDS:
                    self.console.note(
                        f"nothing ran here for {asleep:.0f} s (frozen or asleep): every part is asked anew"
                    )
                with self._lock:
                    self._look_after_guard()
                    for child in self._children.values():
                        self._look_after(child)
                        self._look_at_work(child)
                    self._look_after_database()
                    if not self._state_written:
                        self._note_state()
                self._rotate_logs()
            except Exception as error:  # noqa: BLE001 - whatever stops supervision has to stop the platform too
                self.failure = f"processes can no longer be supervised: {error}"

    def _rotate_logs(self) -> None:
        if self._clock.now() >= self._rotate_at:
            self._rotate_at = self._clock.now() + ROTATE_SECONDS
            for name in self._children:
                with suppress(OSError):  # a full disk: there is no room to set a log aside, and more is told elsewhere
                    rotate(self.log(name))

    def _look_after(self, child: _Child) -> None:
        """Start a process again that has ended."""
        now = time.monotonic()
        if child.restart_at is not None:
            if now >= child.restart_at:
                self._start_now(child)
            return
        code = child.process.poll()
        if code is None:
            return
        end_sessions([child.leader])
        name, log = child.service.name, self.log(child.service.name)
        child.deaths = [at for at in child.deaths if now - at < self._restarts.window] + [now]
        if not child.proven:
            self.failure = f"{name} ended with exit code {code} before it was ready: {last_line(log)} (see {log})"
            return
        if len(child.deaths) > self._restarts.most and child.service.essential:
            self.failure = (
                f"{name} ended {counted(len(child.deaths), 'time')}, the last time with exit code {code}: see {log}"
            )
            return
        self._start_again(child, f"{name} ended with exit code {code}", len(child.deaths))

    def _start_now(self, child: _Child) -> None:
        name = child.service.name
        try:
            child.process, child.leader = self._spawn(child.service)
        except OSError as error:
            child.restart_at = time.monotonic() + AGAIN_SECONDS
            if child.refused != error.strerror:
                child.refused = error.strerror
                self.console.warn(f"{name} cannot be started: {error}; tried again every {AGAIN_SECONDS:g} s")
            return
        child.judge = self._judge(child.service, child.leader)
        child.restart_at = child.refused = None
        self._note_state()

    def _look_at_work(self, child: _Child) -> None:
        """Start a process again that lives and does not work."""
        judge, service = child.judge, child.service
        if judge is None or child.restart_at is not None or not child.proven:
            return
        if not child.told and judge.answered:
            child.told = True
            self.console.note(f"{service.name} works again")
        if any(other in service.needs and each.trouble is not None for other, each in self._judges().items()):
            judge.excuse()
        child.ailing = [at for at in child.ailing if time.monotonic() - at < self._restarts.window]
        trouble = judge.verdict(service.ready_within, 2.0 ** len(child.ailing), lambda: any_stopped(child.leader))
        if trouble is None:
            return
        child.ailing.append(time.monotonic())
        end_sessions([child.leader], HUNG_GRACE_SECONDS)
        child.process.wait()
        self._start_again(child, f"{service.name} does not work: {trouble}", len(child.ailing))

    def _start_again(self, child: _Child, why: str, times: int) -> None:
        if child.judge is not None:
            child.judge.stop()
        delay = min(self._restarts.longest, self._restarts.delay * 2.0 ** (times - 1))
        child.restart_at, child.told = time.monotonic() + delay, child.judge is None
        self._state = self._state.with_restart(child.service.name, why)
        self._note_state()
        self.console.warn(f"{why}, it starts again in {delay:g} s: see {self.log(child.service.name)}")

    def _look_after_database(self) -> None:
        watch, now = self._database, self._clock.now()
        if watch is None:
            return
        if not watch.told and watch.judge.trouble is None:
            watch.told = True
            self.console.note("the database answers again")
        if watch.server not in (None, watch.database.server):
            self._state = self._state.with_restart(watch.database.name, ENDED)
            self._note_state()
            self.console.warn(f"the database: {ENDED}")
        watch.server = watch.database.server
        trouble = watch.judge.verdict(stopped=lambda: False) if now >= watch.again_at else None
        if trouble is None:
            return
        try:
            done = watch.database.repair()
        except Exception as error:  # noqa: BLE001 - a server that does not start now may do so later
            done = f"it cannot be started: {error}"
        watch.server = watch.database.server
        self._tell_of_database(watch, str(trouble), done)
        watch.judge.excuse()
        watch.again_at = self._clock.now() + self._restarts.longest

    def _tell_of_database(self, watch: _DatabaseWatch, why: str, done: str | None) -> None:
        if done is None and not watch.told:
            return  # somebody else's server: it was said once that it is away
        watch.told = False
        self.console.warn(f"the database does not answer: {why}{'' if done is None else f'; {done}'}")
        if done is not None:
            self._state = self._state.with_restart(watch.database.name, f"{why}; {done}")
            self._note_state()
