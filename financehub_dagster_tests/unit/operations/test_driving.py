"""One daemon drives: the claim on the database, how it ends, and what health says of daemons that drive together."""

import json
import os
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from financehub_dagster.cli.console import Console
from financehub_dagster.cli.errors import CommandError
from financehub_dagster.cli.signals import StopSignals
from financehub_dagster.cli.supervisor import claim as of_up
from financehub_dagster.operations import driving, health
from financehub_dagster.storage.database import processes
from financehub_dagster.storage.database.engine import transaction
from financehub_dagster.storage.database.transactions import in_transaction
from financehub_dagster.storage.operations import daemons
from financehub_dagster_tests.fixtures.database import Database
from financehub_dagster_tests.fixtures.eventually import eventually
from financehub_dagster_tests.fixtures.folder import REPOSITORY

AT_ONCE = 8
ELSEWHERE = json.dumps({"host": "elsewhere", "pid": 1, "started": 0.0})


def change(database: Database, assignments: str, token: str) -> None:
    with database.engine.begin() as connection:
        connection.execute(sa.text(f"update daemons set {assignments} where token = :token"), {"token": token})


def killed_elsewhere(database: Database, seconds_ago: float) -> None:
    """Another machine's platform holds the claim, and renewed it last so long ago."""
    assert driving.claim("other") is None
    age = f"clock_timestamp() - interval '{seconds_ago} seconds'"
    change(database, f"seen_at = {age}, since = {age}, host = 'elsewhere', process = '{ELSEWHERE}'", "other")


def test_a_claim_is_renewed_by_its_holder_and_refused_to_others(database):
    assert driving.claim("mine") is None
    assert driving.claim("mine") is None
    other = driving.claim("yours")
    assert other is not None
    assert other.token == "mine"
    assert f"process {other.pid}, since " in str(other)


def test_of_many_that_claim_at_once_one_gets_it(database):
    together = threading.Barrier(AT_ONCE)

    def take(number: int) -> bool:
        together.wait()
        return driving.claim(f"token {number}") is None

    with ThreadPoolExecutor(AT_ONCE) as pool:
        assert sum(pool.map(take, range(AT_ONCE))) == 1


@pytest.mark.parametrize(("seconds", "over"), [(0, False), (25, False), (31, True), (-31, True)])
def test_a_claim_that_nobody_renews_ends_also_when_the_clock_is_set_back(database, seconds, over):
    killed_elsewhere(database, seconds)
    assert (driving.claim("mine") is None) == over


def test_a_killed_process_of_this_machine_holds_nothing(database):
    assert driving.claim("killed") is None
    gone = json.loads(processes.identity()) | {"started": 1.0}
    change(database, f"process = '{json.dumps(gone)}'", "killed")
    assert driving.claim("mine") is None


def test_a_process_of_the_same_number_on_a_machine_of_the_same_name_is_not_ours_to_judge(database):
    assert driving.claim("other") is None
    twin = json.loads(processes.identity()) | {"started": 1.0, "machine": "a clone"}
    change(database, f"process = '{json.dumps(twin)}'", "other")
    assert driving.claim("mine") is not None


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="has no /proc")
def test_a_process_is_known_by_a_start_that_setting_the_clock_does_not_move():
    """Machines without a battery set their clock after the platform has started."""
    ticks = json.loads(processes.identity())["started"]
    assert ticks == float(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    assert not processes.is_gone(processes.identity())


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="needs Linux and root")
def test_a_process_of_another_user_is_not_gone_where_the_machine_hides_it():
    shown = json.loads(processes.identity()) | {"pid": 1, "started": 0.0}
    ask = f"""
import os, sys
from financehub_dagster.storage.database import processes
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
assert not os.path.exists("/proc/1/stat")
sys.exit(processes.is_gone({json.dumps(shown)!r}))
"""
    hidden = 'mount -t proc -o hidepid=invisible proc /proc && exec "$0" -c "$1"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", hidden, sys.executable, ask], check=False, capture_output=True, text=True
    )
    if "mount: " in done.stderr or "unshare: " in done.stderr:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr


def test_the_daemon_of_the_image_stands_by_while_another_drives(database):
    """As Dagster's Helm chart starts it."""
    assert driving.claim("other") is None
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = [str(REPOSITORY / "deploy/dagster-daemon"), "run", "-w", "/dagster-workspace/workspace.yaml"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as daemon:
        assert daemon.stderr is not None
        said = daemon.stderr.readline()
        daemon.kill()
    assert f"stands by: {socket.gethostname()} (" in said


def test_only_who_took_a_claim_gives_it_up(database):
    assert driving.claim("mine") is None
    change(database, f"process = '{ELSEWHERE}'", "mine")
    driving.release("mine")  # as the daemon of a supervisor that lives
    assert driving.claim("yours") is not None
    change(database, f"process = '{processes.identity()}'", "mine")
    driving.release("mine")
    assert driving.claim("yours") is None


def test_a_keeper_renews_until_somebody_else_has_taken_over(database, monkeypatch):
    monkeypatch.setattr(driving, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(driving, "RENEW_SECONDS", 0.05)
    assert driving.claim("mine") is None
    lost: list[daemons.Daemon] = []
    keeper = driving.Keeper("mine", lost.append)
    keeper.start()
    try:
        with transaction() as connection:
            before = daemons.holder(connection)
        assert before is not None
        eventually(lambda: _seen_at() > before.seen_at)
        change(database, "claims = false", "mine")
        with transaction() as connection:
            connection.execute(sa.text("update daemons set claims = false"))
            assert daemons.claim(connection, "yours", "/elsewhere") is None
        eventually(lambda: bool(lost))
    finally:
        keeper.stop()
    assert lost[0].home == "/elsewhere"


def test_an_unexpected_error_is_told_once_and_does_not_end_a_keeper(database, monkeypatch, caplog):
    """Another version has written down its process in a way that this one cannot read."""
    monkeypatch.setattr(driving, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(driving, "RENEW_SECONDS", 0.05)
    assert driving.claim("other") is None
    change(database, "process = '?'", "other")
    lost: list[daemons.Daemon] = []
    keeper = driving.Keeper("mine", lost.append)
    keeper.start()
    try:
        eventually(lambda: caplog.messages)
        change(database, f"process = '{ELSEWHERE}'", "other")
        eventually(lambda: bool(lost))
    finally:
        keeper.stop()
    [line] = caplog.messages
    assert line.startswith("the claim on the database cannot be renewed, which is tried again: JSONDecodeError")


def _seen_at():
    with transaction() as connection:
        found = daemons.holder(connection)
    assert found is not None
    return found.seen_at


def test_who_cannot_renew_is_told_before_the_claim_is_over(database, monkeypatch):
    monkeypatch.setattr(driving, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(driving, "RENEW_SECONDS", 0.05)
    monkeypatch.setattr(driving, "SURE_SECONDS", 0.3)
    assert driving.claim("mine") is None
    unsure = threading.Event()
    keeper = driving.Keeper("mine", lambda _: None, unsure.set)
    with database.engine.begin() as connection:
        connection.execute(sa.text("lock table daemons in access exclusive mode"))
        keeper.start()
        assert unsure.wait(10)
    keeper.stop()


class Nobody:
    """Where a supervisor would be."""

    failure: str | None = None


def test_up_is_refused_beside_a_platform_that_lives_and_names_it(database, monkeypatch):
    monkeypatch.setattr(driving, "LOOK_SECONDS", 0.05)
    assert driving.claim("other") is None
    renewing = threading.Timer(0.2, driving.claim, ["other"])
    renewing.start()
    with of_up.Claim(Console()) as mine, pytest.raises(CommandError) as refused:
        mine.take(Nobody(), StopSignals())  # type: ignore[arg-type]
    renewing.join()
    [line] = str(refused.value).splitlines()
    with transaction() as connection:
        held = daemons.holder(connection)
    assert line == f"{held} drives this database: {of_up.REMEDY}"


def test_up_outwaits_the_claim_of_a_platform_that_was_killed_elsewhere(database, monkeypatch, capsys):
    monkeypatch.setattr(driving, "LOOK_SECONDS", 0.05)
    killed_elsewhere(database, 28)
    with of_up.Claim(Console()) as mine:
        mine.take(Nobody(), StopSignals())  # type: ignore[arg-type]
        assert driving.claim("third") is not None
    assert driving.claim("third") is None
    assert "was last heard of 28 s ago: this platform starts when that claim ends, in 2 s" in capsys.readouterr().err


def beat(token: str, home: str) -> None:
    in_transaction(lambda connection: daemons.beat(connection, token, home))


def test_health_names_the_daemons_that_drive_together(dagster_tables, database):
    dagster_tables.beat()
    assert driving.claim("mine") is None
    beat("mine", "/mine")
    found = health.daemon(None)
    assert found.status == "ok"
    assert "last heartbeat 0 s ago on " in found.detail
    beat("plain", "/with/dagster-dev")
    assert health.daemon(None).status == "ok"  # it may have followed the other one
    beat("mine", "/mine")
    found = health.daemon(None)
    assert found.status == "degraded"
    assert found.detail.startswith("2 drive, so ticks are made twice: stop all but one: ")
    assert "(/with/dagster-dev, process " in found.detail
    change(database, "beat_at = clock_timestamp() - interval '80 seconds'", "plain")
    assert health.daemon(None).status == "ok"


def test_a_daemon_that_followed_another_one_drives_alone(dagster_tables, database):
    dagster_tables.beat()
    assert driving.claim("first") is None
    beat("first", "/first")
    driving.release("first")
    assert driving.claim("second") is None
    beat("second", "/second")
    assert health.daemon(None).status == "ok"
