"""What metrics are made of: small figures from small tables, read in one transaction.

Belongs here: the statements. Does not belong here: names and kinds of metrics (operations.metrics). Nothing here reads
a table whose size follows the history or the number of instruments, but for open rows: gaps, live dead letters.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from financehub_dagster.storage.database.creation import autocommit
from financehub_dagster.storage.database.engine import Connection
from financehub_dagster.storage.database.errors import NotMigrated
from financehub_dagster.storage.database.urls import dagster_database


@dataclass(frozen=True)
class Count:
    """A figure and what it is about."""

    about: tuple[str, ...]
    value: float


_QUERIES = {
    "vendor_calls": "select provider, outcome, sum(calls) from api_usage group by provider, outcome",
    "dead_letters": """
        select status, count(*) from task_failures where status in ('open', 'retrying', 'parked') group by status
        """,
    "deferred_work": "select provider, count(*) from deferred_work group by provider",
    "gaps": """
        select table_name, count(*) from coverage where gap <> '{}'::datemultirange group by table_name
        """,
    "open_circuits": "select provider, count(*) from breakers where open_until > clock_timestamp() group by provider",
    "cooling_keys": "select provider, count(*) from api_keys where benched_until > clock_timestamp() group by provider",
    "freshness_late": "select table_name, subject, late from table_freshness",
    "newest": "select table_name, subject, extract(epoch from newest) from table_freshness where newest is not null",
    "breaches_open": """
        select table_name, kind, count(*) from sla_breaches where ended_at is null group by table_name, kind
        """,
    "breaches": "select table_name, kind, count(*) from sla_breaches group by table_name, kind",
    "alerts_open": "select count(*) from alerts where ended_at is null",
    "alerts_undelivered": """
        select count(*) from alerts
        where next_attempt_at is not null
        """,
    "alerts": "select count(*) from alerts",
}

_ROWS = """
    select coalesce(parent.relname, s.relname), cast(sum(s.n_tup_ins) as float8), cast(sum(s.n_tup_upd) as float8),
        cast(sum(s.n_tup_del) as float8), cast(sum(s.n_live_tup) as float8)
    from pg_stat_user_tables s
    left join pg_inherits i on i.inhrelid = s.relid left join pg_class parent on parent.oid = i.inhparent
    where s.schemaname = any(current_schemas(false)) group by 1
    """
_BYTES = "select pg_database_size(current_database())"


@dataclass(frozen=True)
class TableRows:
    """Rows written to a table since its statistics began (a crash of PostgreSQL resets them), and rows it has."""

    table: str
    inserted: float
    updated: float
    deleted: float
    rows: float


def counts(connection: Connection) -> dict[str, list[Count]]:
    """Every figure by the name of its query."""
    return {
        name: [_count(tuple(row)) for row in connection.execute(sa.text(query))] for name, query in _QUERIES.items()
    }


def _count(row: tuple[Any, ...]) -> Count:
    return Count(tuple(str(each) for each in row[:-1]), float(row[-1]))


def table_rows(connection: Connection, tables: Sequence[str]) -> list[TableRows]:
    """What PostgreSQL counts of these tables; a partitioned one is the sum of its partitions."""
    rows = connection.execute(sa.text(_ROWS))
    return [TableRows(row[0], row[1], row[2], row[3], row[4]) for row in rows if row[0] in tables]


def database_bytes(connection: Connection) -> dict[str, int]:
    """The size on disk of the market's database and of Dagster's."""
    found = {"market": int(connection.execute(sa.text(_BYTES)).scalar_one())}
    with suppress(NotMigrated), autocommit(dagster_database()) as other:
        found["dagster"] = int(other.execute(sa.text(_BYTES)).scalar_one())
    return found
