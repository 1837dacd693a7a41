"""What a run did to one table, and how that reads in the webserver.

Belongs here: counting and the metadata of a materialization. Does not belong here: doing the work.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import TYPE_CHECKING

import dagster as dg

from financehub_dagster.ingest.record_table import record_table
from financehub_dagster.wording import counted

if TYPE_CHECKING:
    from financehub_dagster.storage.upsert.upsert import WriteResult


TAKEN_BACK = "taken_back_by_first_choice"
RESTATED, READJUSTED = "restated_after_split", "restated_after_dividend"
REWRITTEN = (TAKEN_BACK, RESTATED, READJUSTED)
"""Metadata that lists instruments, with a comma between them, of which a run wrote sessions outside of its window."""
HEALS_TAG = "financehub/heals"
"""On a run that fills gaps: the table whose gaps they are."""
REPLAY_TAG = "financehub/replay_of"
"""On a run that tries dead letters again: the run of `replay_dead_letters` that holds the rows, and settles them."""


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
    calls counts requests to vendors, those that brought no answer included, from_bulk_files bars that came from files
    of vendors instead of their APIs, ignored bars outside of trading hours, doubtful stored bars that break a rule by a
    plausible margin, replaced those that another vendor had a better one for, withdrawn rows that the provider no
    longer tells, and of computed tables those that are no longer computed. unclaimed lists instruments whose provider
    may not have told all there is, taken_back those whose rows the first choice among the providers replaced after
    another one had answered, restated and readjusted those whose whole history was fetched again after a split and
    after a dividend, applied those with a split that was taken out here, doubted those whose answer lacks too much to
    be believed.
    """

    table: str
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    rejected: int = 0
    from_bulk_files: int = 0
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
    sources: Counter[str] = field(default_factory=Counter)
    answered_by: Counter[str] = field(default_factory=Counter)
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
        for each in fields(self):
            own, other = getattr(self, each.name), getattr(part, each.name)
            if each.name != "table":  # a Counter is a dict too, and its counts add up
                setattr(self, each.name, own | other if type(own) is dict else own + other)


def _reasons(failures: Mapping[str, str]) -> dg.TableMetadataValue:
    """Failed instruments and their reasons as a table that the webserver shows at once."""
    records = ({"symbol": symbol, "reason": reason} for symbol, reason in failures.items())
    return record_table(("symbol", "reason"), records)


def run_metadata(outcome: Outcome, first: str, last: str) -> dict[str, dg.MetadataValue]:
    """The numbers every materialization of a run carries; `first` and `last` are session dates."""
    always = {
        "rows_inserted": outcome.inserted,
        "rows_updated": outcome.updated,
        "rows_unchanged": outcome.unchanged,
        "rows_rejected": outcome.rejected,
        "instruments_done": len(outcome.done),
        "instruments_failed": len(outcome.failures),
        "instruments_deferred": len(outcome.deferred),
        "instruments_empty": len(outcome.empty),
        "vendor_calls": outcome.calls,
    }
    sometimes = {
        "bars_from_bulk_files": outcome.from_bulk_files,
        "rows_outside_trading_hours": outcome.ignored,
        "rows_doubtful": outcome.doubtful,
        "rows_from_next_vendor": outcome.replaced,
        "rows_withdrawn": outcome.withdrawn,
    }
    sources = {"rows_by_source": outcome.sources, "instruments_by_source": outcome.answered_by}
    named = {
        "possibly_incomplete": outcome.unclaimed,
        TAKEN_BACK: outcome.taken_back,
        RESTATED: outcome.restated,
        READJUSTED: outcome.readjusted,
        "splits_applied": outcome.applied,
        "incomplete_answers": sorted(set(outcome.doubted)),
    }
    return {
        **{name: dg.MetadataValue.int(count) for name, count in always.items()},
        "span": dg.MetadataValue.text(f"{first} to {last}"),
        **{name: dg.MetadataValue.int(count) for name, count in sometimes.items() if count},
        **{name: dg.MetadataValue.json(dict(counts)) for name, counts in sources.items() if counts},
        **{name: dg.MetadataValue.text(", ".join(symbols)) for name, symbols in named.items() if symbols},
        **({"off": _reasons(outcome.off)} if outcome.off else {}),
        **_undone(outcome),
    }


def _undone(outcome: Outcome) -> dict[str, dg.MetadataValue]:
    """The instruments whose work failed, and those whose work was deferred, until when; each with the reason."""
    found: dict[str, dg.MetadataValue] = {}
    if outcome.failures:
        found["failures"] = _reasons(outcome.failures)
    if outcome.deferred:
        records = (
            {"symbol": symbol, "until": f"{each.until:%Y-%m-%d %H:%M:%S} UTC", "reason": each.reason}
            for symbol, each in outcome.deferred.items()
        )
        found["deferred"] = record_table(("symbol", "until", "reason"), records)
    return found


class NothingStored(dg.Failure):
    """No instrument of a step could be stored: each has a dead letter of its own, or waits for a vendor's budget."""


def raise_if_nothing_worked(outcome: Outcome, run: dg.DagsterRun) -> None:
    """Raise NothingStored when instruments failed and none is done; one line names how many and the first reason.

    Not in a run that heals or replays: each instrument has its dead letter, and if that run failed, the webserver would
    show every partition of its range as failed, whatever these hold of all other instruments.
    """
    tried_again = HEALS_TAG in run.tags or REPLAY_TAG in run.tags
    if outcome.failures and not outcome.done and not tried_again:
        symbol, reason = next(iter(outcome.failures.items()))
        deferred = f", {len(outcome.deferred)} deferred" if outcome.deferred else ""
        failed = counted(len(outcome.failures), "instrument")
        raise NothingStored(
            f"{outcome.table}: nothing stored, {failed} failed{deferred}; {symbol}: {reason}",
            metadata=_undone(outcome),
            allow_retries=False,
        )
