"""From vendors' answers to stored rows: the engine behind quotes, markets, fundamentals and news.

Belongs here: the order of work for one run (ask, judge, write, settle). Does not belong here: which vendors are asked
(providers.routing), how a kind of rows is written (`snapshot_rows`), SQL and Dagster's events.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from itertools import batched
from logging import Logger

from financehub_dagster.gateway.errors import NotConfigured, ProviderError
from financehub_dagster.gateway.request_context import counting
from financehub_dagster.ingest import agreement
from financehub_dagster.ingest.concurrency import apart
from financehub_dagster.ingest.failed_work import RequestedWork, leave_undone, limited_to
from financehub_dagster.ingest.outcome import Outcome
from financehub_dagster.ingest.partitions import partition_at
from financehub_dagster.ingest.snapshot_rows import STORES
from financehub_dagster.market.instruments import Instrument
from financehub_dagster.providers.base import Answers
from financehub_dagster.providers.routing import AnswersRouter
from financehub_dagster.storage.database import locks, schema
from financehub_dagster.storage.database.engine import Connection
from financehub_dagster.storage.database.transactions import in_transaction
from financehub_dagster.storage.queries.partition_keys import ends_of
from financehub_dagster.tables import SNAPSHOTS
from financehub_dagster.wording import counted


@dataclass(frozen=True)
class SnapshotRun:
    """One run's order: what is asked of whom, for which table and partition, on whose behalf.

    since is the beginning of a question that has one; without it the question is about now.
    """

    table: str
    router: AnswersRouter
    partition_key: str
    run_id: str
    since: datetime | None = None


def update_answers(work: SnapshotRun, instruments: Sequence[Instrument], log: Logger) -> Outcome:
    """Ask about the instruments, store what is said and return what became of each.

    An instrument that fails is recorded as a dead letter and reported; the others are stored. One whose vendors have
    spent their budgets is deferred to the reset, one whose vendors have no key is only reported: nothing failed. Each
    batch is one transaction with its failures.
    """
    outcome = Outcome(work.table)
    for batch in batched(instruments, SNAPSHOTS[work.table].batch):
        with counting() as sent:
            answers, errors = apart(partial(_ask, work), batch)
        outcome.calls += sent.requests
        outcome.include(in_transaction(partial(_store, work, batch, answers, errors)))
        done, failed = len(outcome.done), len(outcome.failures)
        log.info(f"{work.table}: {done} of {counted(len(instruments), 'instrument')} done, {failed} failed")
    if outcome.off:
        off = counted(len(outcome.off), "instrument")
        log.warning(f"{work.table}: {off} not asked about, {next(iter(outcome.off.values()))}")
    return outcome


def _ask(work: SnapshotRun, batch: Sequence[Instrument]) -> tuple[list[Answers], dict[str, ProviderError]]:
    believed = agreement.without_strangers if SNAPSHOTS[work.table].priced else None
    return work.router.ask(batch, work.since, believed)


def _store(
    work: SnapshotRun,
    batch: Sequence[Instrument],
    answers: Sequence[Answers],
    errors: Mapping[str, ProviderError],
    connection: Connection,
) -> Outcome:
    """Write a batch and what it settles; returns what became of its instruments."""
    outcome = Outcome(work.table)
    locks.lock_table(connection, schema.table(work.table))
    for answer in answers:
        if len(answer.rows):
            outcome.sources[answer.source] += len(answer.rows)
            STORES[SNAPSHOTS[work.table].keeps](connection, answer, work.run_id, outcome)
    off = work.router.why_off([each.asset_type for each in batch])
    outcome.off = {symbol: off or str(error) for symbol, error in errors.items() if isinstance(error, NotConfigured)}
    failed = {symbol: error for symbol, error in errors.items() if symbol not in outcome.off}
    done = [each.symbol for each in batch if each.symbol not in errors]
    asked = _asked(work)
    asked.settle(connection, done)
    leave_undone(connection, asked, failed, outcome)
    outcome.done += done
    told = _told(answers)
    outcome.empty += [symbol for symbol in done if symbol not in told]
    return outcome


def _asked(work: SnapshotRun) -> RequestedWork:
    """What was just asked makes up for all that failed or waited since the beginning of the question.

    A question about now has no beginning, and what waits for its budget is kept under the partition of that day.
    """
    key, config = work.partition_key, limited_to(work.router.only)
    if work.since is None:
        again_at = partial(partition_at, work.table)
        return RequestedWork(work.table, date.min, date.max, key, work.run_id, again_at, config)
    last = date.fromisoformat(ends_of(key)[1])
    return RequestedWork(work.table, work.since.date(), last, key, work.run_id, again_at=lambda _: key, config=config)


def _told(answers: Sequence[Answers]) -> set[str]:
    """The instruments that some row is about."""
    named: set[str] = set()
    for answer in answers:
        for column in ("symbol", "symbols"):
            for value in answer.rows.get(column, ()):
                named.update([value] if column == "symbol" else value)
    return named
