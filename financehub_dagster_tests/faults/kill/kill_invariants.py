"""What every reader of the database may rely on, at any time and after a recovery, as questions put to it.

Belongs here: the contents of the tables as one value per instrument, and the statements that hold. Does not belong
here: who disturbs what (kill_world).
"""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dagster as dg
import psycopg
from psycopg import sql

from financehub_dagster.automation.failures.lost_runs import UNFINISHED
from financehub_dagster.storage.coverage import ledger, minute_rebuild
from financehub_dagster_tests.faults.kill.kill_points import MINUTES

if TYPE_CHECKING:
    from financehub_dagster_tests.faults.kill.kill_scene import Scene, Trace
    from financehub_dagster_tests.faults.kill.kill_world import Work

TABLES = (
    "stock_prices_daily", "crypto_prices_daily", "corporate_actions", "indicators_daily", "price_revisions",
    "rejected_rows", "dirty_marks", "coverage", "quotes", "ohlc_1m", "ohlc_5m", "ohlc_15m", "ohlc_1h", "indicators_1h",
    "minute_coverage", "minute_gaps",
)  # fmt: skip
"""The tables that hold what is known of an instrument."""
CIRCUMSTANCES = (
    "fetched_at", "computed_at", "replaced_at", "rejected_at", "settled_at", "id", "run_id", "version", "asked_at",
    "next_ask_at",
)  # fmt: skip
"""Columns that say when and by which run a row came to be, not what is known."""
WAITING = ("gap", "dead_lettered", "deferred")
"""Columns of the ledger that say what becomes of work that is not done; they change without it being done."""

MONTH = "date_trunc('month', date)::date"
PARTITION_OF = {
    "quotes": "(quoted_at at time zone 'utc')::date",
    "ohlc_1m": "(ts at time zone 'utc')::date",
    "indicators_1h": "(ts at time zone 'utc')::date",
}
"""The partition of a row, where it is not its month."""

type Contents = dict[str, str]
"""By instrument, one value that stands for all its rows in all tables."""


def contents(connection: psycopg.Connection, but: tuple[str, ...] = WAITING) -> Contents:
    """What the market database holds, by instrument, as one reader sees it in one statement; without columns `but`."""
    line = "to_jsonb(t) - %(but)s::text[] #- '{{old,fetched_at}}'"
    rows = sql.SQL(" union all ").join(
        sql.SQL("select symbol, {name} || (" + line + ")::text as line from {table} t").format(
            name=sql.Literal(name), table=sql.Identifier(name)
        )
        for name in TABLES
    )
    query = sql.SQL("select symbol, md5(string_agg(line, chr(10) order by line)) from ({rows}) group by symbol")
    return dict(connection.execute(query.format(rows=rows), {"but": [*CIRCUMSTANCES, *but]}).fetchall())


def versions(connection: psycopg.Connection) -> list[tuple[object, ...]]:
    """Something cheap that differs whenever `contents` does: any row written or removed since changes it."""
    each = sql.SQL(" union all ").join(
        sql.SQL("select count(*), sum(xmin::text::bigint) from {}").format(sql.Identifier(name)) for name in TABLES
    )
    return connection.execute(each).fetchall()


def assert_nothing_half_done(trace: "Trace", work: "Work") -> None:
    """At any time every instrument is as before or as after, in all tables at once, and never as before again."""
    done: set[str] = set()
    for number, seen in enumerate(trace.seen):
        for symbol in work.before.contents.keys() | work.after.keys():
            before, after, now = (c.get(symbol) for c in (work.before.contents, work.after, seen))
            assert now in (before, after), f"reader {number} of {len(trace.seen)} saw {symbol} half done"
            if symbol in done:
                assert now == after, f"{symbol} was stored when a reader looked, and is lost"
            if now == after:
                done.add(symbol)


def assert_recovered(scene: "Scene", work: "Work") -> None:
    """After a recovery no run goes on, no claim and no note is left, and the ledger knows of every session."""
    assert scene.instance.get_runs(dg.RunsFilter(statuses=UNFINISHED)) == []
    with scene.connect() as connection:
        assert _all(connection, "select run_id, table_name from unreported_writes") == []
        assert _all(connection, "select id from task_failures where status = 'retrying'") == []
        undone = (
            "select symbol, gap from coverage where table_name = %s and symbol = any(%s)"
            " and gap && daterange(%s::date, (%s::date + interval '1 month')::date)"
        )
        table = work.run.tables[0]
        if table == MINUTES:
            assert _unsettled_minutes(connection, work) == []
        assert _all(connection, undone, table, list(work.run.symbols), work.run.first, work.run.last) == []
        partitions = _all(connection, f"select distinct {PARTITION_OF.get(table, MONTH)}::text from {table}")
    reported = scene.instance.get_materialized_partitions(dg.AssetKey(table))
    assert {partition for (partition,) in partitions} <= reported
    assert_ledger_is_true()


def _unsettled_minutes(connection: psycopg.Connection, work: "Work") -> list[tuple[object, ...]]:
    """The instruments of the work whose minutes are neither all settled nor waiting as a dead letter."""
    query = """
        select symbol from unnest(%(symbols)s::text[]) as asked (symbol) where not exists (
            select from task_failures as f where f.task_name = %(table)s and f.symbol in (asked.symbol, '')
            and status in ('open', 'retrying', 'parked')
        ) and (
            exists (select from minute_gaps as g where g.symbol = asked.symbol and next_ask_at is not null)
            or not exists (
                select from minute_coverage as c where c.symbol = asked.symbol
                and complete_to >= %(last)s::timestamptz + interval '1 day'
            )
        )"""
    values = {"symbols": list(work.run.symbols), "table": MINUTES, "last": f"{work.run.last}Z"}
    return connection.execute(query, values).fetchall()


def assert_ledger_is_true() -> None:
    """The ledger, and that of minutes, equals the one that is computed anew from the facts."""
    now = datetime.now(UTC)
    assert ledger.rebuild(now) == 0
    assert minute_rebuild.rebuild(now) == 0


def assert_no_duplicates(scene: "Scene") -> None:
    """No two rows of a key, looked for without the help of an index, and one live dead letter per piece of work."""
    keys = {
        "stock_prices_daily": "symbol, date",
        "crypto_prices_daily": "symbol, date",
        "indicators_daily": "symbol, date",
        "corporate_actions": "symbol, date, kind",
        "coverage": "table_name, symbol",
        "quotes": "symbol, quoted_at",
        **dict.fromkeys(("ohlc_1m", "ohlc_5m", "ohlc_15m", "ohlc_1h", "indicators_1h"), "symbol, ts"),
    }
    with scene.connect() as connection:
        connection.execute("set enable_indexscan = off; set enable_indexonlyscan = off; set enable_bitmapscan = off")
        for table, key in keys.items():
            twice = sql.SQL(f"select {key} from {table} group by {key} having count(*) > 1")
            assert connection.execute(twice).fetchall() == [], table
        live = (
            "select task_name, partition_key, symbol from task_failures where status in ('open', 'retrying', 'parked')"
        )
        assert _all(connection, f"{live} group by 1, 2, 3 having count(*) > 1") == []


def assert_nothing_waits(scene: "Scene") -> None:
    """Nothing of the work is left to be done."""
    with scene.connect() as connection:
        assert _all(connection, "select * from task_failures where status in ('open', 'retrying', 'parked')") == []
        assert _all(connection, "select * from deferred_work") == []


def _all(connection: psycopg.Connection, query: str, *values: object) -> list[tuple[object, ...]]:
    return connection.execute(query, values).fetchall()


def assert_survived(scene: "Scene", work: "Work", trace: "Trace") -> None:
    """Nothing half done while it ran, everything accounted for after a recovery, everything done after a replay."""
    trace.seen.append(scene.look())
    assert_nothing_half_done(trace, work)
    scene.recover()
    assert_recovered(scene, work)
    assert not scene.recover(), "a second recovery found something to do"
    scene.heal()
    assert scene.look() == work.after
    assert_nothing_waits(scene)
    assert_no_duplicates(scene)
    assert_ledger_is_true()
