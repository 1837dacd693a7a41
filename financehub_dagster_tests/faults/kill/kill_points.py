"""Where a process is killed: named moments of the product's own functions.

Belongs here: the list of points and which work passes them. Does not belong here: how a function is caught at its
moment (kill_switch) and what is asserted after it (kill_invariants).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import dagster as dg

STOCKS, CRYPTOS, INDICATORS = "stock_prices_daily", "crypto_prices_daily", "indicators_daily"
QUOTES = "quotes"
MINUTES, HOURLY = "ohlc_1m", "indicators_1h"
FAILING, REFUSED = "failing_stock_prices_daily", "refused_stock_prices_daily"
REPLAY, RECOVERY = "replay_dead_letters", "recovery"
FETCHING = (STOCKS, CRYPTOS, MINUTES)
COMPUTING = (INDICATORS, HOURLY)
FILLING = (*FETCHING, *COMPUTING)
ASKING = (*FETCHING, QUOTES)
STORING = (*FILLING, QUOTES)


def always(*_arguments: Any, **_options: Any) -> bool:
    """Every call counts."""
    return True


def is_event(event_type: dg.DagsterEventType, _instance: object, event: Any, **_options: Any) -> bool:
    """Calls of `handle_new_event` with an event of this type count."""
    return event.dagster_event is not None and event.dagster_event.event_type == event_type


def begins_with(text: str, _dialect: object, _cursor: object, statement: str, *_more: Any) -> bool:
    """Calls of SQLAlchemy's `do_execute` whose statement begins with `text` count."""
    return statement.lower().startswith(text)


def wrote_something(_dialect: object, connection: Any) -> bool:
    """Calls of SQLAlchemy's `do_commit` that end a transaction which has changed anything count."""
    cursor = connection.cursor()
    cursor.execute("select pg_current_xact_id_if_assigned() is not null")
    return bool(cursor.fetchone()[0])


@dataclass(frozen=True)
class Point:
    """The `turn`-th time that `target` (module:name.name) is before, after or, for a generator, between two pieces.

    Only calls that `counts` says yes to are counted; `works` are those that pass here.
    """

    name: str
    moment: Literal["before", "after", "between"]
    target: str
    works: tuple[str, ...] = FILLING
    turn: int = 1
    counts: Callable[..., bool] = always


_VENDOR = "financehub_dagster.gateway.client:VendorClient.perform"
_WRITE = "financehub_dagster.storage.upsert.upsert:write"
_PIECES = "financehub_dagster.storage.upsert.binary_copy:encode"
_STATEMENT = "sqlalchemy.dialects.postgresql.psycopg:PGDialect_psycopg.do_execute"
_COMMIT = "sqlalchemy.dialects.postgresql.psycopg:PGDialect_psycopg.do_commit"
_EVENT = "dagster:DagsterInstance.handle_new_event"
_HOOKS = "financehub_dagster.automation.failures.dead_letters"
_NOTES = "financehub_dagster.storage.lineage.pending_materializations:clear_notes"
_REPLAYS = "financehub_dagster.storage.dead_letters.replays"
_RECOVERY = "financehub_dagster.automation.failures.recovery"
_LOCK = partial(begins_with, "select pg_advisory_xact_lock")
_CHECKED = partial(is_event, dg.DagsterEventType.ASSET_CHECK_EVALUATION)
_MATERIALIZED = partial(is_event, dg.DagsterEventType.ASSET_MATERIALIZATION)

POINTS = (
    # Fetching and computing.
    Point("before_fetch", "before", _VENDOR, ASKING),
    Point("after_fetch", "after", _VENDOR, ASKING, turn=2),
    Point("before_read", "before", "financehub_dagster.storage.queries.bars:read_bars", (INDICATORS,)),
    Point("before_read_hours", "before", "financehub_dagster.storage.queries.minutes:read", (HOURLY,)),
    Point("after_compute", "after", "financehub_dagster.market.indicators.engine:compute_many", COMPUTING),
    # Writing: one transaction with the ledger, revisions and marks.
    Point("before_write", "before", _WRITE, STORING),
    Point("mid_copy", "between", _PIECES, turn=3),
    Point("before_lock", "before", _STATEMENT, STORING, counts=_LOCK),
    Point("while_locking", "after", _STATEMENT, STORING, counts=_LOCK),
    Point("after_update", "after", _STATEMENT, counts=partial(begins_with, "update ")),
    Point("after_insert", "after", _STATEMENT, STORING, counts=partial(begins_with, "insert into")),
    Point("after_write", "after", _WRITE, STORING),
    Point("before_commit", "before", _COMMIT, STORING, counts=wrote_something),
    Point("after_commit", "after", _COMMIT, STORING, counts=wrote_something),
    Point("after_second_commit", "after", _COMMIT, STORING, turn=2, counts=wrote_something),
    # Reporting.
    Point("before_event", "before", _EVENT, STORING, counts=_MATERIALIZED),
    Point("after_event", "after", _EVENT, counts=_MATERIALIZED, turn=2),
    Point("during_success_hook", "before", _NOTES, STORING),
    Point("after_success_hook", "after", _COMMIT, turn=3, counts=wrote_something),
    Point("during_checks", "after", _EVENT, counts=_CHECKED, turn=2),
    Point("before_end", "before", _EVENT, STORING, counts=partial(is_event, dg.DagsterEventType.RUN_SUCCESS)),
    # Failing.
    Point(
        "before_failure_is_noted",
        "before",
        "financehub_dagster.storage.dead_letters.dead_letters:record_failures",
        (FAILING,),
    ),
    Point("before_failure_hook", "before", f"{_HOOKS}:record_pieces", (REFUSED,)),
    Point("during_failure_hook", "before", f"{_HOOKS}:settle_ledger", (REFUSED,)),
    Point("after_failure_hook", "after", f"{_HOOKS}:record_pieces", (REFUSED,)),
    # Replaying.
    Point("before_replay_claim", "before", f"{_REPLAYS}:claim", (REPLAY,)),
    Point("during_replay_claim", "after", f"{_REPLAYS}:claim", (REPLAY,)),
    Point("during_replay_fetch", "before", _VENDOR, (REPLAY,)),
    Point("during_replay_work", "before", _WRITE, (REPLAY,)),
    Point("before_resolve", "before", f"{_REPLAYS}:resolve_claimed", (REPLAY,)),
    # Recovering.
    Point("before_recovery", "before", f"{_RECOVERY}:fail_lost_runs", (RECOVERY,)),
    Point("after_failing_lost_runs", "after", f"{_RECOVERY}:fail_lost_runs", (RECOVERY,)),
    Point("after_writing_unfinished", "after", f"{_RECOVERY}:write_unfinished", (RECOVERY,)),
    Point("during_report", "after", "dagster:DagsterInstance.report_runless_asset_event", (RECOVERY,), turn=2),
    Point("before_giving_back", "before", f"{_RECOVERY}:give_back_rows", (RECOVERY,)),
)
