"""How tables are cut into partitions, and which dates a run covers.

Belongs here: partition definitions and the window of a run. Does not belong here: what a table is made of.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import dagster as dg
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    PARTITION_NAME_TAG,
)

from financehub_dagster.settings import get_settings
from financehub_dagster.storage.queries.partition_keys import key_of
from financehub_dagster.tables import SNAPSHOTS, TABLES

PROGRAM_START = date(2026, 11, 1)
"""Nobody asked vendors for quotes before this program did: the first day of a platform whose home does not say one."""
GRACE = timedelta(hours=1)
LOOKBACK = timedelta(days=7)
"""How far back work on the newest sessions begins: early in a month it still finishes the last ones of the month
before, and the longest closures of an exchange that the calendars know last a week."""


def by_day(table: str) -> bool:
    """Whether `table` is cut into days; the others with partitions are cut into months."""
    return TABLES[table].partitions == "day"


def is_of_now(table: str) -> bool:
    """Whether `table` holds current values: work on a partition that is over can only be done in the running one."""
    return table in SNAPSHOTS and SNAPSHOTS[table].look_back is None


def start_of(table: str) -> date:
    """The first day of the first partition of `table`: FINANCEHUB_HISTORY_START or the platform's first day."""
    settings = get_settings()
    began = settings.first_day or PROGRAM_START
    first = began if TABLES[table].current_only else settings.financehub_history_start
    return first if by_day(table) else first.replace(day=1)


def partitions_of(table: str) -> dg.TimeWindowPartitionsDefinition:
    """The days or months, in UTC, that `table` is cut into; the running one is a partition too."""
    kind = dg.DailyPartitionsDefinition if by_day(table) else dg.MonthlyPartitionsDefinition
    return kind(start_date=start_of(table).isoformat(), timezone="UTC", end_offset=1)


def partition_at(table: str, moment: datetime) -> str:
    """The key of the partition of `table` that `moment` (aware) falls into; of the first one, if it is before that.

    Ticks look some days back, also on the first day of a platform.
    """
    day = max(moment.astimezone(UTC).date(), start_of(table))
    return (day if by_day(table) else day.replace(day=1)).isoformat()


def partitions_between(table: str, first: date, last: date) -> list[str]:
    """The keys of the partitions of `table` that hold the sessions from `first` to `last`."""
    first = max(first, start_of(table))
    if not by_day(table):
        return Window.of_dates(first, last).months()
    return [(first + timedelta(days=day)).isoformat() for day in range((last - first).days + 1)]


def range_tags(first: str, last: str) -> dict[str, str]:
    """The tags of a run over the partitions from `first` to `last`."""
    return {ASSET_PARTITION_RANGE_START_TAG: first, ASSET_PARTITION_RANGE_END_TAG: last}


def range_of(tags: Mapping[str, str]) -> tuple[str, str] | None:
    """The first and last partition of the run that has these tags; None for a run without partitions."""
    one = tags.get(PARTITION_NAME_TAG)
    first = tags.get(ASSET_PARTITION_RANGE_START_TAG) or one
    last = tags.get(ASSET_PARTITION_RANGE_END_TAG) or one
    return None if first is None or last is None else (first, last)


def require_running_partition(context: dg.AssetExecutionContext) -> None:
    """Raise dg.Failure unless a run over a table that holds what is so now is over the running partition alone.

    A run that was asked for at the end of a partition may begin within the hour after it.
    """
    asked, span = context.partition_key_range, context.partition_time_window
    if asked.start == asked.end and span.start <= datetime.now(UTC) < span.end + GRACE:
        return
    wanted = asked.start if asked.start == asked.end else f"{asked.start} to {asked.end}"
    raise dg.Failure(
        f"{wanted} cannot be filled: vendors say only what is so now; choose the running partition alone",
        allow_retries=False,
    )


@dataclass(frozen=True)
class Window:
    """The session dates a run covers, both included, and the partition range it stands for."""

    start: date
    end: date
    partition_key: str

    @classmethod
    def of(cls, context: dg.AssetExecutionContext, today: date | None = None) -> "Window":
        """The window of a run over one partition or a range of them, cut off at today (UTC).

        Raises dg.Failure for a run without any: unlike the webserver, `dg launch --job` asks for none.
        """
        asked = range_of(context.run.tags)
        if asked is None:
            newest = partition_at(context.op_def.name, datetime.now(UTC))
            raise dg.Failure(f"no partition was chosen: launch it with --partition {newest}", allow_retries=False)
        first, last = asked
        span = context.partition_time_window
        end = min(span.end.date() - timedelta(days=1), today or datetime.now(UTC).date())
        return cls(span.start.date(), end, key_of(first, last))

    @classmethod
    def of_dates(cls, start: date, end: date) -> "Window":
        """The window of whole monthly partitions that `start` to `end` falls into, for runs without partitions."""
        first, last = start.replace(day=1).isoformat(), end.replace(day=1).isoformat()
        return cls(start, end, key_of(first, last))

    @classmethod
    def recent(cls, today: date) -> "Window":
        """The window of a run over the newest sessions, LOOKBACK before `today` until it."""
        return cls.of_dates(today - LOOKBACK, today)

    def months(self) -> list[str]:
        """The partition keys from the first to the last month of the window."""
        keys, month = [], self.start.replace(day=1)
        while month <= self.end:
            keys.append(month.isoformat())
            month = (month + timedelta(days=32)).replace(day=1)
        return keys
