"""One supervisor per home: it starts the platform's processes, restarts those that die, and ends them all.

Belongs here: the life of the processes. Does not belong here: which processes there are (see services).
A guard process sees to it that nothing outlives a supervisor that was killed.
"""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from financehub_dagster.cli import state
from financehub_dagster.cli.console import Console
from financehub_dagster.cli.errors import CommandError
from financehub_dagster.cli.home import Home
from financehub_dagster.cli.processes import Leader, end_sessions, last_line, spawn
from financehub_dagster.cli.services import Service, nothing_to_wait_for
from financehub_dagster.cli.signals import StopSignals

WATCH_SECONDS = 0.2


@dataclass(frozen=True)
class RestartPolicy:
    """When a dead process is started again: after `delay` seconds, doubled by each death within `window` seconds.

    A process that dies more than `most` times within the window will not get better by itself.
    """

    most: int = 5
    window: float = 600.0
    delay: float = 1.0


@dataclass
class _Child:
    service: Service
    process: subprocess.Popen[bytes]
    leader: Leader
    proven: bool
    deaths: list[float] = field(default_factory=list)
    restart_at: float | None = None


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
        self._state = state.State(state.myself(), {})
        self._children: dict[str, _Child] = {}
        self._lock = threading.Lock()
        self._leaving = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="watcher", daemon=True)
        self._guard: subprocess.Popen[str] | None = None

    def __enter__(self) -> "Supervisor":
        self._guard = subprocess.Popen(
            [sys.executable, "-m", "financehub_dagster.cli.guard", str(self.home.path)],
            stdin=subprocess.PIPE,
            cwd=self.home.path,
            env=self.environment,
            start_new_session=True,
            text=True,
        )
        self._state.write(self.home.state_file)
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._leaving.set()
        self._watcher.join()
        killed = end_sessions([child.leader for child in self._children.values()])
        for child in self._children.values():
            child.process.wait()
        for name in killed:
            self.console.warn(f"{name} did not end by itself and was killed")
        if self._guard is not None and self._guard.stdin is not None:
            self._guard.stdin.close()
            self._guard.wait()
        self.home.state_file.unlink(missing_ok=True)

    def log(self, name: str) -> Path:
        """The log file of a process."""
        return self.home.logs / f"{name}.log"

    def start(self, service: Service) -> None:
        """Start a process under supervision."""
        with self._lock:
            process, leader = self._spawn(service)
            self._children[service.name] = _Child(service, process, leader, proven=service.ready is nothing_to_wait_for)
            if service.url is not None:
                self._state = replace(self._state, urls={**self._state.urls, service.name: service.url})
            self._write_state()

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
        if self._guard is not None and self._guard.stdin is not None:
            self._guard.stdin.write(json.dumps(leader.as_dict()) + "\n")
            self._guard.stdin.flush()
        return process, leader

    def _write_state(self) -> None:
        leaders = [child.leader for child in self._children.values()]
        self._state.with_children(leaders).write(self.home.state_file)

    def _watch(self) -> None:
        while not self._leaving.wait(WATCH_SECONDS) and self.failure is None:
            try:
                with self._lock:
                    for child in self._children.values():
                        self._look_after(child)
            except Exception as error:  # noqa: BLE001 - whatever stops supervision has to stop the platform too
                self.failure = f"processes can no longer be supervised: {error}"

    def _look_after(self, child: _Child) -> None:
        now = time.monotonic()
        if child.restart_at is not None:
            if now >= child.restart_at:
                child.process, child.leader = self._spawn(child.service)
                child.restart_at = None
                self._write_state()
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
        if len(child.deaths) > self._restarts.most:
            self.failure = f"{name} ended {len(child.deaths)} times, the last time with exit code {code}: see {log}"
            return
        delay = self._restarts.delay * 2.0 ** (len(child.deaths) - 1)
        child.restart_at = now + delay
        self.console.warn(f"{name} ended with exit code {code}, it starts again in {delay:g} s: see {log}")
