"""Ports that a platform keeps from the moment it chooses them, long before its servers listen there."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from financehub_dagster.cli.errors import CommandError
from financehub_dagster.cli.supervisor import launch, ports

CHOOSING = """
import sys
from pathlib import Path
from financehub_dagster.cli.console import Console
from financehub_dagster.cli.home import Home
from financehub_dagster.cli.supervisor import launch
folder = Path(sys.argv[1])
launch.WEBSERVER_PORT = int(sys.argv[2])
with (folder / "said").open("w") as said:
    print(launch.webserver_port(Home(folder, folder / "dagster"), Console(messages=said), None), flush=True)
sys.stdin.read()
"""
KEEPING = """
import sys
from financehub_dagster.cli.supervisor import ports
print(int(ports.reserve(int(sys.argv[1]))), flush=True)
sys.stdin.read()
"""


@contextmanager
def running(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", *arguments]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.communicate(timeout=60)


def number(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    return int(process.stdout.readline())


def test_of_platforms_started_at_once_each_gets_a_port_of_its_own(tmp_path):
    usual = ports.pick_free()
    homes = [tmp_path / "first", tmp_path / "second"]
    for home in homes:
        home.mkdir()
    with running(CHOOSING, str(homes[0]), str(usual)) as one, running(CHOOSING, str(homes[1]), str(usual)) as other:
        first, second = number(one), number(other)
    assert first != second
    assert usual in (first, second)
    said = "".join((home / "said").read_text() for home in homes)
    assert f"port {usual} is taken: the webserver is on port {({first, second} - {usual}).pop()}" in said


def test_a_port_is_kept_until_its_platform_ends():
    port = ports.pick_free()
    with running(KEEPING, str(port)) as platform:
        assert number(platform)
        assert ports.is_free(port)  # nobody listens yet
        with pytest.raises(CommandError, match=f"port {port} is taken: stop what listens there, or choose another"):
            launch.reserved_port(port)
    assert launch.reserved_port(port) == port


def test_where_no_file_can_be_locked_a_free_port_is_taken_all_the_same(tmp_path: Path):
    port = ports.pick_free()
    without = f"import tempfile; tempfile.tempdir = {str(tmp_path / 'missing')!r}\n"
    with running(without + KEEPING, str(port)) as platform:
        assert number(platform)
