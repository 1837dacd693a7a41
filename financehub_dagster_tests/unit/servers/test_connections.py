"""No process opens more connections than docs/database.md says, whatever it is asked for at once."""

from contextlib import ExitStack
from typing import Any

import pytest
from sqlalchemy import exc, text
from sqlalchemy.engine import Engine

from financehub_dagster.storage.database import dagster_storage, engine
from financehub_dagster.storage.database.dagster_storage import FinanceHubDagsterStorage
from financehub_dagster.storage.database.engine import market_engine, transaction
from financehub_dagster.storage.database.errors import DatabaseUnreachable
from financehub_dagster.storage.database.urls import beside
from financehub_dagster_tests.fixtures.database import Database, DatabaseServer
from financehub_dagster_tests.fixtures.folder import REPOSITORY

SESSIONS = "select count(*) from pg_stat_activity where datname = :name and pid <> pg_backend_pid()"


def test_the_market_database_gets_at_most_sixteen_and_the_next_one_is_told_after_a_wait(
    database: Database, database_server: DatabaseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(market_engine().pool, "_timeout", 0.2)
    with ExitStack() as held:
        for _ in range(engine.MOST - 1):
            held.enter_context(transaction())
        with transaction() as last:
            name = market_engine().url.database
            assert last.execute(text(SESSIONS), {"name": name}).scalar() == engine.MOST - 1
            with (
                pytest.raises(DatabaseUnreachable, match="all its 16 connections to database .*: do less"),
                transaction(),
            ):
                pass


def test_dagsters_storage_gets_at_most_sixteen_and_a_webserver_eight_for_each_part(
    database: Database, database_server: DatabaseServer, dagster_template: str
) -> None:
    database_server.create(dagster_template, beside(database.engine.url).database)
    storage = FinanceHubDagsterStorage.from_config_value(None, {})
    parts: tuple[Any, ...] = (storage.run_storage, storage.event_log_storage, storage.schedule_storage)
    assert len({id(part._engine) for part in parts}) == 1, "the parts share one pool"
    assert _most(parts[0]._engine) == dagster_storage.MOST == 16
    storage.event_log_storage.dispose()
    for part in parts:
        part.optimize_for_webserver(statement_timeout=1000, pool_recycle=-1, max_overflow=20)
        assert _most(part._engine) == dagster_storage.MOST_OF_WEBSERVER == 8
        part._engine.dispose()


def _most(pooled: Engine) -> int:
    """The connections that an engine gives out before somebody has to wait."""
    pooled.pool._timeout = 0.05  # type: ignore[attr-defined]
    with ExitStack() as held:
        for count in range(100):
            try:
                held.enter_context(pooled.connect())
            except exc.TimeoutError:
                return count
    raise AssertionError("there is no ceiling")


def test_the_documentation_names_the_ceilings() -> None:
    page = (REPOSITORY / "docs/database.md").read_text()
    assert f"at most {engine.MOST} to the market database" in page
    assert f"at most {dagster_storage.MOST} to Dagster's storage" in page
    assert f"the webserver {3 * dagster_storage.MOST_OF_WEBSERVER}" in page
