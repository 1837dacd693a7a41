"""One view per table of daily bars: its rows with their repairs, `stock_prices_daily_repaired`.

Belongs here: which tables have such a view, its text, creating and listing them. Does not belong here: what a repair is
(market.quality.repairs), and keeping repaired bars (storage.repaired_bars).

Every upgrade of the database creates the views that are missing, so that a new table needs no migration of its own. No
upgrade drops one, since other people's views may be made of it: a migration that changes a column of these tables does.
"""

import sqlalchemy as sa

from financehub_dagster.market.bar_arrays import DAILY_VALUES
from financehub_dagster.storage.database.sql_text import quoted

_VIEW = """
    CREATE VIEW {view} AS SELECT {columns}, r.symbol IS NOT NULL AND ({kept}) IS DISTINCT FROM ({stored}) AS repaired
    FROM {table} AS t
    LEFT JOIN repaired_bars AS r ON r.table_name = '{name}' AND r.symbol = t.symbol AND r.date = t.date
"""
_THERE = sa.text("""
    SELECT relname FROM pg_class WHERE relkind = 'v' AND relname = any(:names)
    AND relnamespace = to_regnamespace(current_schema())::oid
""")


def view_name(table: sa.Table) -> str:
    """The name of a table's view."""
    return f"{table.name}_repaired"


def create(connection: sa.Connection, metadata: sa.MetaData) -> None:
    """Create the missing views of the tables of `metadata` whose rows have flags."""
    existing = there(connection, metadata)
    for table in tables(metadata):
        if view_name(table) not in existing:
            connection.exec_driver_sql(_text(table))
            comment = f"{table.comment} With the repairs that have one right answer; `repaired` says of which rows."
            text = comment.replace("'", "''")
            connection.exec_driver_sql(f"COMMENT ON VIEW {quoted(view_name(table))} IS '{text}'")


def there(connection: sa.Connection, metadata: sa.MetaData) -> list[str]:
    """The names of the views that the database has."""
    names = [view_name(table) for table in tables(metadata)]
    return list(connection.execute(_THERE, {"names": names}).scalars())


def tables(metadata: sa.MetaData) -> list[sa.Table]:
    """The tables whose rows have flags and what repairs change."""
    return [
        table for table in metadata.sorted_tables if {"flags", *DAILY_VALUES} <= {column.name for column in table.c}
    ]


def _text(table: sa.Table) -> str:
    own = {column.name: f"t.{quoted(column.name)}" for column in table.c}
    repaired = {name: f"CASE WHEN r.symbol IS NULL THEN t.{name} ELSE r.{name} END AS {name}" for name in DAILY_VALUES}
    return _VIEW.format(
        view=quoted(view_name(table)),
        columns=", ".join((own | repaired).values()),
        kept=", ".join(f"r.{name}" for name in DAILY_VALUES),
        stored=", ".join(f"t.{name}" for name in DAILY_VALUES),
        table=quoted(table.name),
        name=table.name,
    )
