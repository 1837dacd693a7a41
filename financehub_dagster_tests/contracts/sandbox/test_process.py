"""The sandbox as a process: it starts, counts, is steered, and never outlives who started it."""

import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, date, datetime
from urllib.parse import urlsplit

import psutil
import pytest
import requests

from financehub_dagster.sandbox.calls import fingerprint, worst_window
from financehub_dagster.sandbox.client import VENDORS, Sandbox, running_sandbox
from financehub_dagster.sandbox.errors import SandboxError

#: Starts a sandbox, names its process and dies without cleaning up.
DYING_PARENT = """
import os, signal, psutil
from financehub_dagster.sandbox.client import running_sandbox
with running_sandbox():
    print(psutil.Process().children()[0].pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def chart(box: Sandbox, name: str = "AAPL", **query: str) -> requests.Response:
    return requests.get(f"{box.yahoo_url}/v8/finance/chart/{name}", params=query, timeout=10)


def test_it_ends_with_the_block_that_started_it() -> None:
    before = set(psutil.Process().children())
    with running_sandbox() as box:
        assert chart(box).status_code == 200
        (started,) = set(psutil.Process().children()) - before
    at = urlsplit(box.url)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((at.hostname, at.port), 5)
    assert not started.is_running()


def test_it_ends_when_its_parent_is_killed() -> None:
    parent = subprocess.run(
        [sys.executable, "-c", DYING_PARENT], capture_output=True, text=True, timeout=60, check=False
    )
    pid = int(parent.stdout)
    try:
        orphan = psutil.Process(pid)
    except psutil.NoSuchProcess:
        return
    _, alive = psutil.wait_procs([orphan], timeout=10)
    assert not [each for each in alive if each.status() != psutil.STATUS_ZOMBIE]


def test_an_interrupt_ends_it_quietly() -> None:
    module = [sys.executable, "-m", "financehub_dagster.sandbox", "--port", "0"]
    with subprocess.Popen(module, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline().startswith("http://127.0.0.1:")
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=30)
    assert (process.returncode, complaints) == (0, "")


def test_a_taken_port_is_one_line_and_exit_code_1(sandbox: Sandbox) -> None:
    port = str(urlsplit(sandbox.url).port)
    module = [sys.executable, "-m", "financehub_dagster.sandbox", "--port", port]
    outcome = subprocess.run(module, capture_output=True, text=True, timeout=60, check=False)
    assert outcome.returncode == 1
    assert outcome.stderr == f"port {port} on 127.0.0.1 cannot be used (Address already in use); choose another one\n"


def test_starting_on_a_taken_port_is_an_error_for_the_starter(sandbox: Sandbox) -> None:
    port = urlsplit(sandbox.url).port
    assert port
    with pytest.raises(SandboxError, match="did not start"), running_sandbox(port):
        pytest.fail("the block must not be entered")


def test_calls_are_counted_by_vendor_path_symbol_key_and_status(sandbox: Sandbox) -> None:
    chart(sandbox, "BRK-B")
    chart(sandbox, "NOSUCH")
    address = f"{sandbox.base_url('finnhub')}/api/v1/quote"
    for key in ("key-of-ann", "key-of-bob", "key-of-bob"):
        requests.get(address, params={"symbol": "META"}, headers={"X-Finnhub-Token": key}, timeout=10)
    counted = sandbox.calls()
    assert counted["total"] == 5
    assert counted["by_vendor"] == {"yahoo": 2, "finnhub": 3}
    assert counted["by_symbol"] == {"BRK.B": 1, "NOSUCH": 1, "FB": 3}
    assert counted["by_path"]["/api/v1/quote"] == 3
    assert counted["by_status"] == {"200": 4, "404": 1}
    assert counted["by_key"] == {fingerprint("key-of-ann"): 1, fingerprint("key-of-bob"): 2}
    assert "key-of" not in str(sandbox.calls(detail=True))
    assert sandbox.calls(symbol="FB")["total"] == sandbox.calls(vendor="finnhub")["total"] == 3
    sandbox.clear_calls()
    assert sandbox.calls()["total"] == 0


@pytest.mark.parametrize("vendor", VENDORS)
def test_an_endpoint_that_is_not_played_is_counted_and_never_mistaken_for_no_data(
    sandbox: Sandbox, vendor: str
) -> None:
    headers = {"X-Finnhub-Token": "any-key-will-do", "X-Api-Key": "any-key-will-do", "Authorization": "apikey any-key"}
    query = {"apikey": "any-key-will-do"}
    answer = requests.get(f"{sandbox.base_url(vendor)}/v9/no/such/endpoint", query, headers=headers, timeout=10)
    assert (answer.status_code, answer.text) == (501, "The sandbox does not play this endpoint.")
    assert sandbox.calls(vendor)["by_status"] == {"501": 1}


def test_calls_carry_their_time_so_that_rates_can_be_checked(sandbox: Sandbox) -> None:
    began = time.time()
    for _ in range(5):
        chart(sandbox)
    calls = sandbox.calls(detail=True)["calls"]
    times = [call["at"] for call in calls]
    assert times == sorted(times)
    assert began <= times[0] <= times[-1] <= time.time()
    assert sandbox.calls()["worst_second"] == {"yahoo": worst_window(times)}


def test_the_worst_window_is_the_fullest_half_open_second() -> None:
    assert worst_window([]) == 0
    assert worst_window([0.0, 1.0, 2.0]) == 1
    assert worst_window([0.0, 0.5, 0.999, 1.0, 5.0]) == 3
    assert worst_window([3.0, 0.1, 0.2, 0.3]) == 3


def test_latency_delays_every_answer(sandbox: Sandbox) -> None:
    sandbox.latency(200)
    began = time.monotonic()
    chart(sandbox)
    assert time.monotonic() - began >= 0.2


def test_reset_undoes_everything(sandbox: Sandbox) -> None:
    pristine = chart(sandbox, "KO", period1="1420000000", period2="1440000000").json()
    sandbox.split("KO", date(2015, 6, 1), 2)
    sandbox.dividend("KO", date(2015, 6, 2), 0.5)
    sandbox.freeze(datetime(2015, 7, 1, tzinfo=UTC))
    sandbox.limit("yahoo", 0)
    assert chart(sandbox, "KO").status_code == 429
    sandbox.reset()
    again = chart(sandbox, "KO", period1="1420000000", period2="1440000000").json()
    assert again["chart"]["result"][0]["indicators"] == pristine["chart"]["result"][0]["indicators"]
    assert sandbox.calls()["total"] == 1


def test_wrong_orders_are_refused_in_one_line(sandbox: Sandbox) -> None:
    for order, words in (
        (lambda: sandbox.split("NOSUCH", date(2020, 1, 2), 2), "NOSUCH is not listed"),
        (lambda: sandbox.split("KO", date(2020, 1, 2), 0), "ratio: Input should be greater than 0"),
        (lambda: sandbox.delist("NOSUCH"), "NOSUCH is not listed"),
        (lambda: sandbox.freeze(datetime(2020, 1, 1)), "now: Input should have timezone info"),  # noqa: DTZ001
        (lambda: sandbox.limit("reuters", 1), "vendor reuters is not played here"),
        (lambda: sandbox.list_synthetic(0), "count: Input should be greater than or equal to 1"),
    ):
        with pytest.raises(SandboxError) as refused:
            order()
        assert words in str(refused.value)
        assert "\n" not in str(refused.value)


def test_starting_it_loads_neither_the_server_nor_numpy() -> None:
    check = "import sys, financehub_dagster.sandbox.client; print({'numpy', 'uvicorn', 'starlette'} & set(sys.modules))"
    outcome = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True, timeout=60)
    assert outcome.stdout == "set()\n"
