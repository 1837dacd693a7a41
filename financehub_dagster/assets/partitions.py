"""How tables are cut into partitions, and which dates a run covers.

Belongs here: partition definitions and the window of a run. Does not belong here: what a table is made of.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import dagster as dg

from financehub_dagster.settings import get_settings


def monthly_partitions() -> dg.MonthlyPartitionsDefinition:
    """Months in UTC from FINANCEHUB_HISTORY_START on; the running month is a partition too."""
    start = get_settings().financehub_history_start.replace(day=1)
    return dg.MonthlyPartitionsDefinition(start_date=start.isoformat(), timezone="UTC", end_offset=1)


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
