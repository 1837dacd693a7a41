"""Sessions a vendor was asked for and had nothing: asked again with growing intervals, then confirmed.

Belongs here: writing such answers down and taking them back. Does not belong here: when a gap is asked for again
(`backfill_planner`), and the ledger's rows. Imports numpy: import it inside functions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import numpy as np
import sqlalchemy as sa

from financehub_dagster.market import coverage
from financehub_dagster.market.coverage import Masks, Months
from financehub_dagster.storage.database import schema
from financehub_dagster.storage.database.engine import Connection
from financehub_dagster.storage.queries import history

INTERVALS = (
    timedelta(hours=1),
    timedelta(hours=4),
    timedelta(days=1),
    timedelta(days=3),
    timedelta(days=7),
)
"""How long after the first, second … empty answer the vendor is asked again; the answer after the last confirms."""


@dataclass(frozen=True)
class Answer:
    """What a vendor answered when asked for the sessions from `start` to `end`, both included.

    first_bar is the first session of which it says that there is something: where it does not say, the earliest bar it
    sent, None when it sent none. rejected are the sessions whose bar broke a rule. Those
    that had not finished at asked_at were not asked for.
    """

    symbol: str
    provider: str
    start: date
    end: date
    asked_at: datetime
    first_bar: date | None
    rejected: Sequence[date] = ()


def record(
    connection: Connection,
    table: str,
    answers: Sequence[Answer],
    symbols: Sequence[str],
    months: Months,
    missing: Masks,
    now: datetime,
) -> None:
    """Write down which of the `missing` sessions of `symbols`, of shape (symbols, months), the answers leave out.

    A session before first_bar is confirmed at once, unless an earlier one is stored: the instrument was not listed yet.
    One that is left out from there on is a gap, however late the bars begin. A rejected bar is no empty answer and
    never confirmed, but asked for again at the same intervals. An answer that comes before it was due counts as none.
    """
    place = {symbol: number for number, symbol in enumerate(symbols)}
    own = [answer for answer in answers if answer.symbol in place]
    if not missing.any():
        return
    left_out = {answer.symbol: missing[place[answer.symbol]] & _window(answer, months) for answer in own}
    lacking = [answer for answer in own if left_out[answer.symbol].any()]
    stored = history.stored_spans(connection, table, [answer.symbol for answer in lacking])
    for answer in lacking:
        sessions = left_out[answer.symbol]
        refused = sessions & _days(answer.rejected, months)
        unlisted = sessions & ~refused & _unlisted(answer, stored.get(answer.symbol), months)
        rest = sessions & ~refused & ~unlisted
        _write(connection, table, answer, _dates(rest, months), now, INTERVALS[0], confirms=True)
        _write(connection, table, answer, _dates(unlisted, months), now, None, confirms=True)
        _write(connection, table, answer, _dates(refused, months), now, INTERVALS[0], confirms=False)


def _window(answer: Answer, months: Months) -> Masks:
    return coverage.window_masks(answer.start, answer.end, months)


def _days(days: Sequence[date], months: Months) -> Masks:
    inside = [day for day in days if months.first <= day <= months.last]
    return coverage.mask_row(np.array(inside, "datetime64[D]"), months)


def _unlisted(answer: Answer, stored: tuple[date, date] | None, months: Months) -> Masks:
    """The days before the first session there is, if that is the earliest anyone knows of."""
    if answer.first_bar is None or (stored is not None and stored[0] < answer.first_bar):
        return np.zeros(months.count, np.int32)
    return coverage.window_masks(answer.start, answer.first_bar - timedelta(days=1), months)


def _dates(masks: Masks, months: Months) -> list[date]:
    starts = months.starts
    return [day for at in np.flatnonzero(masks) for day in coverage.days_of(starts[at], int(masks[at])).tolist()]


_WRITE = sa.text("""
    INSERT INTO empty_answers AS known (table_name, symbol, date, provider, asked, last_asked_at, next_ask_at)
    SELECT :table, :symbol, day, :provider, 1, :now, CAST(:now AS timestamptz) + CAST(:first AS interval)
    FROM unnest(CAST(:days AS date[])) AS day
    ON CONFLICT (table_name, symbol, date) DO UPDATE SET
        provider = excluded.provider,
        asked = known.asked + 1,
        last_asked_at = excluded.last_asked_at,
        next_ask_at = CASE
            WHEN excluded.next_ask_at IS NULL THEN NULL
            WHEN known.asked < cardinality(CAST(:intervals AS interval[]))
                THEN :now + (CAST(:intervals AS interval[]))[known.asked + 1]
            WHEN :confirms THEN NULL
            ELSE :now + (CAST(:intervals AS interval[]))[cardinality(CAST(:intervals AS interval[]))] END
    WHERE known.next_ask_at <= :now OR (excluded.next_ask_at IS NULL AND known.next_ask_at IS NOT NULL)
""")


def _write(
    connection: Connection,
    table: str,
    answer: Answer,
    days: Sequence[date],
    now: datetime,
    first: timedelta | None,
    *,
    confirms: bool,
) -> None:
    if not days:
        return
    asked = {"table": table, "symbol": answer.symbol, "provider": answer.provider, "days": list(days), "now": now}
    intervals = {"first": first, "intervals": list(INTERVALS), "confirms": confirms}
    connection.execute(_WRITE, {**asked, **intervals})


_REOPEN = """
    DELETE FROM empty_answers AS known
    USING unnest(CAST(:symbols AS text[])) AS s(symbol)
    CROSS JOIN LATERAL (SELECT min(date) AS first FROM {table} AS rows WHERE rows.symbol = s.symbol) AS stored
    WHERE known.table_name = :table AND known.symbol = s.symbol AND known.date > stored.first
        AND known.next_ask_at IS NULL AND known.asked <= :asked
    RETURNING known.date
"""


def reopen(connection: Connection, table: str, symbols: Sequence[str]) -> list[date]:
    """Take back what was confirmed as before the listing, where an earlier bar has come since; returns these days."""
    statement = sa.text(_REOPEN.format(table=schema.metadata.tables[table].name))
    asked = {"symbols": list(symbols), "table": table, "asked": len(INTERVALS)}
    return list(connection.execute(statement, asked).scalars())


def forget(connection: Connection, table: str, symbols: Sequence[str], months: Months, masks: Masks) -> None:
    """Delete what is known of these sessions, given as masks of shape (symbols, months): their rows have come."""
    known = schema.empty_answers.c
    for row in np.flatnonzero(masks.any(axis=1)):
        days = sa.any_(sa.cast(_dates(masks[row], months), sa.ARRAY(sa.Date)))
        theirs = sa.and_(known.table_name == table, known.symbol == symbols[row], known.date == days)
        connection.execute(sa.delete(schema.empty_answers).where(theirs))
