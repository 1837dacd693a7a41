"""`discrepancies`: values that another vendor has otherwise than they are stored.

Belongs here: keeping what the last comparison of an instrument with a vendor found, and reading it. Does not belong
here: comparing (market.quality.reconciliation).
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date

import sqlalchemy as sa

from financehub_dagster.storage.database import schema
from financehub_dagster.storage.database.array_parameters import any_of, insert_rows
from financehub_dagster.storage.database.engine import Connection


@dataclass(frozen=True, slots=True)
class Row:
    """A stored value of `source`, and the one that the vendor compared with sent; off: who is in the minority."""

    date: date
    column_name: str
    kind: str
    source: str
    stored: float
    told: float
    off: str | None


def replace(
    connection: Connection,
    table: str,
    symbol: str,
    vendor: str,
    span: tuple[date, date],
    rows: Sequence[Row],
    run_id: str | None,
) -> None:
    """Keep what comparing the sessions of `span` with `vendor` found, in place of what was found there before."""
    kept = schema.discrepancies
    connection.execute(
        sa.delete(kept).where(
            kept.c.table_name == table,
            kept.c.symbol == symbol,
            kept.c.vendor == vendor,
            kept.c.date.between(*span),
        )
    )
    if not rows:
        return
    key = {"table_name": table, "symbol": symbol, "vendor": vendor, "run_id": run_id}
    connection.execute(insert_rows(kept, [{**key, **asdict(row)} for row in rows]))


def open_rows(
    connection: Connection, table: str, symbols: Sequence[str], limit: int
) -> tuple[int, list[dict[str, object]]]:
    """How many values of `symbols` differ, and the newest: symbol, date, column, source, stored, vendor, told, off."""
    kept = schema.discrepancies.c
    own = sa.and_(kept.table_name == table, kept.symbol == any_of(symbols))
    count: int = connection.execute(sa.select(sa.func.count()).where(own)).scalar_one()
    wanted = (kept.symbol, kept.date, kept.column_name, kept.source, kept.stored, kept.vendor, kept.told, kept.off)
    newest = sa.select(*wanted).where(own).order_by(kept.date.desc(), kept.symbol, kept.column_name).limit(limit)
    return count, [dict(row._mapping) for row in connection.execute(newest)] if count else []


def forget(connection: Connection, days: int) -> int:
    """Delete what was compared longer ago: the instrument, or the vendor, is not compared any more."""
    kept = schema.discrepancies
    old = kept.c.compared_at < sa.func.now() - sa.func.make_interval(0, 0, 0, days)
    return connection.execute(sa.delete(kept).where(old)).rowcount
