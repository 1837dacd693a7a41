"""Each fault of the sandbox does on the wire what its name says, and only to the requests it was meant for."""

import json
import socket
import time
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
import requests

from financehub_dagster.sandbox.client import Sandbox
from financehub_dagster.sandbox.errors import SandboxError
from financehub_dagster_tests.contracts.sandbox.sandbox_calls import EXAMPLES, fresh_key

CHART = "/yahoo/v8/finance/chart/AAPL?range=5d"
KLINES = "/binance/api/v3/klines?symbol=BTCUSDT&interval=1d&limit=3"
PATHS = {
    "yahoo": CHART,
    "binance": KLINES,
    **{
        vendor: f"/{vendor.replace('_', '')}{each.path}?{urlencode(each.params)}&{each.parameter}={{key}}"
        for vendor, each in EXAMPLES.items()
    },
}
WORDS = {"yahoo": "Too Many Requests\r\n", "binance": "-1003", "newsapi": "rateLimited"}
EVERY = pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)


def get(box: Sandbox, path: str, timeout: float = 10) -> requests.Response:
    return requests.get(box.url + path.format(key=fresh_key()), timeout=timeout)


def raw(box: Sandbox, path: str, timeout: float = 10) -> socket.socket:
    """A connection over which the request for `path` has been sent."""
    at = urlsplit(box.url)
    connection = socket.create_connection((at.hostname, at.port), timeout)
    connection.sendall(f"GET {path.format(key=fresh_key())} HTTP/1.1\r\nHost: {at.netloc}\r\n\r\n".encode())
    return connection


def received(connection: socket.socket) -> bytes:
    with connection:
        return b"".join(iter(lambda: connection.recv(65536), b""))


def header(head: bytes, name: bytes) -> bytes:
    lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    return lines[name]


@EVERY
def test_status_is_answered_in_the_vendors_own_words(sandbox: Sandbox, path: str) -> None:
    sandbox.fault("status", status=429, retry_after=7)
    answer = get(sandbox, path)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "7")
    vendor = next(name for name, each in PATHS.items() if each == path)
    assert WORDS.get(vendor, EXAMPLES[vendor].burst if vendor in EXAMPLES else "") in answer.text


@pytest.mark.parametrize("status", [400, 401, 403, 404, 418, 429, 451, 500, 502, 503, 504])
def test_every_error_status_can_be_played_by_every_vendor(sandbox: Sandbox, status: int) -> None:
    sandbox.fault("status", status=status)
    answers = [get(sandbox, path) for path in PATHS.values()]
    assert {answer.status_code for answer in answers} == {status}
    assert all(answer.content for answer in answers)


def test_a_bad_gateway_is_a_web_page(sandbox: Sandbox) -> None:
    sandbox.fault("status", status=502)
    for vendor in EXAMPLES:
        answer = get(sandbox, PATHS[vendor])
        assert answer.headers["content-type"].startswith("text/html")
        assert "<html>" in answer.text


@EVERY
def test_timeout_answers_nothing_until_the_client_gives_up(sandbox: Sandbox, path: str) -> None:
    sandbox.fault("timeout", seconds=60)
    with raw(sandbox, path, timeout=0.2) as connection, pytest.raises(TimeoutError):
        connection.recv(1)


def test_timeout_hangs_up_without_an_answer_when_its_seconds_are_over(sandbox: Sandbox) -> None:
    sandbox.fault("timeout", seconds=0.1)
    assert received(raw(sandbox, CHART)) == b""


@EVERY
def test_reset_resets_the_connection(sandbox: Sandbox, path: str) -> None:
    sandbox.fault("reset")
    with raw(sandbox, path) as connection, pytest.raises(ConnectionResetError):
        connection.recv(1)


@EVERY
def test_truncated_promises_more_than_it_sends(sandbox: Sandbox, path: str) -> None:
    whole = len(get(sandbox, path).content)
    sandbox.fault("truncated")
    head, _, body = received(raw(sandbox, path)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert int(header(head, b"content-length")) == pytest.approx(whole, abs=20)
    assert 0 < len(body) < whole * 0.6


@EVERY
def test_slow_takes_its_time_and_is_complete(sandbox: Sandbox, path: str) -> None:
    sandbox.fault("slow", seconds=0.2)
    began = time.monotonic()
    answer = get(sandbox, path)
    assert time.monotonic() - began >= 0.2
    assert answer.json()


@EVERY
def test_garbage_is_a_success_that_is_no_json(sandbox: Sandbox, path: str) -> None:
    sandbox.fault("garbage")
    answer = get(sandbox, path)
    assert answer.status_code == 200
    assert "json" in answer.headers["content-type"]
    with pytest.raises(ValueError, match=r".+"):
        json.loads(answer.content)


@EVERY
def test_empty_is_a_success_without_a_body(sandbox: Sandbox, path: str) -> None:
    sandbox.fault("empty")
    answer = get(sandbox, path)
    assert (answer.status_code, answer.content) == (200, b"")


@EVERY
def test_html_is_a_success_with_a_page(sandbox: Sandbox, path: str) -> None:
    sandbox.fault("html")
    answer = get(sandbox, path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert answer.text.startswith("<!doctype html>")


def test_a_fault_begins_after_and_ends_with_the_requests_it_was_told(sandbox: Sandbox) -> None:
    sandbox.fault("status", status=503, after=1, times=2)
    assert [get(sandbox, CHART).status_code for _ in range(5)] == [200, 503, 503, 200, 200]
    assert sandbox.faults()[0]["served"] == 2


@pytest.mark.parametrize(
    ("aim", "chart", "klines"),
    [
        ({"vendor": "yahoo"}, 500, 200),
        ({"vendor": "binance"}, 200, 500),
        ({"path": "/chart/"}, 500, 200),
        ({"symbol": "AAPL"}, 500, 200),
        ({"symbol": "BTC"}, 200, 500),
        ({"symbol": "MSFT"}, 200, 200),
    ],
)
def test_a_fault_hits_only_what_it_is_aimed_at(sandbox: Sandbox, aim: dict[str, Any], chart: int, klines: int) -> None:
    sandbox.fault("status", **aim)
    assert (get(sandbox, CHART).status_code, get(sandbox, KLINES).status_code) == (chart, klines)


def test_cleared_faults_are_over(sandbox: Sandbox) -> None:
    sandbox.fault("reset")
    sandbox.clear_faults()
    assert get(sandbox, CHART).status_code == 200


def test_after_every_kind_of_fault_the_server_goes_on(sandbox: Sandbox) -> None:
    for kind in ("reset", "truncated", "garbage", "empty", "html", "status"):
        sandbox.fault(kind, times=1, path="/klines")
        received_or_reset(raw(sandbox, KLINES.replace("HTTP/1.1", "HTTP/1.0")))
        assert get(sandbox, KLINES).status_code == 200, kind
    assert sandbox.calls()["by_fault"] == dict.fromkeys(("reset", "truncated", "garbage", "empty", "html", "status"), 1)


def received_or_reset(connection: socket.socket) -> None:
    with connection:
        try:
            assert connection.recv(65536)
        except ConnectionResetError:
            assert connection.fileno() != -1


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        ({"kind": "explosion"}, "kind: Input should be"),
        ({"kind": "status", "status": 200}, "status: Input should be greater than or equal to 400"),
        (
            {"kind": "status", "vendor": "bloomberg"},
            "vendor bloomberg is not played here; there are alpha_vantage, binance, coingecko",
        ),
        ({"kind": "reset", "wen": 1}, "wen: Extra inputs are not permitted"),
    ],
)
def test_a_nonsensical_fault_is_refused_in_one_line_and_changes_nothing(
    sandbox: Sandbox, payload: dict[str, Any], words: str
) -> None:
    with pytest.raises(SandboxError) as refused:
        sandbox.fault(**payload)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)
    assert sandbox.faults() == []
