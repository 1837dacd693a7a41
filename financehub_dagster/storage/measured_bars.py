"""`measured_bars`: which sessions of each vendor's bars were compared, and on which of them the bars have an error.

Belongs here: replacing what was measured of an instrument and a vendor, and adding all of it up. Does not belong here:
what an error is (market.quality.vendor_errors). Sessions are ranges of days, so that a row holds years; `bars` is their
number, so that adding up reads no session.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import date

import sqlalchemy as sa

from financehub_dagster.storage.database import schema
from financehub_dagster.storage.database.engine import Connection

COMPARED = "compared"
"""The kind of the row that has all sessions compared."""


@dataclass(frozen=True, slots=True)
class Example:
    """What a vendor has in a column of a bar, and what another has there; None: no such bar, or no number."""

    date: date
    column: str
    told: float | None
    other: float | None
    against: str


@dataclass(frozen=True, slots=True)
class Measured:
    """The sessions of one kind; decided: is the error this vendor's, or of one of two who differ?"""

    kind: str
    decided: bool
    sessions: Collection[date]
    example: Example | None = None


@dataclass(frozen=True, slots=True)
class Total:
    """All bars of a vendor of one kind, how many instruments have such, and the newest example with its symbol."""

    vendor: str
    kind: str
    decided: bool
    bars: int
    instruments: int
    symbol: str | None
    example: Example | None


_TAKE_OUT = sa.text("""
    UPDATE measured_bars SET sessions = sessions - CAST(:span AS datemultirange), compared_at = now(), run_id = :run_id,
        example = CASE WHEN CAST(example ->> 'date' AS date) <@ CAST(:span AS datemultirange) THEN NULL ELSE example END
    WHERE table_name = :table AND symbol = :symbol AND vendor = :vendor
""")
_PUT_IN = sa.text("""
    INSERT INTO measured_bars AS kept (table_name, symbol, vendor, kind, decided, sessions, bars, example, run_id)
    SELECT :table, :symbol, :vendor, kind, decided, CAST(sessions AS datemultirange), 0, CAST(example AS jsonb), :run_id
    FROM unnest(CAST(:kinds AS text[]), CAST(:decided AS boolean[]), CAST(:sessions AS text[]),
        CAST(:examples AS text[])) AS found (kind, decided, sessions, example)
    ON CONFLICT (table_name, symbol, vendor, kind, decided) DO UPDATE
    SET sessions = kept.sessions + excluded.sessions, example = coalesce(excluded.example, kept.example)
""")
_COUNT = sa.text("""
    UPDATE measured_bars SET bars = (SELECT coalesce(sum(upper(days) - lower(days)), 0) FROM unnest(sessions) AS days)
    WHERE table_name = :table AND symbol = :symbol AND vendor = :vendor
""")
_CLEAR = sa.text("""
    DELETE FROM measured_bars WHERE table_name = :table AND symbol = :symbol AND vendor = :vendor AND isempty(sessions)
""")
_TOTALS = sa.text("""
    SELECT vendor, kind, decided, sum(bars), count(*),
        max(ARRAY[example ->> 'date', symbol, CAST(example AS text)]) FILTER (WHERE example IS NOT NULL)
    FROM measured_bars WHERE CAST(:table AS text) IS NULL OR table_name = :table
    GROUP BY vendor, kind, decided ORDER BY vendor, kind, decided DESC
""")


def replace(
    connection: Connection,
    table: str,
    symbol: str,
    vendor: str,
    span: tuple[date, date],
    measured: Sequence[Measured],
    run_id: str | None,
) -> None:
    """Keep what was measured of the sessions of `span`, in place of what was measured there before."""
    rows = [each for each in measured if each.sessions]
    key = {"table": table, "symbol": symbol, "vendor": vendor, "run_id": run_id}
    connection.execute(_TAKE_OUT, {**key, "span": f"{{[{span[0]},{span[1]}]}}"})
    found = {
        "kinds": [each.kind for each in rows],
        "decided": [each.decided for each in rows],
        "sessions": ["{" + ",".join(f"[{day},{day}]" for day in sorted(each.sessions)) + "}" for each in rows],
        "examples": [None if each.example is None else _as_json(each.example) for each in rows],
    }
    connection.execute(_PUT_IN, {**key, **found})
    for statement in (_COUNT, _CLEAR):
        connection.execute(statement, key)


def totals(connection: Connection, table: str | None = None) -> list[Total]:
    """What was measured of each vendor in one table (None: in all), by kind."""
    found = []
    for vendor, kind, decided, bars, instruments, newest in connection.execute(_TOTALS, {"table": table}):
        _, symbol, text = newest or (None, None, None)
        example = None if text is None else _from_json(text)
        found.append(Total(vendor, kind, decided, int(bars), instruments, symbol, example))
    return found


def _as_json(example: Example) -> str:
    return json.dumps({**asdict(example), "date": example.date.isoformat()})


def _from_json(text: str) -> Example:
    values = json.loads(text)
    return Example(**{**values, "date": date.fromisoformat(values["date"])})


def forget(connection: Connection, days: int) -> int:
    """Delete what was compared last longer ago: the instrument, or the vendor, is not compared any more."""
    kept = schema.measured_bars
    old = kept.c.compared_at < sa.func.now() - sa.func.make_interval(0, 0, 0, days)
    return connection.execute(sa.delete(kept).where(old)).rowcount
