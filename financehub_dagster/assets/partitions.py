"""How tables are cut into partitions, and which dates a run covers.

Belongs here: partition definitions and the window of a run. Does not belong here: what a table is made of.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import dagster as dg

from financehub_dagster.settings import get_settings

ANSWERS_START = date(2026, 11, 1)
"""The first day of daily partitions: nobody asked vendors for their quotes before this program did."""
BY_DAY = frozenset({"quotes", "crypto_markets", "news_articles"})
"""The tables that are cut into days; the others with partitions are cut into months."""
OF_NOW = frozenset({"quotes", "crypto_markets", "fundamentals"})
"""The tables that hold what is so now: work on a partition that is over can only be done in the running one."""
GRACE = timedelta(hours=1)


def monthly_partitions() -> dg.MonthlyPartitionsDefinition:
    """Months in UTC from FINANCEHUB_HISTORY_START on; the running month is a partition too."""
    start = get_settings().financehub_history_start.replace(day=1)
    return dg.MonthlyPartitionsDefinition(start_date=start.isoformat(), timezone="UTC", end_offset=1)


def daily_partitions() -> dg.DailyPartitionsDefinition:
    """UTC days from ANSWERS_START on; the running day is a partition too."""
    return dg.DailyPartitionsDefinition(start_date=ANSWERS_START.isoformat(), timezone="UTC", end_offset=1)


def partition_at(table: str, moment: datetime) -> str:
    """The key of the partition of `table` that `moment` (aware) falls into."""
    day = moment.astimezone(UTC).date()
    return (day if table in BY_DAY else day.replace(day=1)).isoformat()


def partitions_between(table: str, first: date, last: date) -> list[str]:
    """The keys of the partitions of `table` that hold the sessions from `first` to `last`."""
    if table not in BY_DAY:
        return Window.of_dates(first, last).months()
    first = max(first, ANSWERS_START)
    return [(first + timedelta(days=day)).isoformat() for day in range((last - first).days + 1)]


def running_partition(context: dg.AssetExecutionContext, now: datetime | None = None) -> str:
    """The partition of a run over a table that holds what is so now; raises dg.Failure unless it is the running one.

    A run that was asked for at the end of a partition may begin within the hour after it.
    """
    now = now or datetime.now(UTC)
    asked, span = context.partition_key_range, context.partition_time_window
    if asked.start == asked.end and span.start <= now < span.end + GRACE:
        return str(asked.start)
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
        """The window of a run over one partition or a range of them, cut off at today (UTC)."""
        first, last = context.partition_key_range.start, context.partition_key_range.end
        span = context.partition_time_window
        end = min(span.end.date() - timedelta(days=1), today or datetime.now(UTC).date())
        return cls(span.start.date(), end, first if first == last else f"{first}...{last}")

    @classmethod
    def of_dates(cls, start: date, end: date) -> "Window":
        """The window of whole monthly partitions that `start` to `end` falls into, for runs without partitions."""
        first, last = start.replace(day=1).isoformat(), end.replace(day=1).isoformat()
        return cls(start, end, first if first == last else f"{first}...{last}")

    def months(self) -> list[str]:
        """The partition keys from the first to the last month of the window."""
        keys, month = [], self.start.replace(day=1)
        while month <= self.end:
            keys.append(month.isoformat())
            month = (month + timedelta(days=32)).replace(day=1)
        return keys
