"""A connection that the pool kept is replaced if its server ended it, and is not asked before each use."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.engine.interfaces import DBAPIConnection

from financehub_dagster.storage.database import session_settings
from financehub_dagster.storage.database.creation import autocommit
from financehub_dagster_tests.fixtures.database import Database

PID = sa.text("select pg_backend_pid()")


@pytest.fixture(params=["postgresql+psycopg", "postgresql+psycopg2"])
def engine(request: pytest.FixtureRequest, database: Database) -> Iterator[Engine]:
    engine = sa.create_engine(database.engine.url.set(drivername=request.param), pool_size=2)
    session_settings.prepare_all(engine)
    session_settings.ask_after_rest(engine)
    yield engine
    engine.dispose()


def used(engine: Engine) -> int:
    with engine.begin() as connection:
        pid: int = connection.execute(PID).scalar_one()
    return pid


@pytest.mark.parametrize("rested_seconds", [0.0, 1000.0], ids=["asked", "seen without asking"])
def test_a_connection_whose_server_ended_is_replaced(
    engine: Engine, database: Database, monkeypatch: pytest.MonkeyPatch, rested_seconds: float
) -> None:
    monkeypatch.setattr(session_settings, "RESTED_SECONDS", rested_seconds)
    first = used(engine)
    assert used(engine) == first
    with autocommit(database.engine.url) as connection:
        ended = sa.text("select pg_terminate_backend(:pid, 5000)")
        assert connection.execute(ended, {"pid": first}).scalar_one()
    assert used(engine) != first
    assert used(engine) != first


def test_no_statement_but_ours_is_sent_by_who_uses_a_connection_again_at_once(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    pings: list[object] = []
    ping = engine.dialect.do_ping

    def counted(connection: DBAPIConnection) -> bool:
        pings.append(connection)
        return ping(connection)

    monkeypatch.setattr(engine.dialect, "do_ping", counted)
    monkeypatch.setattr(session_settings, "RESTED_SECONDS", 1000.0)
    for _ in range(20):
        used(engine)
    assert pings == []
    monkeypatch.setattr(session_settings, "RESTED_SECONDS", 0.0)
    used(engine)
    assert len(pings) == 1


def test_what_the_server_says_between_uses_does_no_harm(engine: Engine, database: Database) -> None:
    @event.listens_for(engine, "connect")
    def listen(connection, _record) -> None:
        cursor = connection.cursor()
        cursor.execute("listen news")
        connection.commit()

    first = used(engine)
    with autocommit(database.engine.url) as connection:
        connection.exec_driver_sql("notify news, 'a notice'")
    assert [used(engine), used(engine)] == [first, first]
