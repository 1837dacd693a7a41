"""A disk that is full while a run writes: one line says so, nothing is half done, and it goes on when there is room."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from financehub_dagster_tests.faults.kill import kill_invariants as invariants
from financehub_dagster_tests.faults.kill.kill_points import STOCKS
from financehub_dagster_tests.faults.storage.test_database_outages import assert_one_line_of_ours, failure

pytestmark = [pytest.mark.full, pytest.mark.timeout(600)]

SIZE = "2m"
TABLESPACE = "small_disk"


@pytest.fixture
def small_disk(database_server) -> Iterator[Path]:
    """A disk of its own that the server may write to, as a tablespace."""
    disk = Path(tempfile.mkdtemp(prefix="fh-disk-"))
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode != 0:
        disk.rmdir()
        pytest.skip(f"no small disk without the right to mount one: {mounted.stderr.decode().strip()}")
    space = disk / "space"
    space.mkdir()
    owner = (database_server.home / "postgres").stat()
    os.chown(space, owner.st_uid, owner.st_gid)
    database_server.execute(f"create tablespace {TABLESPACE} location '{space}'")
    yield disk
    database_server.execute(f"drop tablespace {TABLESPACE}")
    subprocess.run(["umount", str(disk)], check=True)
    shutil.rmtree(disk)


def fill(disk: Path) -> Path:
    """Leave no room on it; returns the file that takes it."""
    filler = disk / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    assert shutil.disk_usage(disk).free == 0
    return filler


def test_a_full_disk_costs_nothing_but_time(world, small_disk, count_cases):
    work = world.work(STOCKS)
    world.vendors()
    with world.scene(work.before) as scene:
        with scene.connect() as connection:
            connection.execute(f"alter table stock_prices_daily set tablespace {TABLESPACE}")
        filler = fill(small_disk)
        trace = scene.disturb(work.run)
        assert_one_line_of_ours(failure(trace), "make room on the server's disk")
        assert trace.seen[-1] != work.after
        filler.unlink()
        invariants.assert_survived(scene, work, trace)
        count_cases("full disks")
