"""Dagster's storage on a server of its own, for a role that may create no database on either."""

import json
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy.engine import URL

from financehub_dagster.cli.app import run
from financehub_dagster.storage.backup import contents
from financehub_dagster.storage.database import dagster_state
from financehub_dagster.storage.database.creation import autocommit
from financehub_dagster.storage.database.engine import transaction
from financehub_dagster.storage.database.urls import dagster_url, libpq_url
from financehub_dagster.storage.operations import measurements
from financehub_dagster_tests.fixtures.database import DatabaseServer, clear_caches
from financehub_dagster_tests.fixtures.other_servers import OtherServer, in_wheel, other_server, packaged
from financehub_dagster_tests.unit.storage.test_backup import reference

pytestmark = pytest.mark.timeout(600)  # servers are made

ROLE = "tenant"


@pytest.fixture(scope="module")
def other() -> Iterator[OtherServer]:
    programs = in_wheel() or next(iter(packaged()), None)
    if programs is None:
        pytest.skip("there is no second PostgreSQL on this machine (Debian: apt-get install postgresql)")
    with other_server(programs) as server:
        yield server


@pytest.fixture
def apart(
    database_server: DatabaseServer, other: OtherServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[URL, URL]]:
    """The addresses of both databases, which exist and belong to the role."""
    market = database_server.url("market_apart").set(username=ROLE)
    dagster = other.url("runs").set(username=ROLE)
    for server, url in ((database_server, market), (other, dagster)):
        server.execute(f"create role {ROLE} login nocreatedb")
        server.execute(f"create database {url.database} owner {ROLE}")
    lead_to(market, dagster, monkeypatch)
    yield market, dagster
    clear_caches()
    for server, url in ((database_server, market), (other, dagster)):
        server.drop(url)
        server.execute(f"drop role {ROLE}")


def lead_to(market: URL, dagster: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINANCEHUB_DATABASE_URL", libpq_url(market))
    monkeypatch.setenv("FINANCEHUB_DAGSTER_DATABASE_URL", libpq_url(dagster))
    clear_caches()


def test_dagsters_storage_is_where_its_own_address_leads(apart: tuple[URL, URL], capsys) -> None:
    market, dagster = apart
    assert run(["db", "upgrade"]) == 0
    with dg.DagsterInstance.from_ref(reference(libpq_url(market))) as instance:
        instance.report_runless_asset_event(dg.AssetMaterialization("stock_prices_daily", partition="2024-01-01"))
    with autocommit(market) as connection:
        assert "event_logs" not in contents.tables(connection)
    with autocommit(dagster) as connection:
        assert "event_logs" in contents.tables(connection)
        assert "instruments" not in contents.tables(connection)
    assert dagster_state.heartbeats() == {}
    with transaction() as connection:
        assert measurements.database_bytes(connection).keys() == {"market", "dagster"}
    capsys.readouterr()
    assert run(["db", "url", "--dagster"]) == 0
    assert capsys.readouterr().out.strip() == libpq_url(dagster)
    assert "/runs?" in dagster_url()


def test_a_backup_holds_both_and_goes_back_to_both(
    apart: tuple[URL, URL], other: OtherServer, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    market, dagster = apart
    assert run(["db", "upgrade"]) == 0
    with dg.DagsterInstance.from_ref(reference(libpq_url(market))) as instance:
        instance.report_runless_asset_event(dg.AssetMaterialization("stock_prices_daily", partition="2024-01-01"))
    assert run(["backup", "create", "--output", "apart.backup"]) == 0
    clear_caches()
    assert run(["backup", "restore", "apart.backup", "--replace"]) == 0, capsys.readouterr().err
    capsys.readouterr()
    assert run(["backup", "show", "apart.backup", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    with autocommit(dagster) as connection:
        assert contents.rows(connection, ["event_logs"]) == {"event_logs": rows["dagster"]["event_logs"]}
    assert rows["dagster"]["event_logs"] == 1


def test_a_dagster_database_that_is_missing_is_named_with_the_statement_for_the_administrator(
    apart: tuple[URL, URL], monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    market, dagster = apart
    lead_to(market, dagster.set(database="nowhere"), monkeypatch)
    assert run(["db", "upgrade"]) == 1
    told = capsys.readouterr().err
    assert "cannot create the database 'nowhere' on" in told
    assert 'create database "nowhere" owner "tenant"' in told
    lead_to(market, dagster.set(password="x", username="nobody_here"), monkeypatch)
    assert run(["db", "upgrade"]) == 1
    assert "correct FINANCEHUB_DAGSTER_DATABASE_URL" in capsys.readouterr().err
