"""SQL functions of what was so at a time: `stock_prices_daily_as_of(at)` and its like, and `symbol_history()`.

Belongs here: which tables have such a function, its text, creating and dropping all of them. Does not belong here:
keeping revisions (`storage.upsert`). Every upgrade of the database creates the functions anew from the declared tables,
so that a new table or column needs no migration of its own.

A row was there at a time if its stamp (`fetched_at`, `computed_at`) is not later. If the row was replaced or withdrawn
afterwards, its values come from the first of its revisions after that time. The functions are plain SQL that PostgreSQL
merges into the query around them: conditions on symbol and date reach the keys of both tables.
"""

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from financehub_dagster.storage.database.sql_text import DIALECT, quoted

_BODY = """
    (SELECT {own} FROM {table} AS t
    WHERE t.{stamp} <= $1 AND as_of_is_known({name}, $1) AND NOT EXISTS (
        SELECT FROM price_revisions AS r
        WHERE r.table_name = {name} AND r.symbol = t.symbol AND r.date = {day}{same_rest} AND r.replaced_at > $1
    ) ORDER BY {own_key})
    UNION ALL
    (SELECT {kept} FROM ({first}) AS f{base}
    CROSS JOIN LATERAL jsonb_populate_record({record}, f.old) AS v
    WHERE v.{stamp} <= $1 ORDER BY {kept_key})
"""
"""The text of a function. Both parts are in the order of the key: a query in that order merges them."""

KNOWN = "as_of_is_known"

_WHOLE = """
        SELECT DISTINCT ON (r.symbol, r.date{rest}) r.symbol, r.date, r.old FROM price_revisions AS r
        WHERE r.table_name = {name} AND r.replaced_at > $1 ORDER BY r.symbol, r.date{rest}, r.id
    """
"""The first revision after a time of each row, for tables whose revisions hold whole rows."""

_CHANGES = """
        SELECT r.symbol, r.date, jsonb_object_agg(c.key, c.value ORDER BY r.id DESC) AS old
        FROM price_revisions AS r CROSS JOIN LATERAL jsonb_each(r.old) AS c
        WHERE r.table_name = {name} AND r.replaced_at > $1 GROUP BY r.symbol, r.date{rest}
    """
"""All that was replaced after a time of each row, the earliest value last: it is the one that counts."""


def tables(metadata: sa.MetaData) -> list[sa.Table]:
    """The tables whose rows are known to have been there at a time: one row per symbol and day or instant, stamped."""
    return [table for table in metadata.sorted_tables if _stamp(table) is not None and _time(table) is not None]


def function_name(table: sa.Table) -> str:
    """The name of a table's function."""
    return f"{table.name}_as_of"


_KNOWN = """
DECLARE kept timestamptz := (SELECT since FROM revisions_kept WHERE table_name = $1);
BEGIN
    IF $2 < kept THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE =
            $1 || ' is known as of ' || kept || ' and later, not as of ' || $2 || ': older revisions are deleted';
    END IF;
    RETURN true;
END
"""
"""The text of as_of_is_known(table, time): true, or an error where revisions since that time were deleted. PostgreSQL
evaluates it once in a query, since it depends on no row."""


VINTAGE = "vintage"
_VINTAGE = """
DECLARE found timestamptz := (SELECT as_of FROM vintages WHERE name = $1);
BEGIN
    IF found IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = concat('there is no vintage ', $1);
    END IF;
    RETURN found;
END
"""
"""The text of vintage(name): the time that has this name (`storage.vintages`), or an error."""
SYMBOLS = "symbol_history"
_SYMBOLS = """
BEGIN
    RETURN QUERY
    WITH names AS (
        SELECT i.permanent_id AS id, each ->> 'symbol' AS name, (each ->> 'from')::date AS since,
            (each ->> 'until')::date AS until
        FROM instruments AS i CROSS JOIN LATERAL jsonb_array_elements(i.former_aliases -> 'financehub') AS each
        UNION ALL
        SELECT i.permanent_id, i.symbol, (
            SELECT max((each ->> 'until')::date) + 1
            FROM jsonb_array_elements(i.former_aliases -> 'financehub') AS each
        ), i.delisted_on FROM instruments AS i
    )
    SELECT id, name, greatest(since, lag(until) OVER (PARTITION BY name ORDER BY until) + 1), until
    FROM names ORDER BY name, until;
END
"""
"""The text of symbol_history(): which instrument had which symbol from when until when, both included; NULL: always, or
still. A symbol that another instrument had before begins when that one gave it up."""
_HELPERS = {
    KNOWN: (f"{KNOWN}(text, timestamp with time zone) RETURNS boolean", _KNOWN),
    VINTAGE: (f"{VINTAGE}(text) RETURNS timestamp with time zone", _VINTAGE),
    SYMBOLS: (f"{SYMBOLS}() RETURNS TABLE (permanent_id text, symbol text, first_day date, last_day date)", _SYMBOLS),
}
"""The functions that belong to no table, by name: their signatures and texts."""
_NAMES = ", ".join(f"'{name}'" for name in _HELPERS)


def create(connection: sa.Connection, metadata: sa.MetaData) -> None:
    """Create the functions of all tables of `metadata`, or bring those that differ to the declared columns."""
    bodies = {row.proname: row.prosrc for row in connection.execute(_BODIES)}
    for name, (arguments, body) in _HELPERS.items():
        if bodies.get(name) != body:
            connection.exec_driver_sql(
                f"CREATE OR REPLACE FUNCTION {arguments} LANGUAGE plpgsql STABLE AS $body${body}$body$"
            )
    for table in tables(metadata):
        name, body = function_name(table), _body(table)
        if bodies.get(name) != body:
            arguments = f"{quoted(name)}(at timestamp with time zone) RETURNS SETOF {quoted(table.name)}"
            connection.exec_driver_sql(
                f"CREATE OR REPLACE FUNCTION {arguments} LANGUAGE sql STABLE AS $body${body}$body$"
            )


def there(connection: sa.Connection) -> list[str]:
    """The functions that the database has, quoted and with their arguments."""
    return list(connection.execute(_THERE).scalars())


def drop(connection: sa.Connection) -> None:
    """Drop every such function there is: a table cannot be dropped or changed while its function is there."""
    for name in there(connection):
        connection.exec_driver_sql(f"DROP FUNCTION {name}")


_BODIES = sa.text(
    "SELECT proname, prosrc FROM pg_proc WHERE pronamespace = to_regnamespace(current_schema())::oid"
    f" AND (proname LIKE '%\\_as\\_of' OR proname IN ({_NAMES}))"
)
_THERE = sa.text(f"""
    SELECT p.oid::regprocedure::text FROM pg_proc AS p JOIN pg_type AS t ON t.oid = p.prorettype
    JOIN pg_class AS c ON c.oid = t.typrelid
    WHERE p.pronamespace = to_regnamespace(current_schema())::oid AND p.proname = c.relname || '_as_of'
    UNION ALL
    SELECT p.oid::regprocedure::text FROM pg_proc AS p
    WHERE p.pronamespace = to_regnamespace(current_schema())::oid AND p.proname IN ({_NAMES})
""")


def _body(table: sa.Table) -> str:
    own = {column.name: f"t.{quoted(column.name)}" for column in table.columns}
    kept = {name: f"{'f' if name in ('symbol', 'date') else 'v'}.{quoted(name)}" for name in own}
    # Revisions that are older than a column do not have it.
    defaults = {column.name: column.server_default for column in table.columns if not column.nullable}
    for name, default in defaults.items():
        if isinstance(default, sa.DefaultClause):
            kept[name] = f"coalesce({kept[name]}, {default.arg})"
    key = table.primary_key.columns.keys()
    rest = [column for column in table.primary_key.columns if column.name not in ("symbol", "date")]
    first = (_CHANGES if _keeps_changes(table) else _WHOLE).format(
        name=f"'{table.name}'", rest="".join(f", r.old ->> '{column.name}'" for column in rest)
    )
    base = f" LEFT JOIN {quoted(table.name)} AS b ON b.symbol = f.symbol AND {_day(table, 'b')} = f.date"
    return _BODY.format(
        table=quoted(table.name),
        name=f"'{table.name}'",
        stamp=quoted(_stamp(table) or ""),
        own=", ".join(own.values()),
        own_key=", ".join(own[name] for name in key),
        kept=", ".join(kept.values()),
        kept_key=", ".join(kept[name] for name in key),
        day=_day(table, "t"),
        same_rest=_same(rest, "t", "r"),
        first=first,
        base=base + _same(rest, "b", "f") if _keeps_changes(table) else "",
        record="b" if _keeps_changes(table) else f"NULL::{quoted(table.name)}",
    )


def _keeps_changes(table: sa.Table) -> bool:
    """Whether revisions of `table` hold only what changed, as those of computed tables do."""
    return _stamp(table) == "computed_at"


def _day(table: sa.Table, alias: str) -> str:
    """The day under which revisions keep a row: its date, or the UTC day of its instant."""
    time = _time(table)
    assert time is not None
    name = f"{alias}.{quoted(time.name)}"
    return name if isinstance(time.type, sa.Date) else f"({name} AT TIME ZONE 'UTC')::date"


def _same(columns: Iterable[sa.Column[Any]], row: str, revision: str) -> str:
    """Conditions that a row and a revision agree in the columns of the key that revisions keep as JSON."""
    return "".join(
        f" AND ({revision}.old ->> '{column.name}')::{column.type.compile(dialect=DIALECT)} = "
        f"{row}.{quoted(column.name)}"
        for column in columns
    )


def _stamp(table: sa.Table) -> str | None:
    if next(iter(table.primary_key.columns.keys()), None) != "symbol":
        return None
    return next((column.name for column in table.columns if column.info.get("stamp")), None)


def _time(table: sa.Table) -> sa.Column[Any] | None:
    keys: Iterable[sa.Column[Any]] = table.primary_key.columns
    return next((column for column in keys if isinstance(column.type, sa.Date | sa.DateTime)), None)
