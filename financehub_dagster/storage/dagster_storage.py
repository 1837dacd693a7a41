"""Dagster's own storage: PostgreSQL, in a database of its own beside the market data.

Belongs here: the class that dagster.yaml names. Does not belong here: anything of market data. Everything that loads
the instance (webserver, daemon, run workers, `dagster asset materialize`) comes through here, so that each of them
finds the embedded server running and holds it until it ends.
"""

from typing import Any, Self

import dagster as dg
import sqlalchemy as sa
from dagster._config.config_schema import UserConfigSchema
from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage

from financehub_dagster.storage.databases import autocommit, ensure_database
from financehub_dagster.storage.urls import DAGSTER_DRIVER, dagster_url, parse_url

_TABLES_LOCK = 7_236_400_003
"""Advisory lock under which Dagster's tables are created: any number that nobody else uses."""


class FinanceHubDagsterStorage(DagsterPostgresStorage):
    """`storage.custom` of dagster.yaml; needs no config.

    The address comes from FINANCEHUB_DATABASE_URL, or the embedded server is started; `postgres_url` overrides both.
    The database is created if missing. Raises DatabaseError with a remedy in one line.
    """

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
        with autocommit(url) as connection:
            connection.execute(sa.select(sa.func.pg_advisory_lock(_TABLES_LOCK)))
            return cls(
                inst_data=inst_data,
                postgres_url=url.render_as_string(hide_password=False),
                should_autocreate_tables=config_value.get("should_autocreate_tables", True),
            )
