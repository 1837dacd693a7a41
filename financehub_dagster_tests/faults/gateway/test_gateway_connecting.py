"""No connection takes longer than the time for it, in a network whose names and addresses are bad."""

import json
import shutil
import subprocess
import sys
from typing import Any

import pytest

from financehub_dagster_tests.faults.gateway.dark_network import CONNECT
from financehub_dagster_tests.fixtures.folder import REPOSITORY

NAMESPACES = ("unshare", "--map-root-user", "--net", "--mount")
"""Of one's own, which an ordinary user may make on most systems."""


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    if shutil.which("unshare") is None or subprocess.run([*NAMESPACES, "true"], check=False).returncode:
        pytest.skip("this system has no namespaces for ordinary users")
    command = [*NAMESPACES, sys.executable, "-m", "financehub_dagster_tests.faults.gateway.dark_network"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=120)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_name_server_that_does_not_answer_is_not_waited_for(told: dict[str, Any]) -> None:
    assert told["unknown"]["outcome"] == "NameResolutionError"
    assert told["unknown"]["seconds"] == pytest.approx(CONNECT, abs=1.0)


def test_the_second_address_of_a_name_has_half_of_the_time(told: dict[str, Any]) -> None:
    assert told["half"]["outcome"] == '["here"]'
    assert told["half"]["seconds"] == pytest.approx(CONNECT / 2, abs=0.8)


def test_addresses_that_do_not_answer_take_the_time_to_connect_once(told: dict[str, Any]) -> None:
    assert told["dead"]["outcome"] == "ConnectTimeoutError"
    assert told["dead"]["seconds"] == pytest.approx(CONNECT, abs=1.0)
