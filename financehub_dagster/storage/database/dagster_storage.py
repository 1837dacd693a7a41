"""Dagster's own storage: PostgreSQL, in a database of its own beside the market data.

Belongs here: the class that dagster.yaml names. Does not belong here: anything of market data. Everything that loads
the instance (webserver, daemon, run workers, `dagster asset materialize`) comes through here, so that each of them
finds the embedded server running and holds it until it ends.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Self

import dagster as dg
import sqlalchemy as sa
from dagster._config.config_schema import UserConfigSchema
from dagster._core.events import ASSET_CHECK_EVENTS, ASSET_EVENTS
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from dagster._daemon.types import DaemonHeartbeat
from dagster._record import copy
from dagster._serdes import ConfigurableClassData
from dagster_postgres import (
    DagsterPostgresStorage,
    PostgresEventLogStorage,
    PostgresRunStorage,
    PostgresScheduleStorage,
)

from financehub_dagster.settings import get_settings
from financehub_dagster.storage.database.creation import autocommit, ensure_database, locked
from financehub_dagster.storage.database.session_settings import ENCODING, NETWORK, ask_after_rest, prepare_all
from financehub_dagster.storage.database.transactions import in_transaction
from financehub_dagster.storage.database.upgrade.requirements import check
from financehub_dagster.storage.database.urls import DAGSTER_DRIVER, dagster_url, parse_url, written
from financehub_dagster.storage.operations import daemons

MOST = 16
"""Connections of a process to Dagster's storage; who needs another one waits for up to 30 s."""
MOST_OF_WEBSERVER = 8
"""Those of the webserver for each of the three parts: runs, events, schedules."""
_DRIVES = "SCHEDULER"
"""One of a daemon's threads, whose heartbeats stand for all of them."""
_PLANNED = dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
_TABLES_LOCK = 7_236_400_003
"""Advisory lock under which Dagster's tables are created: any number that nobody else uses."""
_TABLES_MISSING = sa.text("""
    select count(*) < 4 from pg_tables
    where schemaname = current_schema() and tablename in ('runs', 'instance_info', 'event_logs', 'jobs')
""")
"""By these dagster-postgres tells whether its tables are there."""


def _until_yes(question: Callable[..., bool]) -> Callable[..., bool]:
    """A question of Dagster's about the shape of its own tables, put to the server until the answer is yes.

    Dagster looks into the server's catalog with each check, asset, run and tick: two statements of a run's thirteen.
    """

    def answer(self: "_OurSessions", *subjects: Any) -> bool:
        asked = (question.__name__, *(each for each in subjects if isinstance(each, str)))
        if asked not in self._known and question(self, *subjects):
            self._known.add(asked)
        return asked in self._known

    return answer


class _OurSessions:
    """A part of Dagster's storage whose connections start as ours do, those of the webserver too."""

    _engine: sa.Engine
    postgres_url: str

    @cached_property
    def _known(self) -> set[tuple[str, ...]]:
        """The questions that were answered with yes."""
        return set()

    def optimize_for_webserver(self, statement_timeout: int, pool_recycle: int, max_overflow: int) -> None:
        """What Dagster does: another engine for each part, with a time limit for statements (milliseconds)."""
        self._engine = sa.create_engine(
            self.postgres_url,
            isolation_level="AUTOCOMMIT",
            pool_size=1,
            pool_recycle=pool_recycle,
            max_overflow=min(max_overflow, MOST_OF_WEBSERVER - 1),
        )
        prepare_all(self._engine, {"statement_timeout": str(statement_timeout)})
        ask_after_rest(self._engine)


class FinanceHubRuns(_OurSessions, PostgresRunStorage):
    """Dagster's runs, and the heartbeats of its daemons."""

    def add_daemon_heartbeat(self, daemon_heartbeat: DaemonHeartbeat) -> None:
        """What Dagster does; and that a daemon drives here, whatever started it, is noted beside the market data."""
        super().add_daemon_heartbeat(daemon_heartbeat)
        if daemon_heartbeat.daemon_type == _DRIVES:
            home = str(get_settings().home)
            in_transaction(lambda connection: daemons.beat(connection, daemons.own_token(), home))

    has_built_index = _until_yes(PostgresRunStorage.has_built_index)
    has_run_stats_index_cols = _until_yes(PostgresRunStorage.has_run_stats_index_cols)
    has_backfill_id_column = _until_yes(PostgresRunStorage.has_backfill_id_column)
    has_bulk_actions_selector_cols = _until_yes(PostgresRunStorage.has_bulk_actions_selector_cols)
    has_backfill_tags_table = _until_yes(PostgresRunStorage.has_backfill_tags_table)


class FinanceHubSchedules(_OurSessions, PostgresScheduleStorage):
    """Dagster's schedules and sensors."""

    has_built_index = _until_yes(PostgresScheduleStorage.has_built_index)
    _has_instigators_table = _until_yes(PostgresScheduleStorage._has_instigators_table)
    _has_asset_daemon_asset_evaluations_table = _until_yes(
        PostgresScheduleStorage._has_asset_daemon_asset_evaluations_table
    )


class FinanceHubEventLog(_OurSessions, PostgresEventLogStorage):
    """Dagster's event log, which writes down what a run plans as it does what a run has made: many at once.

    And no more often than needed: a check is planned once.
    """

    has_table = _until_yes(PostgresEventLogStorage.has_table)
    _has_asset_key_col_on_connection = _until_yes(PostgresEventLogStorage._has_asset_key_col_on_connection)

    def store_event(self, event: EventLogEntry) -> None:
        """What Dagster does, but for a notice on a channel to which nothing listens any more."""
        with self._connect() as connection:
            statement = self.prepare_insert_event(event).returning(SqlEventLogStorageTable.c.id)
            event_id: int = connection.execute(statement).scalar_one()
        of_dagster = event.dagster_event
        if of_dagster is None:
            return
        if of_dagster.event_type in ASSET_EVENTS and of_dagster.asset_key:
            with self.index_transaction() as connection:
                self._store_asset_event_tags(connection, [event], [event_id])
                self._store_asset_event(connection, event, event_id)
        if of_dagster.event_type in ASSET_CHECK_EVENTS:
            self.store_asset_check_event(event, event_id)

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store events of the kinds that come in batches, partitions that a run will fill before all others."""
        planned = [each for each in events if each.dagster_event_type == _PLANNED]
        if planned:
            statement = self.prepare_insert_event_batch(planned).returning(SqlEventLogStorageTable.c.id)
            with self._connect() as connection:
                numbers = [number for (number,) in connection.execute(statement)]
            last = {each.get_dagster_event().asset_key: at for at, each in enumerate(planned)}
            with self.index_transaction() as connection:
                for at in last.values():
                    self._store_asset_event(connection, planned[at], numbers[at])
        others = [each for each in events if each.dagster_event_type != _PLANNED]
        if others:
            super().store_event_batch(others)

    def store_asset_check_event(self, event: EventLogEntry, event_id: int | None) -> None:
        """Store what a run plans or found of a check; a check is planned once, over however many partitions.

        None of our checks has partitions. Dagster plans one for each partition of the run all the same where the run
        itself knows its partitions, each as a row with the whole event, and the result updates none of them.
        """
        planned = event.get_dagster_event()
        if planned.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED:
            check = copy(planned.asset_check_planned_data, partitions_subset=None)
            event = event._replace(dagster_event=planned._replace(event_specific_data=check))
        super().store_asset_check_event(event, event_id)

    def dispose(self) -> None:
        """Close the connection that is kept."""
        super().dispose()
        self._engine.dispose()


class FinanceHubDagsterStorage(DagsterPostgresStorage):
    """`storage.custom` of dagster.yaml; needs no config.

    The address comes from FINANCEHUB_DATABASE_URL, or the embedded server is started; `postgres_url` overrides both.
    The database is created if missing. Raises DatabaseError with a remedy in one line.
    """

    def __init__(self, postgres_url: str, should_autocreate_tables: bool = True, **others: Any) -> None:
        super().__init__(postgres_url, should_autocreate_tables, **others)
        # Whatever tables were missing are there by now.
        self._run_storage = FinanceHubRuns(postgres_url, should_autocreate_tables=False)
        self._event_log_storage = FinanceHubEventLog(postgres_url, should_autocreate_tables=False)
        self._schedule_storage = FinanceHubSchedules(postgres_url, should_autocreate_tables=False)
        # A run stores some hundred events. Dagster opens a connection for each of three statements an event takes, for
        # which the server starts a process each time: that takes longer than all statements.
        kept = sa.create_engine(postgres_url, isolation_level="AUTOCOMMIT", pool_size=1, max_overflow=MOST - 1)
        prepare_all(kept)
        ask_after_rest(kept)
        for part in (self._run_storage, self._event_log_storage, self._schedule_storage):
            part._engine = kept

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """The configuration dagster.yaml may give."""
        return {
            "postgres_url": dg.Field(dg.StringSource, is_required=False),
            "should_autocreate_tables": dg.Field(bool, is_required=False, default_value=True),
        }

    @classmethod
    def from_config_value(  # type: ignore[override]
        cls, inst_data: ConfigurableClassData | None, config_value: dict[str, Any]
    ) -> Self:
        """Called by Dagster in every process that loads the instance."""
        override = config_value.get("postgres_url")
        url = parse_url(dagster_url() if override is None else override).set(drivername=DAGSTER_DRIVER)
        ensure_database(url)
        with locked(url, _TABLES_LOCK), autocommit(url) as connection:
            check(connection, url)
            # Dagster would look for each table over a connection of its own, in every process.
            missing = connection.execute(_TABLES_MISSING).scalar_one()
            given = {name: str(value) for name, value in NETWORK.items() if name not in url.query}
            encoded = url.update_query_dict({"client_encoding": ENCODING, **given})
            return cls(
                inst_data=inst_data,
                postgres_url=written(encoded),
                should_autocreate_tables=missing and config_value.get("should_autocreate_tables", True),
            )
