"""What a run did to one table, and how that reads in the webserver.

Belongs here: counting and the metadata of a materialization. Does not belong here: doing the work.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import dagster as dg

if TYPE_CHECKING:
    from financehub_dagster.storage.writer import WriteResult


@dataclass
class Outcome:
    """Counts of one table in one run; failures maps a symbol to its one-line reason."""

    table: str
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    rejected: int = 0
    calls: int = 0
    done: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    restated: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)

    def add(self, written: "WriteResult") -> None:
        """Count one write."""
        self.inserted += written.inserted
        self.updated += written.updated
        self.unchanged += written.unchanged

    @property
    def nothing_worked(self) -> bool:
        """Whether every instrument failed."""
        return bool(self.failures) and not self.done


def failures_table(failures: Iterable[tuple[str, str]]) -> dg.TableMetadataValue:
    """Failed instruments and their reasons as a table that the webserver shows at once."""
    return dg.MetadataValue.table(
        records=[dg.TableRecord({"symbol": symbol, "reason": reason}) for symbol, reason in failures],
        schema=dg.TableSchema([dg.TableColumn("symbol", "string"), dg.TableColumn("reason", "string")]),
    )


def run_metadata(outcome: Outcome, first: str, last: str) -> dict[str, dg.MetadataValue]:
    """The numbers every materialization of a run carries; `first` and `last` are session dates."""
    metadata: dict[str, dg.MetadataValue] = {
        "rows_inserted": dg.MetadataValue.int(outcome.inserted),
        "rows_updated": dg.MetadataValue.int(outcome.updated),
        "rows_unchanged": dg.MetadataValue.int(outcome.unchanged),
        "rows_rejected": dg.MetadataValue.int(outcome.rejected),
        "instruments_done": dg.MetadataValue.int(len(outcome.done)),
        "instruments_failed": dg.MetadataValue.int(len(outcome.failures)),
        "instruments_empty": dg.MetadataValue.int(len(outcome.empty)),
        "vendor_calls": dg.MetadataValue.int(outcome.calls),
        "span": dg.MetadataValue.text(f"{first} to {last}"),
    }
    if outcome.restated:
        metadata["restated_after_split"] = dg.MetadataValue.text(", ".join(outcome.restated))
    if outcome.failures:
        metadata["failures"] = failures_table(outcome.failures.items())
    return metadata


def raise_if_nothing_worked(outcome: Outcome) -> None:
    """Fail the step when no instrument could be stored; one line names how many and the first reason."""
    if outcome.nothing_worked:
        symbol, reason = next(iter(outcome.failures.items()))
        raise dg.Failure(
            f"{outcome.table}: none of {len(outcome.failures)} instruments could be stored; {symbol}: {reason}",
            metadata={"failures": failures_table(outcome.failures.items())},
            allow_retries=False,
        )
