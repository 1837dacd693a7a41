"""Retention of intraday bars: months that are old enough leave the database, by way of the archive unless it is off.

Belongs here: which months are old, the order in which they leave, and what becomes of each. Does not belong here:
partitions, files and the moving itself (storage.archive).
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from financehub_dagster.settings import Settings
from financehub_dagster.wording import counted


@dataclass(frozen=True)
class Left:
    """A month that has left the database: its rows, and the bytes of its file, None without an archive."""

    table: str
    month: date
    rows: int
    bytes: int | None


def archive_old(settings: Settings, log: Callable[[str], object], now: datetime | None = None) -> list[Left]:
    """Let every month leave that ended FINANCEHUB_INTRADAY_DAYS ago, the oldest first; returns those that did.

    Tables that others are computed from, and these, have FINANCEHUB_HOURLY_DAYS: an indicator over a month's bars alone
    would be another one.

    A month stays that a gap, a dead letter or deferred work refers to, that is in use, or that was restored less than
    that time ago: the log says which and why. Raises ArchiveError where a file cannot be written, after logging what
    has left until then; nothing is dropped that is not archived. It may be ended and repeated at any point.
    """
    from financehub_dagster.storage.archive import moving
    from financehub_dagster.storage.archive.errors import MonthBusy

    left: list[Left] = []
    for table, month in _old_months(settings, now or datetime.now(UTC)):
        try:
            leave = moving.archive_month if settings.financehub_archive else moving.discard_month
            done = leave(table, month)
        except MonthBusy as busy:
            log(str(busy))
            continue
        if isinstance(done, moving.Kept):
            log(f"{table} {month:%Y-%m} stays in the database: {'; '.join(done.reasons)}")
        elif isinstance(done, int):
            left.append(Left(table, month, done, None))
            log(f"{table} {month:%Y-%m}: {counted(done, 'row')} dropped; the archive is off")
        else:
            left.append(Left(table, month, done.rows, done.bytes))
            rows = counted(done.rows, "row")
            log(f"{table} {month:%Y-%m}: {rows} archived in {done.bytes:,} bytes and dropped: {done.path}")
    return left


def _old_months(settings: Settings, now: datetime) -> list[tuple[str, date]]:
    """The months that are older than their table's age and were not restored since, the oldest first."""
    from financehub_dagster.storage.archive import partitions
    from financehub_dagster.storage.database.engine import transaction
    from financehub_dagster.storage.database.month_partitions import month_bounds

    found: list[tuple[date, int, str]] = []
    with transaction() as connection:
        for place, table in enumerate(partitions.table_names()):
            oldest = now - _age(settings, table)
            found += [
                (each.first_day, place, table)
                for each in partitions.months(connection, table)
                if month_bounds(each.first_day)[1] <= oldest
                and (each.restored_at is None or each.restored_at <= oldest)
            ]
    return [(table, month) for month, _, table in sorted(found)]


def _age(settings: Settings, table: str) -> timedelta:
    from financehub_dagster.tables import TABLES, derived_from
    from financehub_dagster.tables.declaration import Derived

    computed = bool(derived_from(table)) or isinstance(TABLES[table].filled, Derived)
    return timedelta(days=settings.financehub_hourly_days if computed else settings.financehub_intraday_days)
