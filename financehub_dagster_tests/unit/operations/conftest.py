"""A market database with Dagster's own beside it, without an instance: its tables are written to as Dagster does."""

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import URL

from financehub_dagster.storage.database.creation import autocommit
from financehub_dagster.storage.database.urls import MARKET_DRIVER, beside
from financehub_dagster_tests.fixtures.database import Database, DatabaseServer


class DagsterTables:
    """Statements in Dagster's database."""

    def __init__(self, url: URL) -> None:
        self.url = url

    def execute(self, statement: str, **values: object) -> None:
        """Run one statement."""
        with autocommit(self.url) as connection:
            connection.execute(sa.text(statement), values)

    def rows(self, query: str) -> list[tuple]:
        """What a query finds."""
        with autocommit(self.url) as connection:
            return [tuple(row) for row in connection.execute(sa.text(query))]

    def beat(self, daemon: str = "SENSOR", seconds_ago: float = 0.0) -> None:
        """A daemon wrote a heartbeat then."""
        self.execute(
            "insert into daemon_heartbeats (daemon_type, daemon_id, timestamp) values (:daemon, 'test',"
            " clock_timestamp() at time zone 'UTC' - make_interval(secs => :ago))"
            " on conflict (daemon_type) do update set timestamp = excluded.timestamp",
            daemon=daemon,
            ago=seconds_ago,
        )

    def tick(self, seconds_ago: float = 0.0) -> None:
        """A sensor ticked then."""
        self.execute(
            "insert into job_ticks (job_origin_id, selector_id, status, type, timestamp, tick_body) values ('test',"
            " 'test', 'SKIPPED', 'SENSOR', clock_timestamp() at time zone 'UTC' - make_interval(secs => :ago), '{}')",
            ago=seconds_ago,
        )

    def run(self, run_id: str, status: str, job: str = "fetch_news", seconds: float = 2.0, ago: float = 0.0) -> None:
        """A run is in this status since `ago` seconds; a finished one took `seconds`."""
        ended = status in ("SUCCESS", "FAILURE", "CANCELED")
        self.execute(
            "insert into runs (run_id, pipeline_name, mode, status, run_body, create_timestamp, update_timestamp,"
            " start_time, end_time) values (:run_id, :job, 'default', :status, '{}',"
            " clock_timestamp() at time zone 'UTC' - make_interval(secs => :ago),"
            " clock_timestamp() at time zone 'UTC' - make_interval(secs => :ago),"
            " extract(epoch from clock_timestamp()) - :ago - :seconds,"
            " case when :ended then extract(epoch from clock_timestamp()) - :ago end)",
            run_id=run_id,
            job=job,
            status=status,
            seconds=seconds,
            ago=ago,
            ended=ended,
        )


@pytest.fixture
def dagster_tables(database: Database, database_server: DatabaseServer, dagster_template: str) -> DagsterTables:
    """Dagster's tables beside the test's market database, without rows."""
    url = beside(sa.make_url(database.url).set(drivername=MARKET_DRIVER))
    return DagsterTables(database_server.create(dagster_template, name=str(url.database)))
