"""Rows that a vendor does not tell any more: taken out of their table, and kept.

Belongs here: deleting rows by key, each with a revision that says who no longer tells of it, and derived rows whose
input is gone. Does not belong here: which rows these are (ingest.history.taking_back). The caller holds the turn of the
table.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from financehub_dagster.storage.database import schema
from financehub_dagster.storage.database.engine import Connection
from financehub_dagster.storage.lineage import pending_materializations, stale_inputs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from financehub_dagster.market.derived import Period

_WITHDRAW = """
    WITH asked AS (
        SELECT * FROM unnest(CAST(:symbols AS text[]), CAST(:dates AS date[]), CAST(:kinds AS text[]),
            CAST(:providers AS text[])) AS asked(symbol, date, kind, provider)
    ), gone AS (
        DELETE FROM {table} AS rows USING asked
        WHERE rows.symbol = asked.symbol AND rows.date = asked.date {same_kind}
        RETURNING rows.symbol, rows.date, to_jsonb(rows) - 'symbol' - 'date' AS old, asked.provider
    ), kept AS (
        INSERT INTO price_revisions (table_name, symbol, date, old, run_id, withdrawn_by)
        SELECT :table, symbol, date, old, :run_id, provider FROM gone
    )
    SELECT symbol, min(date), max(date), count(*) FROM gone GROUP BY symbol
"""


def withdraw(
    connection: Connection,
    table: str,
    keys: Sequence[tuple[str, date, str]],
    providers: Mapping[str, str],
    *,
    run_id: str,
    derived: Sequence[str] = (),
) -> int:
    """Delete the rows with these keys (symbol, date, kind: "" where the table has none); returns how many there were.

    Each goes to price_revisions with the provider of its symbol as `withdrawn_by`. Instruments that lose rows are
    marked dirty for each table of `derived`, and the run owes a materialization.
    """
    if not keys:
        return 0
    declared = schema.table(table)
    same_kind = "AND rows.kind = asked.kind" if "kind" in declared.c else ""
    asked = {
        "symbols": [symbol for symbol, _, _ in keys],
        "dates": [day for _, day, _ in keys],
        "kinds": [kind for _, _, kind in keys],
        "providers": [providers[symbol] for symbol, _, _ in keys],
        "table": table,
        "run_id": run_id,
    }
    gone = list(connection.execute(sa.text(_WITHDRAW.format(table=declared.name, same_kind=same_kind)), asked))
    if gone:
        first, last = min(row[1] for row in gone), max(row[2] for row in gone)
        pending_materializations.note_write(connection, table, run_id, first, last)
        for name in derived:
            stale_inputs.mark_dirty(connection, name, {row[0]: row[1] for row in gone})
    return sum(row[3] for row in gone)


_DROP_DERIVED = """
    WITH gone AS (
        DELETE FROM {derived} AS rows
        USING unnest(CAST(:symbols AS text[]), CAST(:days AS date[])) AS marked(symbol, since)
        WHERE rows.symbol = marked.symbol AND rows.date >= marked.since
            AND NOT EXISTS (
                SELECT FROM {table} AS input
                WHERE input.symbol = rows.symbol AND input.date BETWEEN {input} AND {input} + :reach
            )
        RETURNING rows.symbol, rows.date, to_jsonb(rows) - 'symbol' - 'date' AS old
    )
    INSERT INTO price_revisions (table_name, symbol, date, old, run_id, withdrawn_by)
    SELECT :derived, symbol, date, old, :run_id, :table FROM gone
"""


def drop_derived(
    connection: Connection, derived: str, table: str, period: "Period", since: Mapping[str, date], *, run_id: str
) -> int:
    """Delete the rows of `derived` without a row of `table` in their period, of each symbol from its day on.

    Each goes to price_revisions with `table` as `withdrawn_by`. Returns how many.
    """
    if not since:
        return 0
    from financehub_dagster.market.derived import REACH, period_start

    names = {"derived": schema.table(derived).name, "table": schema.table(table).name}
    days = [period_start(period, day) for day in since.values()]
    asked = {"symbols": list(since), "days": days, "reach": REACH[period].days, "run_id": run_id, **names}
    read = "rows.session" if period == "next session" else "rows.date"
    return connection.execute(sa.text(_DROP_DERIVED.format(**names, input=read)), asked).rowcount


_SURPLUS = """
    SELECT asked.symbol FROM (
        SELECT symbol, sum(rows) AS rows FROM unnest(CAST(:symbols AS text[]), CAST(:counts AS bigint[]))
            AS computed(symbol, rows) GROUP BY symbol
    ) AS asked
    WHERE asked.rows < (
        SELECT count(*) FROM {derived} AS rows WHERE rows.symbol = asked.symbol AND EXISTS (
            SELECT FROM unnest(CAST(:span_symbols AS text[]), CAST(:firsts AS date[]), CAST(:lasts AS date[]))
                AS span(symbol, first, last)
            WHERE span.symbol = rows.symbol AND rows.date BETWEEN span.first AND span.last
        )
    )
"""

_DROP_ABSENT = """
    WITH gone AS (
        DELETE FROM {derived} AS rows
        USING unnest(CAST(:span_symbols AS text[]), CAST(:firsts AS date[]), CAST(:lasts AS date[]))
            AS span(symbol, first, last)
        WHERE rows.symbol = span.symbol AND rows.date BETWEEN span.first AND span.last AND NOT EXISTS (
            SELECT FROM unnest(CAST(:symbols AS text[]), CAST(:days AS date[]), CAST(:rest AS text[]))
                AS kept(symbol, date, rest)
            WHERE kept.symbol = rows.symbol AND kept.date = rows.date AND kept.rest = rows.{rest}
        )
        RETURNING rows.symbol, rows.date, to_jsonb(rows) - 'symbol' - 'date' AS old
    ), revised AS (
        INSERT INTO price_revisions (table_name, symbol, date, old, run_id, withdrawn_by)
        SELECT :derived, symbol, date, old, :run_id, :table FROM gone
    )
    SELECT min(date), max(date), count(*) FROM gone
"""


def drop_absent(
    connection: Connection,
    derived: str,
    table: str,
    computed: "Mapping[str, NDArray[Any]]",
    spans: Sequence[tuple[str, date, date]],
    *,
    run_id: str,
) -> int:
    """Delete the rows of `derived` within `spans` (symbol, first and last day) whose key is not among the `computed`.

    The key is symbol, date and one text. All computed rows are within the spans, and stored already: symbols that have
    no more rows than were computed have none to delete. Each deleted row goes to price_revisions with `table` as
    `withdrawn_by`. Returns how many.
    """
    import numpy as np

    declared = schema.table(derived)
    [rest] = [column.name for column in declared.primary_key.columns if column.name not in ("symbol", "date")]
    names = {"derived": declared.name, "rest": rest}
    found, sizes = np.unique(computed["symbol"].astype(str), return_counts=True)
    counted = {
        "symbols": [*found.tolist(), *(symbol for symbol, _, _ in spans)],
        "counts": [*sizes.tolist(), *(0 for _ in spans)],
    }
    surplus = set(connection.execute(sa.text(_SURPLUS.format(**names)), {**_columns(spans), **counted}).scalars())
    if not surplus:
        return 0
    kept = np.isin(computed["symbol"].astype(str), list(surplus))
    asked = {
        **_columns([span for span in spans if span[0] in surplus]),
        "symbols": computed["symbol"][kept].tolist(),
        "days": computed["date"][kept].tolist(),
        "rest": computed[rest][kept].tolist(),
        "derived": names["derived"],
        "table": schema.table(table).name,
        "run_id": run_id,
    }
    first, last, count = connection.execute(sa.text(_DROP_ABSENT.format(**names)), asked).one()
    if count:
        pending_materializations.note_write(connection, derived, run_id, first, last)
    return int(count)


def _columns(spans: Sequence[tuple[str, date, date]]) -> dict[str, list[Any]]:
    return {
        "span_symbols": [symbol for symbol, _, _ in spans],
        "firsts": [first for _, first, _ in spans],
        "lasts": [last for _, _, last in spans],
    }
