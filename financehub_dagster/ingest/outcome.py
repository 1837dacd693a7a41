"""What a run did to one table, and how that reads in the webserver.

Belongs here: counting and the metadata of a materialization. Does not belong here: doing the work.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import TYPE_CHECKING

import dagster as dg

from financehub_dagster.ingest.record_table import record_table

if TYPE_CHECKING:
    from financehub_dagster.storage.upsert.upsert import WriteResult


TAKEN_BACK = "taken_back_by_first_choice"
RESTATED, READJUSTED = "restated_after_split", "restated_after_dividend"
REWRITTEN = (TAKEN_BACK, RESTATED, READJUSTED)
"""Metadata that lists instruments, with a comma between them, of which a run wrote sessions outside of its window."""


@dataclass(frozen=True)
class Deferral:
    """Work that no vendor may be asked for before `until` (UTC), and why."""

    until: datetime
    reason: str


@dataclass
class Outcome:
    """Counts of one table in one run.

    failures maps a symbol to its one-line reason, deferred one that waits for a vendor's budget, off one that nobody
    has a key for. sources counts the rows that each provider sent, where several may have, answered_by the instruments.
    calls counts requests to vendors, those that brought no answer included, ignored bars outside of trading hours,
    doubtful stored bars that break a rule by a plausible margin, replaced those that another vendor had a better one
    for, withdrawn rows that the provider no longer tells. unclaimed lists instruments whose provider may not have told
    all there is, taken_back those whose rows the first choice among the providers replaced after another one had
    answered, restated and readjusted those whose whole history was fetched again after a split and after a dividend,
    applied those with a split that was taken out here, doubted those whose answer lacks too much to be believed.
    """

    table: str
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    rejected: int = 0
    ignored: int = 0
    doubtful: int = 0
    replaced: int = 0
    withdrawn: int = 0
    calls: int = 0
    done: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    restated: list[str] = field(default_factory=list)
    readjusted: list[str] = field(default_factory=list)
    applied: list[str] = field(default_factory=list)
    doubted: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    off: dict[str, str] = field(default_factory=dict)
    sources: dict[str, int] = field(default_factory=dict)
    answered_by: dict[str, int] = field(default_factory=dict)
    deferred: dict[str, Deferral] = field(default_factory=dict)
    unclaimed: list[str] = field(default_factory=list)
    taken_back: list[str] = field(default_factory=list)

    def add(self, written: "WriteResult") -> None:
        """Count one write."""
        self.inserted += written.inserted
        self.updated += written.updated
        self.unchanged += written.unchanged

    def include(self, part: "Outcome") -> None:
        """Count what was done to some of the instruments as part of this."""
        for counted in fields(self):
            own, other = getattr(self, counted.name), getattr(part, counted.name)
            if counted.name in ("sources", "answered_by"):
                setattr(self, counted.name, dict(Counter(own) + Counter(other)))
            elif counted.name != "table":
                setattr(self, counted.name, own | other if isinstance(own, dict) else own + other)

    @property
    def nothing_worked(self) -> bool:
        """Whether instruments failed and none is done; deferred work is neither."""
        return bool(self.failures) and not self.done


def failures_table(failures: Iterable[tuple[str, str]]) -> dg.TableMetadataValue:
    """Failed instruments and their reasons as a table that the webserver shows at once."""
    return record_table(("symbol", "reason"), ({"symbol": symbol, "reason": reason} for symbol, reason in failures))


def deferred_table(deferred: Iterable[tuple[str, Deferral]]) -> dg.TableMetadataValue:
    """Instruments whose work was deferred, until when and why."""
    return record_table(
        ("symbol", "until", "reason"),
        (
            {"symbol": symbol, "until": f"{each.until:%Y-%m-%d %H:%M:%S} UTC", "reason": each.reason}
            for symbol, each in deferred
        ),
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
        "instruments_deferred": dg.MetadataValue.int(len(outcome.deferred)),
        "instruments_empty": dg.MetadataValue.int(len(outcome.empty)),
        "vendor_calls": dg.MetadataValue.int(outcome.calls),
        "span": dg.MetadataValue.text(f"{first} to {last}"),
    }
    if outcome.ignored:
        metadata["rows_outside_trading_hours"] = dg.MetadataValue.int(outcome.ignored)
    if outcome.doubtful:
        metadata["rows_doubtful"] = dg.MetadataValue.int(outcome.doubtful)
    if outcome.replaced:
        metadata["rows_from_next_vendor"] = dg.MetadataValue.int(outcome.replaced)
    if outcome.sources:
        metadata["rows_by_source"] = dg.MetadataValue.json(outcome.sources)
    if outcome.answered_by:
        metadata["instruments_by_source"] = dg.MetadataValue.json(outcome.answered_by)
    metadata |= _waiting(outcome)
    if outcome.unclaimed:
        metadata["possibly_incomplete"] = dg.MetadataValue.text(", ".join(outcome.unclaimed))
    if outcome.taken_back:
        metadata[TAKEN_BACK] = dg.MetadataValue.text(", ".join(outcome.taken_back))
    if outcome.off:
        metadata["off"] = failures_table(outcome.off.items())
    if outcome.withdrawn:
        metadata["rows_withdrawn"] = dg.MetadataValue.int(outcome.withdrawn)
    named = {
        RESTATED: outcome.restated,
        READJUSTED: outcome.readjusted,
        "splits_applied": outcome.applied,
        "incomplete_answers": sorted(set(outcome.doubted)),
    }
    metadata |= {name: dg.MetadataValue.text(", ".join(symbols)) for name, symbols in named.items() if symbols}
    if outcome.failures:
        metadata["failures"] = failures_table(outcome.failures.items())
    return metadata


def _waiting(outcome: Outcome) -> dict[str, dg.MetadataValue]:
    return {"deferred": deferred_table(outcome.deferred.items())} if outcome.deferred else {}


def raise_if_nothing_worked(outcome: Outcome) -> None:
    """Fail the step when no instrument could be stored; one line names how many and the first reason."""
    if outcome.nothing_worked:
        symbol, reason = next(iter(outcome.failures.items()))
        deferred = f", and {len(outcome.deferred)} more were deferred" if outcome.deferred else ""
        count = len(outcome.failures)
        raise dg.Failure(
            f"{outcome.table}: none of {count} instruments could be stored{deferred}; {symbol}: {reason}",
            metadata={"failures": failures_table(outcome.failures.items()), **_waiting(outcome)},
            allow_retries=False,
        )
