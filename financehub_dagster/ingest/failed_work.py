"""An instrument's work that a run leaves undone: deferred where only time helps, else a dead letter, never both.

Belongs here: writing it down and striking the other. Does not belong here: what becomes of either (replays, schedules,
healing).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Self

from financehub_dagster.gateway.errors import ProviderError
from financehub_dagster.gateway.failover import deferred_until
from financehub_dagster.ingest.outcome import Deferral, Outcome
from financehub_dagster.ingest.partitions import Window
from financehub_dagster.storage.database.engine import Connection
from financehub_dagster.storage.dead_letters import dead_letters, deferred_work
from financehub_dagster.storage.queries.partition_keys import key_of


@dataclass(frozen=True)
class RequestedWork:
    """What a run asked vendors for: a table's days from `first` to `last`, both included, under `partition_key`.

    again_at gives the partitions under which the same is asked at a later time (aware), config is what a run that asks
    the same again is told beside its symbols.
    """

    table: str
    first: date
    last: date
    partition_key: str
    run_id: str
    again_at: Callable[[datetime], str]
    config: Mapping[str, object]

    @classmethod
    def over(cls, table: str, window: Window, run_id: str, providers: Sequence[str] | None) -> Self:
        """What a run over `window` asked for that was limited to these providers (None: it was not)."""
        key, days = window.partition_key, {"start": window.start.isoformat(), "end": window.end.isoformat()}
        return cls(table, window.start, window.end, key, run_id, lambda _: key, days | limited_to(providers))

    def settle(self, connection: Connection, symbols: Sequence[str]) -> None:
        """What failed or waited of `symbols` within these days is done."""
        self.settle_failures(connection, symbols)
        self.settle_deferrals(connection, symbols)

    def settle_failures(self, connection: Connection, symbols: Sequence[str]) -> None:
        """Close the dead letters of `symbols` within these days."""
        if not symbols:
            return
        key = key_of(self.first.isoformat(), self.last.isoformat())
        dead_letters.resolve_failures(connection, task_name=self.table, partition_key=key, symbols=symbols)

    def settle_deferrals(self, connection: Connection, symbols: Sequence[str]) -> None:
        """Forget the deferred work on `symbols` within these days."""
        deferred_work.resolve_deferrals(connection, self.table, self.first, self.last, symbols)


def limited_to(providers: Sequence[str] | None) -> dict[str, object]:
    """What a run is told that is limited to these providers (None: it is not)."""
    return {} if providers is None else {"providers": list(providers)}


def leave_undone(
    connection: Connection, asked: RequestedWork, errors: Mapping[str, ProviderError], outcome: Outcome
) -> None:
    """Write down which error kept each symbol from being done; dead letters first, as everywhere."""
    if not errors:
        return
    until = {symbol: deferred_until(error) for symbol, error in errors.items()}
    dead = [symbol for symbol in errors if until[symbol] is None]
    waiting = {symbol: time for symbol, time in until.items() if time is not None}
    asked.settle_failures(connection, list(waiting))
    dead_letters.record_failures(connection, [_failure(asked, symbol, errors[symbol]) for symbol in dead])
    asked.settle_deferrals(connection, dead)
    deferred_work.defer(
        connection, [_deferral(asked, symbol, errors[symbol], time) for symbol, time in waiting.items()]
    )
    outcome.failures |= {symbol: str(errors[symbol]) for symbol in dead}
    outcome.deferred |= {symbol: Deferral(time, str(errors[symbol])) for symbol, time in waiting.items()}


def _failure(asked: RequestedWork, symbol: str, error: ProviderError) -> dead_letters.Failure:
    return dead_letters.Failure(
        asked.table,
        f"{type(error).__name__}: {error}",
        asked.partition_key,
        symbol,
        error.provider,
        {"symbols": [symbol], **asked.config},
        run_id=asked.run_id,
    )


def _deferral(asked: RequestedWork, symbol: str, error: ProviderError, until: datetime) -> deferred_work.Deferral:
    return deferred_work.Deferral(
        asked.table,
        asked.again_at(until),
        symbol,
        error.provider,
        until,
        str(error),
        {"symbols": [symbol], **asked.config},
        asked.run_id,
    )
