"""A real standby by streaming replication: reports read it, everything else asks the primary, and its lag shows."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pyarrow import csv
from sqlalchemy import text

from financehub_dagster import read
from financehub_dagster.cli.app import run
from financehub_dagster.operations import health
from financehub_dagster.storage.database.creation import autocommit
from financehub_dagster.storage.database.engine import transaction
from financehub_dagster.storage.database.errors import DatabaseError
from financehub_dagster.storage.database.replication import lag
from financehub_dagster.storage.database.urls import libpq_url
from financehub_dagster.storage.queries import arrow
from financehub_dagster_tests.fixtures.database import clear_caches
from financehub_dagster_tests.fixtures.eventually import eventually
from financehub_dagster_tests.fixtures.other_servers import OtherServer, in_wheel, other_server, packaged, stop
from financehub_dagster_tests.unit.serving import stored

pytestmark = pytest.mark.timeout(600)  # servers are made

BARS = "stock_prices_daily"
CLOSE = "select close from stock_prices_daily where symbol = 'AAPL' order by date desc limit 1"


@dataclass(frozen=True)
class Pair:
    """A primary and the standby that follows it."""

    primary: OtherServer
    standby: OtherServer

    def on_standby(self, statement: str) -> None:
        with autocommit(self.standby.url("market")) as connection:
            connection.execute(text(statement))

    def catch_up(self) -> None:
        eventually(lambda: lag().bytes == 0)


@pytest.fixture
def pair(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    """Both servers, with a filled market; the environment leads to them."""
    programs = in_wheel() or next(iter(packaged()), None)
    if programs is None:
        pytest.skip(
            "there are no programs that can make a standby on this machine (Debian: apt-get install postgresql)"
        )
    with other_server(programs) as primary, other_server(programs, standby_of=primary) as standby:
        for name, server in (("FINANCEHUB_DATABASE_URL", primary), ("FINANCEHUB_READ_DATABASE_URL", standby)):
            monkeypatch.setenv(name, libpq_url(server.url("market")))
        clear_caches()
        assert run(["db", "upgrade"]) == 0
        stored.fill()
        found = Pair(primary, standby)
        found.catch_up()
        yield found
        clear_caches()


def newest_read() -> float:
    return float(read(BARS, symbols="AAPL", to="arrow")["close"][-1].as_py())


def newest_stored() -> float:
    with transaction() as connection:
        return float(connection.execute(text(CLOSE)).scalar_one())


def component() -> tuple[str, str]:
    [found] = [each for each in health.check().components if each.component == "replica"]
    return found.status, found.detail


def test_reports_read_the_replica_and_everything_else_the_primary(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    before = newest_stored()
    assert newest_read() == before
    assert component()[0] == "ok"
    monkeypatch.setattr(arrow, "MANY", 1)
    assert len(read(BARS, to="arrow")) == 120, "two connections share a snapshot of the standby"
    pair.on_standby("select pg_wal_replay_pause()")
    with transaction() as connection:
        connection.execute(text("update stock_prices_daily set close = close * 16 where symbol = 'AAPL'"))
        day = connection.execute(text("select max(date)::text from stock_prices_daily")).scalar_one()
    eventually(lambda: (lag().bytes or 0) > 0)
    assert (newest_read(), newest_stored()) == (before, before * 16)
    capsys.readouterr()
    assert run(["export", BARS, "--symbols", "AAPL", "--output", "old.csv"]) == 0
    assert csv.read_csv("old.csv")["close"][-1].as_py() == before
    assert run(["explain", "AAPL", str(day), "--json"]) == 0
    assert f'"close": {before * 16}' in capsys.readouterr().out
    monkeypatch.setattr(health, "LAGGING", 0.0)
    status, detail = component()
    assert status == "degraded"
    assert "s behind the primary (" in detail
    pair.on_standby("select pg_wal_replay_resume()")
    pair.catch_up()
    assert newest_read() == before * 16
    assert component()[0] == "ok"


def test_a_replica_that_is_gone_or_follows_nobody_is_named_and_the_primary_goes_on(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop(pair.standby)
    with pytest.raises(DatabaseError, match="correct FINANCEHUB_READ_DATABASE_URL"):
        read(BARS)
    assert newest_stored() > 0
    status, detail = component()
    assert status == "failed"
    assert "FINANCEHUB_READ_DATABASE_URL" in detail
    monkeypatch.setenv("FINANCEHUB_READ_DATABASE_URL", libpq_url(pair.primary.url("market")))
    clear_caches()
    assert component() == ("degraded", "it follows no primary: what it shows may be of any age")
