"""The data folder of the embedded server: creating it, its settings, starting and stopping the server on it.

Belongs here: what one server on one folder needs. Does not belong here: who uses the server and for how long. Every
function expects the caller to hold the inter-process lock of `server`.
"""

import hashlib
import os
import re
import shlex
import shutil
import signal
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from financehub_dagster.storage.database.embedded.binaries import Owner, open_to_others, run, server_owner
from financehub_dagster.storage.database.errors import EmbeddedFailed
from financehub_dagster.storage.database.processes import is_alive, start_of

MAX_SOCKET_PATH = 103
"""Bytes of a socket's path that every platform takes (sys/un.h: 108 on Linux, 104 on macOS, with the final zero)."""

PORT = 5432
"""Part of the socket's name. PostgreSQL would take PGPORT of whoever starts it, and clients that of their own shell."""

START_SLACK = 3.0
"""Seconds between the start of a process and the time that PostgreSQL notes as its own start."""

START_SECONDS = 120
"""Long enough for recovery after a crash in the middle of a large load on a slow disk."""

REMAINS_SECONDS = 15
"""Sessions of a killed server that cannot be told from others end by themselves; PostgreSQL starts only after that."""

SETTINGS = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "effective_cache_size": "1GB",
    "work_mem": "32MB",
    "maintenance_work_mem": "128MB",
    "temp_buffers": "64MB",
    "synchronous_commit": "on",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "2GB",
    "min_wal_size": "128MB",
    "checkpoint_timeout": "15min",
    "random_page_cost": "1.1",
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
    "logging_collector": "on",
    "log_directory": "log",
    "log_filename": "postgres-%a.log",
    "log_truncate_on_rotation": "on",
    "log_rotation_age": "1d",
    "log_rotation_size": "0",
    "log_line_prefix": "%m [%p] %d ",
    "log_checkpoints": "off",
}
"""A market database on a person's machine: bulk loads, few connections, nothing on the network, a week of logs.

No parallel plans: they need more shared memory than a container grants by default (64 MB in /dev/shm). Buffers fill in
the course of an hour and stay; with four times as many, reading and writing is 3 to 5 % faster.
"""

_SETTINGS_FILE = "financehub.conf"


@dataclass(frozen=True)
class EmbeddedServer:
    """A running embedded server; superuser `postgres` without a password on a socket only its owner can reach."""

    pid: int
    start: str
    socket_folder: Path

    def is_alive(self) -> bool:
        """Whether this very process still runs."""
        return is_alive(self.pid, self.start)


def find(data: Path) -> EmbeddedServer | None:
    """The live server on `data`, or None; a pid file left by a dead server never counts, whoever has its pid now."""
    lines = _pid_file_lines(data)
    if len(lines) < 8 or not lines[0].isdigit() or lines[7].strip() != "ready":
        return None
    process = _server_process(int(lines[0]), data, float(lines[2]))
    try:
        return None if process is None else EmbeddedServer(process.pid, start_of(process.pid), Path(lines[4]))
    except psutil.NoSuchProcess:
        return None


def start(data: Path) -> EmbeddedServer:
    """Start the server on `data`, creating the folder if needed; raises EmbeddedFailed with the server's own reason."""
    owner = server_owner(data)
    try:
        if not (data / "PG_VERSION").exists():
            _create(data)
            owner = server_owner(data)
        if owner is not None:
            open_to_others(data)
        _clear_remains(data)
        _write_settings(data, _socket_folder(data, owner), owner)
    except OSError as error:
        raise EmbeddedFailed(_os_reason(data, error)) from None
    deadline = time.monotonic() + REMAINS_SECONDS
    while True:
        output = _pg_ctl_start(data, owner)
        server = find(data)
        if server is not None:
            return server
        reason = _reason(data, output)
        if "still in use" not in reason or time.monotonic() > deadline:
            raise EmbeddedFailed(f"the embedded PostgreSQL on {data} does not start: {reason}")
        time.sleep(0.2)


def _pg_ctl_start(data: Path, owner: Owner | None) -> str:
    log = data / "start.log"
    log.unlink(missing_ok=True)
    # pg_ctl puts the path into a shell command between double quotes, where an odd one would not survive.
    place = str(data) if shlex.quote(str(data)) == str(data) else "."
    arguments = ["start", "-w", "-t", str(START_SECONDS), "-D", place, "-l", log.name]
    return run("pg_ctl", arguments, owner, START_SECONDS + 10, data)[1]


def stop(data: Path, server: EmbeddedServer, timeout: float = 60) -> None:
    """Stop the server as `pg_ctl stop -m fast` does, and at once (with recovery at the next start) after `timeout`."""
    for request, patience in ((signal.SIGINT, timeout), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 5.0)):
        if not server.is_alive() or _ends(server.pid, request, patience):
            if server.socket_folder != data:
                shutil.rmtree(server.socket_folder, ignore_errors=True)
            return
    raise EmbeddedFailed(f"the embedded PostgreSQL on {data} (process {server.pid}) does not stop: end it by hand")


def _ends(pid: int, request: signal.Signals, patience: float) -> bool:
    """Send `request` and wait; a process that only its parent has not asked about yet has ended."""
    deadline = time.monotonic() + patience
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        process.send_signal(request)
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
    return True


def _pid_file_lines(data: Path) -> list[str]:
    try:
        return (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise EmbeddedFailed(_os_reason(data, error)) from None


def _server_process(pid: int, data: Path, started: float | None = None) -> psutil.Process | None:
    """The process if it is a server on `data`, known by its command line, its folder or the time it `started`.

    Three signs, since none is always there: a session's command line is a title, an odd path is not in the command
    line, the folder of another user's process is hidden in a container, and a clock that was set moves start times.
    """
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE or "postgres" not in process.name():
            return None
        on_time = started is not None and abs(process.create_time() - started) <= START_SLACK
        if on_time or str(data) in process.cmdline() or process.cwd() == str(data):
            return process
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return None
    return None


def _clear_remains(data: Path) -> None:
    """Remove what a killed server leaves: its sessions, and a pid file whose pid another process may have by now."""
    if not _pid_file_lines(data):
        return
    for process in psutil.process_iter():
        if _server_process(process.pid, data) is not None and not _ends(process.pid, signal.SIGQUIT, 10.0):
            _ends(process.pid, signal.SIGKILL, 5.0)
    (data / "postmaster.pid").unlink(missing_ok=True)


def _create(data: Path) -> None:
    """Run initdb beside `data` and move the result into place, so that no half-made folder is ever taken for one."""
    prefix = f".{data.name}-new-"
    for left_over in data.parent.glob(f"{prefix}*"):
        shutil.rmtree(left_over)
    if data.exists() and any(data.iterdir()):
        raise EmbeddedFailed(f"{data} holds something else than a PostgreSQL database: move it away")
    new = Path(tempfile.mkdtemp(prefix=prefix, dir=data.parent))
    try:
        owner = server_owner(new)
        if owner is not None:
            os.chown(new, owner.uid, owner.gid)
            open_to_others(new)
        arguments = ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale-provider=builtin"]
        arguments += ["--builtin-locale=C.UTF-8", "--locale=C", "--no-instructions", "-D", str(new)]
        code, output = run("initdb", arguments, owner, START_SECONDS, new)
        if code != 0:
            raise EmbeddedFailed(f"the embedded PostgreSQL cannot be created in {data}: {_last_line(output)}")
        with (new / "postgresql.conf").open("a") as file:
            file.write(f"\ninclude_if_exists = '{_SETTINGS_FILE}'\n")
        new.rename(data)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _write_settings(data: Path, sockets: Path, owner: Owner | None) -> None:
    folder = '"' + str(sockets).replace('"', '""') + '"'
    values = {**SETTINGS, "unix_socket_directories": folder}
    lines = [f"{name} = '{value.replace(chr(39), chr(39) * 2)}'\n" for name, value in values.items()]
    file = data / _SETTINGS_FILE
    file.write_text("# Written at every start; settings of your own belong into ALTER SYSTEM.\n" + "".join(lines))
    if owner is not None:
        os.chown(file, owner.uid, owner.gid)


def _socket_folder(data: Path, owner: Owner | None) -> Path:
    """The data folder, which only the server's user may enter, or a like one elsewhere if its path will not do."""
    # libpq takes a comma in the folder's name for the end of it.
    if len(os.fsencode(data / f".s.PGSQL.{PORT}")) <= MAX_SOCKET_PATH and "," not in str(data):
        return data
    user = Path(tempfile.gettempdir()) / f"financehub-{os.geteuid()}"
    folder = user / hashlib.sha256(os.fsencode(data)).hexdigest()[:12]
    user.mkdir(mode=0o711, exist_ok=True)
    if user.is_symlink() or user.stat().st_uid != os.geteuid():
        raise EmbeddedFailed(f"{user} belongs to another user: set TMPDIR, or FINANCEHUB_HOME to a shorter path")
    folder.mkdir(mode=0o700, exist_ok=True)
    if owner is not None:
        os.chown(folder, owner.uid, owner.gid)
    if len(os.fsencode(folder / f".s.PGSQL.{PORT}")) > MAX_SOCKET_PATH:
        raise EmbeddedFailed(f"the paths of FINANCEHUB_HOME and TMPDIR are too long for a unix socket: {folder}")
    return folder


def _reason(data: Path, output: str) -> str:
    """The server's last two messages, the second of which is why it gave up, or else pg_ctl's output."""
    logs = sorted([*data.glob("start.log"), *data.glob("log/*.log")], key=lambda path: path.stat().st_mtime)
    for log in reversed(logs):
        messages = re.findall(r"(?:LOG|FATAL|PANIC|DETAIL|HINT): .*", log.read_text(errors="replace"))
        if any(message.startswith(("FATAL", "PANIC")) for message in messages):
            return "; ".join(messages[-2:])
    return _last_line(output)


def _last_line(output: str) -> str:
    """The line of a program's output that says what went wrong."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if "error:" in line or "FATAL:" in line]
    return (errors or lines or ["it gave no reason"])[-1]


def _os_reason(data: Path, error: OSError) -> str:
    return (
        f"the embedded PostgreSQL cannot use {error.filename or data}: {error.strerror}; free it or set FINANCEHUB_HOME"
    )
