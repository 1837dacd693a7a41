"""A server that only speaks TLS, with a certificate made here: whatever connects verifies it, or says why not."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from financehub_dagster import read
from financehub_dagster.cli.app import run
from financehub_dagster.storage.database.creation import autocommit
from financehub_dagster.storage.database.dagster_storage import FinanceHubDagsterStorage
from financehub_dagster.storage.database.engine import transaction
from financehub_dagster.storage.database.errors import DatabaseError
from financehub_dagster.storage.database.urls import libpq_url
from financehub_dagster_tests.fixtures.database import clear_caches
from financehub_dagster_tests.fixtures.other_servers import OtherServer, other_server, with_tls
from financehub_dagster_tests.unit.deploy.test_proxies import certificate
from financehub_dagster_tests.unit.serving import stored

pytestmark = pytest.mark.timeout(600)  # servers are made

ONLY_TLS = "local all all trust\nhostssl all all 127.0.0.1/32 trust\n"
ENCRYPTED = "select ssl from pg_stat_ssl where pid = pg_backend_pid()"


@dataclass(frozen=True)
class Encrypted:
    """The server, the file of its authority, and that of another one."""

    server: OtherServer
    authority: Path
    other: Path

    def address(self, name: str, authority: Path | str, host: str = "localhost") -> str:
        query = {"sslmode": "verify-full", "sslrootcert": str(authority)}
        return libpq_url(self.server.over_tcp(name, **query).set(host=host))


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Encrypted]:
    ours, others = tmp_path_factory.mktemp("ours"), tmp_path_factory.mktemp("others")
    certificate(ours)
    certificate(others)
    files = {name: (ours / name).read_bytes() for name in ("tls.crt", "tls.key")}
    settings = {"ssl": "on", "ssl_cert_file": "tls.crt", "ssl_key_file": "tls.key"}
    with other_server(with_tls(), settings, files=files, access=ONLY_TLS) as server:
        yield Encrypted(server, ours / "tls.crt", others / "tls.crt")


def lead_to(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINANCEHUB_DATABASE_URL", address)
    clear_caches()


def test_a_verified_server_serves_the_engine_dagster_reads_psql_and_backups(
    encrypted: Encrypted, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd
) -> None:
    lead_to(encrypted.address("market", encrypted.authority), monkeypatch)
    assert run(["db", "upgrade"]) == 0
    stored.fill()
    with transaction() as connection:
        assert connection.execute(text(ENCRYPTED)).scalar() is True
    storage = FinanceHubDagsterStorage.from_config_value(None, {})
    runs: Any = storage.run_storage
    with runs.connect() as connection:
        assert connection.execute(text(ENCRYPTED)).scalar() is True
    storage.event_log_storage.dispose()
    assert len(read("stock_prices_daily", symbols="AAPL", to="arrow")) > 0
    capfd.readouterr()
    assert run(["db", "shell", "--", "-Atc", ENCRYPTED]) == 0
    assert capfd.readouterr().out == "t\n"
    assert run(["backup", "create", "--output", "one.backup"]) == 0
    lead_to(encrypted.address("restored", encrypted.authority), monkeypatch)
    assert run(["backup", "restore", "one.backup"]) == 0
    with autocommit(encrypted.server.url("restored")) as connection:
        assert connection.execute(text("select count(*) from stock_prices_daily")).scalar() == 120


REFUSED = {
    "another authority": ("other", "localhost", "shows a certificate of another authority", "name the right file"),
    "no such file": ("/nowhere/ca.crt", "localhost", 'root certificate file "/nowhere/ca.crt"', "name the file"),
    "another host": ("ours", "127.0.0.1", "shows a certificate of another host", "write the name in the certificate"),
}


@pytest.mark.parametrize(("whose", "host", "problem", "remedy"), REFUSED.values(), ids=REFUSED.keys())
def test_a_server_that_cannot_be_verified_is_refused_in_one_line_with_the_remedy(
    whose: str,
    host: str,
    problem: str,
    remedy: str,
    encrypted: Encrypted,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys,
) -> None:
    authority = {"other": encrypted.other, "ours": encrypted.authority}.get(whose, Path(whose))
    lead_to(encrypted.address("market", authority, host), monkeypatch)
    for command in (["db", "upgrade"], ["db", "shell"], ["backup", "create", "--output", "never.backup"]):
        assert run(command) == 1
        [line] = capsys.readouterr().err.splitlines()
        assert problem in line, command
        assert remedy in line, command
        assert "FINANCEHUB_DATABASE_URL" in line
    for connect in (lambda: read("instruments"), lambda: FinanceHubDagsterStorage.from_config_value(None, {})):
        with pytest.raises(DatabaseError) as caught:
            connect()
        assert problem in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_server_that_only_speaks_tls_says_so_to_who_does_not(
    encrypted: Encrypted, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    plain = encrypted.server.over_tcp("market", sslmode="disable")
    lead_to(libpq_url(plain), monkeypatch)
    assert run(["db", "upgrade"]) == 1
    assert "without TLS: add ?sslmode=require to FINANCEHUB_DATABASE_URL" in capsys.readouterr().err
