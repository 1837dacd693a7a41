"""From a failed run to rows of task_failures that suffice to do the work again.

Belongs here: which pieces of work a step stands for, and writing those down that a run left undone. Does not belong
here: when this is called (hooks, sensors, recovery) and trying again (replay).

A row's kwargs are `job` (which job ran), `symbols` (which instruments, null: all) and `config` (the rest of the step's
run config). A step over one symbol stands for the work of its tables, so that any run of them settles the row.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dagster as dg

from financehub_dagster.automation.jobs.single_asset import bars_table, minutes_of_step, told, window_of_step
from financehub_dagster.automation.run_facts import op_config
from financehub_dagster.ingest.partitions import range_of
from financehub_dagster.storage.queries.partition_keys import key_of
from financehub_dagster.tables import INTRADAY, TABLES, derived_from

if TYPE_CHECKING:
    from financehub_dagster.automation.failures.replay_groups import Group
    from financehub_dagster.storage.database.engine import Connection
    from financehub_dagster.storage.dead_letters.dead_letters import Failure


@dataclass(frozen=True)
class Piece:
    """Work that can be done again from this alone."""

    task_name: str
    partition_key: str
    symbol: str
    kwargs: dict[str, object]

    @property
    def symbols(self) -> list[str] | None:
        """The instruments it was limited to; None: all."""
        symbols = self.kwargs["symbols"]
        return symbols if isinstance(symbols, list) else None


def partition_of(tags: Mapping[str, str]) -> str:
    """The partition or partition range of a run as dead letters name it; empty for a run without partitions."""
    covered = range_of(tags)
    return "" if covered is None else key_of(*covered)


def pieces_of(run: dg.DagsterRun, op_name: str, began: datetime) -> list[Piece]:
    """The pieces of work that the step `op_name` of a run, begun at `began`, stands for.

    It stands for no piece where its table has partitions and the run was launched without one: trying that again fails
    in the same way.
    """
    from financehub_dagster.storage.database.errors import UnknownInstruments

    config = dict(told(op_name, op_config(run, op_name)))
    symbol = config.get("symbol")
    day = began.astimezone(UTC).date()
    minutes = minutes_of_step(op_name, config, day)
    window = minutes or window_of_step(op_name, config, day)
    if window is None:
        partition = partition_of(run.tags)
        if not partition and op_name in TABLES and TABLES[op_name].partitions:
            return []
        symbols = config.pop("symbols", None)
        kwargs = {"job": run.job_name, "symbols": symbols, "config": config}
        return [Piece(op_name, partition, "", kwargs)]
    try:
        bars = bars_table(str(symbol))
    except UnknownInstruments:
        return []  # nothing is expected of a symbol that no instrument has
    kwargs = {"job": run.job_name, "symbols": [symbol], "config": {}}
    daily = [] if bars is None else [bars, *derived_from(bars)]
    tables = daily if minutes is None else list(INTRADAY)
    return [Piece(table, window.partition_key, str(symbol), dict(kwargs)) for table in tables]


def record_pieces(
    run: dg.DagsterRun, op_name: str, began: datetime, exception: str, traceback: str | None = None
) -> None:
    """Write down the work of one step; work on no table is no work."""
    pieces = pieces_of(run, op_name, began)
    write(failures_of(run, pieces, exception, traceback), pieces)


def failures_of(
    run: dg.DagsterRun,
    pieces: "Iterable[Piece]",
    exception: str,
    traceback: str | None = None,
    since: datetime | None = None,
) -> "list[Failure]":
    """Pieces of a run's work as rows to be written down, free of secrets; a late reporter says `since` when it ran."""
    from financehub_dagster.gateway.redaction import redact
    from financehub_dagster.storage.dead_letters.dead_letters import Failure

    said, where = redact(exception), None if traceback is None else redact(traceback)
    return [
        Failure(
            piece.task_name,
            said,
            piece.partition_key,
            piece.symbol,
            kwargs=piece.kwargs,
            traceback=where,
            run_id=run.run_id,
            since=since,
        )
        for piece in pieces
    ]


def write(failures: "Sequence[Failure]", pieces: Sequence[Piece]) -> None:
    """Write down failures, and have the ledger say so about their pieces of work, in one transaction."""
    from financehub_dagster.storage.database.transactions import in_transaction
    from financehub_dagster.storage.dead_letters.dead_letters import record_failures

    def record(connection: "Connection") -> None:
        record_failures(connection, failures)
        settle_ledger(connection, ((*key, symbols) for key, symbols in _together(pieces).items()))

    in_transaction(record)


def _together(pieces: Iterable[Piece]) -> dict[tuple[str, str], list[str] | None]:
    """The instruments that pieces of one task and partition are about; None: all."""
    found: dict[tuple[str, str], set[str] | None] = {}
    for piece in pieces:
        key = piece.task_name, piece.partition_key
        known = found.get(key, set())
        found[key] = None if known is None or piece.symbols is None else known | set(piece.symbols)
    return {key: None if symbols is None else sorted(symbols) for key, symbols in found.items()}


type Settled = tuple[str, str, Sequence[str] | None]
"""A task, its partition and its instruments (None: all) whose dead letters changed."""


def settle_ledger(connection: "Connection", changed: Iterable[Settled]) -> None:
    """Bring the ledger in line with dead letters that changed; the last act of their transaction.

    Only partitions that are dates have rows in the ledger.
    """
    from financehub_dagster.storage.coverage import ledger
    from financehub_dagster.storage.coverage.facts import months_of

    dated = [(name, months, symbols) for name, key, symbols in changed if (months := months_of(key))]
    everyone = {symbol for _, _, symbols in dated for symbol in symbols or ()}
    if len(dated) > 1:
        ledger.hold(connection, None if any(symbols is None for *_, symbols in dated) else sorted(everyone))
    for name, months, symbols in dated:
        ledger.settle(connection, name, symbols, *months, datetime.now(UTC))


def settle_groups(connection: "Connection", groups: "Iterable[Group]") -> None:
    """Bring the ledger in line with groups of dead letters that changed."""
    settle_ledger(connection, ((group.task_name, group.partition_key, group.sorted_symbols) for group in groups))
