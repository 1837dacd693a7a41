"""Who may ask the HTTP server: tokens, addresses, limits and headers, over real connections."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection

import pytest
from fastapi import FastAPI

from financehub_dagster.cli.app import run
from financehub_dagster.serving import guard, http, rows
from financehub_dagster.settings import SettingsError, get_settings
from financehub_dagster_tests.fixtures.eventually import eventually

TOKEN, OTHER = "a-token-of-24-characters", "another-token-of-that-kind"


@contextmanager
def serving(app: guard.App) -> Iterator[int]:
    """The port of `app`, served as `financehub serve` serves its own."""
    bound = http.bind(0)
    server = http.server(app)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    try:
        eventually(lambda: server.started)
        yield bound.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """A guarded server that needs a token."""
    with serving(guard.Guard(http.create_app(looks=False), [TOKEN, OTHER])) as port:
        yield port


def ask(port: int, path: str, method: str = "GET", body: bytes | None = None, **headers: str) -> tuple[int, dict]:
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}


@pytest.mark.parametrize(
    "authorization",
    ["", TOKEN, f"Basic {TOKEN}", "Bearer", f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN}x", "Bearer ümläut"],
)
def test_without_one_of_the_tokens_nothing_is_shown(port: int, authorization: str) -> None:
    status, headers = ask(port, "/openapi.json", Authorization=authorization.encode().decode("latin-1"))
    assert (status, headers["www-authenticate"]) == (401, "Bearer")


@pytest.mark.parametrize("token", [TOKEN, OTHER])
def test_each_token_opens_the_server(port: int, token: str) -> None:
    assert ask(port, "/openapi.json", Authorization=f"bearer {token}")[0] == 200


def test_livez_needs_no_token_and_no_neighbour_of_it_is_open(port: int) -> None:
    assert [ask(port, path)[0] for path in ("/livez", "/livez/", "//livez", "/livez/../metrics")] == [
        200,
        401,
        401,
        401,
    ]


@pytest.mark.parametrize("path", ["/livez", "/metrics"])
def test_every_answer_has_the_security_headers(port: int, path: str) -> None:
    headers = ask(port, path)[1]
    assert {name.decode(): value.decode() for name, value in guard.HEADERS}.items() <= headers.items()
    assert "server" not in headers


def test_a_large_or_endless_body_is_refused(port: int) -> None:
    large = b"x" * (guard.LARGEST_BODY + 1)
    assert ask(port, "/livez", "POST", large)[0] == 413
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("POST", "/livez", iter([b"x"]), {"Transfer-Encoding": "chunked"}, encode_chunked=True)
    assert connection.getresponse().status == 413


def test_without_tokens_the_server_asks_for_none() -> None:
    with serving(guard.Guard(FastAPI(), [])) as port:
        assert ask(port, "/openapi.json")[0] == 200


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        *[(host, True) for host in ("127.0.0.1", "127.8.0.1", "::1", "localhost")],
        *[(host, False) for host in ("0.0.0.0", "::", "192.168.1.5", "localhost.example.com")],
    ],
)
def test_only_addresses_of_this_machine_are_loopback(host: str, loopback: bool) -> None:
    assert guard.is_loopback(host) is loopback


def test_serve_refuses_an_open_address_with_the_remedy(
    database: object, tmp_path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setenv("FINANCEHUB_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert run(["serve", "--host", "0.0.0.0", "--port", "0"]) == 1
    assert "set FINANCEHUB_SERVE_TOKENS, or FINANCEHUB_BEHIND_PROXY=true" in capsys.readouterr().err


def test_up_refuses_to_show_the_webserver_to_others(tmp_path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setenv("FINANCEHUB_SERVE_TOKENS", TOKEN)  # no help: the webserver asks for no token
    monkeypatch.chdir(tmp_path)
    get_settings.cache_clear()
    assert run(["up", "--host", "0.0.0.0"]) == 2
    assert "FINANCEHUB_BEHIND_PROXY=true" in capsys.readouterr().err
    assert not (tmp_path / ".financehub").exists()
    get_settings.cache_clear()


def test_a_proxy_or_tokens_open_other_addresses() -> None:
    guard.require_guard("0.0.0.0", [TOKEN], behind_proxy=False)
    guard.require_guard("0.0.0.0", [], behind_proxy=True)
    guard.require_guard("::1", [], behind_proxy=False)
    with pytest.raises(guard.Unguarded):
        guard.require_guard("0.0.0.0", [], behind_proxy=False)


@pytest.mark.parametrize(
    ("name", "status"),
    [
        *[(name, 200) for name in ("127.0.0.1:8710", "localhost", "LOCALHOST:1", "[::1]:8710", "127.8.0.1")],
        *[(name, 421) for name in ("example.com", "localhost.example.com", "10.0.0.1:8710", "", "[")],
    ],
)
def test_a_name_that_another_site_has_pointed_here_is_refused(name: str, status: int) -> None:
    with serving(guard.Guard(FastAPI(), [], own_names=True)) as port:
        assert ask(port, "/openapi.json", Host=name)[0] == status


def test_pages_of_the_named_sites_may_read_and_no_others() -> None:
    app = http.create_app(looks=False, origins=["https://charts.example.com"])
    with serving(guard.Guard(app, [])) as port:
        allowed = [
            ask(port, "/livez", Origin=site)[1].get("access-control-allow-origin")
            for site in ("https://charts.example.com", "https://example.com")
        ]
    assert allowed == ["https://charts.example.com", None]


def test_a_page_of_a_public_site_may_read_from_loopback_with_a_token_if_it_is_named() -> None:
    app = http.create_app(looks=False, origins=["https://charts.example.com"])
    preflight = {
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "authorization",
        "Access-Control-Request-Private-Network": "true",
    }
    with serving(guard.Guard(app, [TOKEN], preflights=True)) as port:
        status, headers = ask(port, "/tables", "OPTIONS", None, Origin="https://charts.example.com", **preflight)
        assert (status, headers["access-control-allow-private-network"]) == (200, "true")
        assert ask(port, "/tables", "OPTIONS", None, Origin="https://example.com", **preflight)[0] == 400
        read = ask(port, "/livez", Origin="https://charts.example.com")[1]
    assert rows.NOTE in read["access-control-expose-headers"].lower()


@pytest.mark.parametrize("site", ["*", "https://*.example.com", "charts.example.com", "https://example.com/charts"])
def test_what_is_no_web_site_is_refused(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINANCEHUB_SERVE_ORIGINS", f"http://localhost:8000, {site}")
    get_settings.cache_clear()
    with pytest.raises(SettingsError, match="FINANCEHUB_SERVE_ORIGINS: .*is no web site"):
        get_settings()
    monkeypatch.setenv("FINANCEHUB_SERVE_ORIGINS", "http://localhost:8000, https://charts.example.com,")
    get_settings.cache_clear()
    assert get_settings().serve_origins() == ("http://localhost:8000", "https://charts.example.com")
    monkeypatch.delenv("FINANCEHUB_SERVE_ORIGINS")
    get_settings.cache_clear()


def test_an_address_of_another_machine_is_named() -> None:
    with pytest.raises(http.PortTaken, match=r"--host 203.0.113.1 is no address of this machine"):
        http.bind(0, "203.0.113.1")
    with http.bind(0, "127.0.0.1") as taken:
        taken.listen()
        with pytest.raises(http.PortTaken, match="is taken"):
            http.bind(taken.getsockname()[1])


@pytest.mark.parametrize("tokens", ["short", f"{TOKEN},short", "ümläut-of-more-than-16"])
def test_a_token_that_can_be_guessed_is_refused_without_showing_it(
    tokens: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FINANCEHUB_SERVE_TOKENS", tokens)
    get_settings.cache_clear()
    with pytest.raises(SettingsError, match="FINANCEHUB_SERVE_TOKENS: .*a token needs 16") as refused:
        get_settings()
    assert tokens not in str(refused.value)
    get_settings.cache_clear()


def test_tokens_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINANCEHUB_SERVE_TOKENS", f" {TOKEN}, {OTHER},{TOKEN},")
    get_settings.cache_clear()
    assert get_settings().serve_tokens() == (TOKEN, OTHER)
    monkeypatch.delenv("FINANCEHUB_SERVE_TOKENS")
    get_settings.cache_clear()


def test_a_head_that_never_ends_is_cut_off(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 200_000)
        answer = client.recv(4096)
    assert answer.startswith(b"HTTP/1.1 4")
