"""From vendors' answers to stored rows: the engine behind quotes, markets, fundamentals and news.

Belongs here: the order of work for one run (ask, judge, write, settle). Does not belong here: which vendors are asked
(providers.answer_routing), how a kind of rows is written (`answer_rows`), SQL and Dagster's events.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import batched
from logging import Logger
from typing import Any

from financehub_dagster.assets.outcome import Outcome, PutOff
from financehub_dagster.assets.partitions import partition_at
from financehub_dagster.gateway.errors import NotConfigured, ProviderError
from financehub_dagster.gateway.router import put_off_until
from financehub_dagster.market.instruments import Instrument
from financehub_dagster.providers.answer_routing import AnswersRouter, Routed
from financehub_dagster.providers.base import Answers
from financehub_dagster.storage import deferrals, failures
from financehub_dagster.storage.engine import Connection, transaction
from financehub_dagster.storage.partition_keys import ends_of, key_of

type Store = Callable[[Connection, Answers, str, Outcome], None]
"""Write one vendor's answer under a run id and count what became of its rows."""

TOGETHER = {"quotes": 5_000, "crypto_markets": 5_000, "fundamentals": 25, "news_articles": 100}
"""Instruments per question and write. Where one request serves many, or all, there is one question; where each takes
its own, a killed run loses at most so many answers."""


@dataclass(frozen=True)
class Work:
    """One run's order: what is asked of whom, for which table and partition, on whose behalf.

    since is the beginning of a question that has one; without it the question is about now.
    """

    table: str
    router: AnswersRouter
    vendors: Mapping[str, Any]
    partition_key: str
    run_id: str
    since: datetime | None = None
    providers: Sequence[str] | None = None


def update_answers(work: Work, instruments: Sequence[Instrument], store: Store, log: Logger) -> Outcome:
    """Ask about the instruments, store what is said and return what became of each.

    An instrument that fails is recorded as a dead letter and reported; the others are stored. One whose vendors have
    spent their budgets is put off to the reset, one whose vendors have no key is only reported: nothing failed. Each
    batch is one transaction with its failures.
    """
    outcome = Outcome(work.table)
    for batch in batched(instruments, TOGETHER[work.table]):
        routed = work.router.ask(work.vendors, batch, work.since, work.providers)
        with transaction() as connection:
            _settle(work, connection, batch, routed, store, outcome)
        done, failed = len(outcome.done), len(outcome.failures)
        log.info(f"{work.table}: {done} of {len(instruments)} instruments done, {failed} failed")
    if outcome.off:
        log.warning(f"{work.table}: {len(outcome.off)} instruments not asked about, {next(iter(outcome.off.values()))}")
    return outcome


def _settle(
    work: Work, connection: Connection, batch: Sequence[Instrument], routed: Routed, store: Store, outcome: Outcome
) -> None:
    for answer in routed.answers:
        outcome.calls += answer.calls
        if len(answer.rows):
            outcome.sources[answer.source] = outcome.sources.get(answer.source, 0) + len(answer.rows)
            store(connection, answer, work.run_id, outcome)
    off = work.router.why_off([each.asset_type for each in batch], work.providers) or ""
    for symbol, error in routed.failed.items():
        if isinstance(error, NotConfigured):
            outcome.off[symbol] = off or str(error)
        elif (until := put_off_until(error)) is not None:
            outcome.deferred[symbol] = PutOff(until, str(error))
            _defer(work, connection, symbol, error, until)
        else:
            outcome.failures[symbol] = str(error)
            _record(work, connection, symbol, error)
    done = [each.symbol for each in batch if each.symbol not in routed.failed]
    _resolve(work, connection, done)
    outcome.done += done
    told = _told(routed.answers)
    outcome.empty += [symbol for symbol in done if symbol not in told]


def _record(work: Work, connection: Connection, symbol: str, error: ProviderError) -> None:
    failures.record_failure(
        connection,
        task_name=work.table,
        partition_key=work.partition_key,
        symbol=symbol,
        provider=error.provider,
        kwargs=_kwargs(work, symbol),
        exception=f"{type(error).__name__}: {error}",
        run_id=work.run_id,
    )


def _defer(work: Work, connection: Connection, symbol: str, error: ProviderError, until: datetime) -> None:
    deferrals.defer(
        connection,
        task_name=work.table,
        partition_key=work.partition_key if work.since else partition_at(work.table, until),
        symbol=symbol,
        provider=error.provider,
        until=until,
        reason=str(error),
        kwargs=_kwargs(work, symbol),
        run_id=work.run_id,
    )


def _kwargs(work: Work, symbol: str) -> dict[str, object]:
    """What a run that does the same again has to be told."""
    return {"symbols": [symbol], **({} if work.providers is None else {"providers": list(work.providers)})}


def _resolve(work: Work, connection: Connection, done: Sequence[str]) -> None:
    """What was just asked makes up for all that failed or waited since the beginning of the question."""
    first = date.min if work.since is None else work.since.date()
    last = ends_of(work.partition_key)[1]
    failures.resolve_failures(
        connection, task_name=work.table, partition_key=key_of(first.isoformat(), last), symbols=done
    )
    deferrals.resolve_deferrals(connection, work.table, first, date.fromisoformat(last), done)


def _told(answers: Sequence[Answers]) -> set[str]:
    """The instruments that some row is about."""
    named: set[str] = set()
    for answer in answers:
        for column in ("symbol", "symbols"):
            for value in answer.rows.get(column, ()):
                named.update([value] if column == "symbol" else value)
    return named
