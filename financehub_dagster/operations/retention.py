"""How long everything is kept, and deleting what is older.

Belongs here: the ages, and the order of a clean-up. Does not belong here: SQL (storage), rotating the logs of running
processes (cli.supervisor), the age of ticks (Dagster deletes them: `retention` in dagster.yaml).
"""

import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from financehub_dagster.settings import Settings

if TYPE_CHECKING:
    from financehub_dagster.storage.database.dagster_retention import Deleted

THINNED = {"quotes": "quoted_at", "crypto_markets": "quoted_at"}
"""Tables of which one row an hour is kept after a while, and their column of time."""
USAGE_AGE = timedelta(days=400)
"""The longest window of a plan is a month, and a year is what people compare."""
TICKS = 200
"""Ticks with a run kept of each schedule and sensor."""
TICKS_WITHOUT_RUN = 20
"""Ticks without a run kept of each: ten minutes of what looks every 30 seconds, three weeks of what does every day."""
_JOURNAL = re.compile(r"\d{4}-W\d{2}\.(md|html)")
_RUN_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Cleaned:
    """What a clean-up did to one thing: rows or folders deleted, bytes on disk before and after.

    PostgreSQL keeps the space of deleted rows for new ones, so a table stops growing and does not shrink.
    """

    name: str
    deleted: int
    before: int
    after: int


def clean_up(settings: Settings, compute_logs: Path | None, log: Callable[[str], object]) -> list[Cleaned]:
    """Delete everything that is older than its age, and report each thing; raises DatabaseError.

    compute_logs: the folder of what steps wrote, None where it is not a folder of this machine. Whatever is deleted is
    deleted in small transactions, so that this may be ended and repeated at any point.
    """
    before = _sizes(settings, compute_logs)
    deleted: dict[str, int] = {}
    for name, work in _works(settings, compute_logs, log).items():
        began = time.monotonic()
        counts = work()
        for what, count in counts.items():
            deleted[what] = deleted.get(what, 0) + count
        log(
            f"{name}: {', '.join(f'{count:,} {what}' for what, count in counts.items())} deleted, "
            f"in {time.monotonic() - began:.1f} s"
        )
    after = _sizes(settings, compute_logs)
    return [Cleaned(name, deleted.get(name, 0), before.get(name, 0), size) for name, size in sorted(after.items())]


def _works(
    settings: Settings, compute_logs: Path | None, log: Callable[[str], object]
) -> dict[str, Callable[[], dict[str, int]]]:
    from financehub_dagster.storage.operations import retention

    now = datetime.now(UTC)
    ages = {
        "health_checks": settings.financehub_keep_health_days,
        "sla_breaches": settings.financehub_keep_health_days,
        "alerts": settings.financehub_keep_health_days,
        "notifications": settings.financehub_keep_health_days,
        "position_sizes": settings.financehub_keep_health_days,
        "rejected_rows": settings.financehub_keep_rejected_days,
        "price_revisions": settings.financehub_keep_revisions_days,
    }
    works: dict[str, Callable[[], dict[str, int]]] = {
        "dagster": lambda: _dagster(settings),
        "dagster, repeated": lambda: delete_repeated(settings, compute_logs),
        "dead letters": lambda: {"task_failures": _dead_letters(settings)},
        "api_usage": lambda: {"api_usage": retention.delete_old("api_usage", USAGE_AGE)},
    }
    for table, days in ages.items():
        if days is not None:
            works[table] = lambda table=table, age=timedelta(days=days): {table: retention.delete_old(table, age)}  # type: ignore[misc]
    full = now - timedelta(days=settings.financehub_keep_quotes_days)
    for table, column in THINNED.items():
        works[table] = lambda table=table, column=column: {table: retention.thin_to_hourly(table, column, full)}  # type: ignore[misc]
    if compute_logs is not None:
        oldest = now - timedelta(days=settings.financehub_keep_runs_days)
        works["compute logs"] = lambda: {"compute logs": delete_folders(compute_logs, oldest)}
    written = now - timedelta(days=settings.financehub_keep_journal_days)
    works["journal files"] = lambda: {"journal files": delete_journals(settings.home / "journal", written)}
    works["intraday bars"] = lambda: _intraday(settings, log)
    return works


def _dagster(settings: Settings) -> dict[str, int]:
    from financehub_dagster.storage.database.dagster_retention import delete_old_runs

    found = delete_old_runs(
        timedelta(days=settings.financehub_keep_runs_days), timedelta(days=settings.financehub_keep_failed_runs_days)
    )
    return _named(found)


def delete_repeated(settings: Settings, compute_logs: Path | None, seconds: float | None = None) -> dict[str, int]:
    """Delete what jobs that run all day leave beyond their newest runs, for at most about so many seconds, if given.

    Returns how many rows, by table, with folders of `compute_logs`; raises DatabaseError.
    """
    from financehub_dagster.storage.database.dagster_retention import delete_repeated_runs, delete_repeated_ticks

    ticks = delete_repeated_ticks(TICKS, TICKS_WITHOUT_RUN)
    found = delete_repeated_runs(settings.financehub_keep_repeated_runs, seconds)
    folders = [] if compute_logs is None else [compute_logs / name for name in found.of]
    folders = [folder for folder in folders if folder.is_dir()]
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    return {**_named(found), "dagster job_ticks": ticks, "compute logs": len(folders)}


def _named(found: "Deleted") -> dict[str, int]:
    return {
        "dagster runs": found.runs,
        "dagster event_logs": found.events,
        "dagster asset_check_executions": found.checks,
    }


def _intraday(settings: Settings, log: Callable[[str], object]) -> dict[str, int]:
    """Comes last, since it raises ArchiveError where the disk is full."""
    from financehub_dagster.operations.archive import archive_old

    rows: dict[str, int] = {}
    for each in archive_old(settings, log):
        rows[each.table] = rows.get(each.table, 0) + each.rows
    return rows


def _dead_letters(settings: Settings) -> int:
    from financehub_dagster.storage.database.transactions import in_transaction
    from financehub_dagster.storage.dead_letters.dead_letters import delete_settled

    age = timedelta(days=settings.financehub_keep_failed_runs_days)
    return in_transaction(lambda connection: delete_settled(connection, age))


def delete_folders(parent: Path, oldest: datetime) -> int:
    """Delete the folders of runs in `parent` that nothing was written to since `oldest` (aware); returns how many.

    Whatever is not named like a run stays.
    """
    deleted = 0
    for folder in parent.iterdir() if parent.is_dir() else ():
        if _RUN_ID.fullmatch(folder.name) and folder.is_dir() and _written(folder) < oldest.timestamp():
            shutil.rmtree(folder, ignore_errors=True)
            deleted += not folder.exists()
    return deleted


def delete_journals(parent: Path, oldest: datetime) -> int:
    """Delete the pages in the folders of `parent` that were written before `oldest` (aware); returns how many.

    Whatever is not named like a page stays; folders that are empty then go.
    """
    pages = [page for page in parent.glob("*/*") if _JOURNAL.fullmatch(page.name)]
    old = [page for page in pages if page.stat().st_mtime < oldest.timestamp()]
    for page in old:
        page.unlink(missing_ok=True)
    for folder in {page.parent for page in old}:
        if not any(folder.iterdir()):
            folder.rmdir()
    return len(old)


def _written(folder: Path) -> float:
    return max((path.stat().st_mtime for path in (folder, *folder.rglob("*")) if path.exists()), default=0.0)


def _sizes(settings: Settings, compute_logs: Path | None) -> dict[str, int]:
    from financehub_dagster.storage.database.creation import autocommit
    from financehub_dagster.storage.database.dagster_retention import TABLES
    from financehub_dagster.storage.database.engine import transaction
    from financehub_dagster.storage.database.schema import metadata
    from financehub_dagster.storage.database.urls import dagster_database
    from financehub_dagster.storage.operations.retention import sizes

    with transaction() as connection:
        found = sizes(connection, list(metadata.tables))
    with autocommit(dagster_database()) as connection:
        found |= {f"dagster {name}": size for name, size in sizes(connection, TABLES).items()}
    if compute_logs is not None:
        found["compute logs"] = _bytes_in(compute_logs)
    found["journal files"] = _bytes_in(settings.home / "journal")
    found["archive"] = _bytes_in(settings.home / "archive")
    return found


def _bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
