"""Which success settles which dead letter: partitions by containment, instruments by who was worked on."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from financehub_dagster.storage.database import schema
from financehub_dagster.storage.database.engine import transaction
from financehub_dagster.storage.dead_letters.dead_letters import (
    Failure,
    discard_failures,
    live_failures,
    record_failures,
    resolve_failures,
    resolve_step,
)
from financehub_dagster_tests.fixtures.database import Database

TASK = "stock_prices_daily"


def fail(partition_key: str, symbol: str = "AAPL", symbols: list[str] | None = None, task: str = TASK) -> None:
    with transaction() as connection:
        failed = Failure(task, "Unreachable: yahoo", partition_key, symbol, kwargs={"symbols": symbols})
        record_failures(connection, [failed])


RANGES = [
    ("2024-03-01", "2024-03-01", True),
    ("2024-03-01", "2024-01-01...2024-06-01", True),
    ("2024-03-01", "2024-03-01...2024-03-01", True),
    ("2024-03-01", "2024-01-01...2024-02-01", False),
    ("2024-03-01", "2024-04-01...2024-06-01", False),
    ("2023-12-01...2024-02-01", "2023-12-01...2024-02-01", True),
    ("2023-12-01...2024-02-01", "2023-01-01...2024-12-01", True),
    ("2023-12-01...2024-02-01", "2024-01-01...2024-12-01", False),
    ("2023-12-01...2024-02-01", "2023-12-01...2024-01-01", False),
    ("2023-12-01...2024-02-01", "2024-01-01", False),
    ("2024-03-09", "2024-03-01...2024-03-31", True),
    ("", "", True),
    ("", "2024-01-01...2024-12-01", False),
    ("2024-03-01", "", False),
]
"""Which partitions failed, which succeeded since, and whether that settles them."""

INSTRUMENTS = [
    ("AAPL", ["AAPL"], ["AAPL", "GE"], True),
    ("AAPL", ["AAPL"], ["GE"], False),
    ("AAPL", ["AAPL"], [], False),
    ("AAPL", ["AAPL"], None, True),
    ("", ["AAPL", "GE"], ["GE", "MSFT", "AAPL"], True),
    ("", ["AAPL", "GE"], ["AAPL"], False),
    ("", ["AAPL", "GE"], None, True),
    ("", None, ["AAPL", "GE"], False),
    ("", None, None, True),
]
"""A row's symbol and its step's symbols, which succeeded since, and whether that settles it."""

STEPS = [(None, None, True), (None, ["AAPL"], False), (["AAPL"], None, True), (["AAPL"], ["AAPL"], True)]
"""A failed step's symbols, those of one that succeeded since, and whether that settles it."""


def forget() -> None:
    with transaction() as connection:
        connection.execute(sa.delete(schema.task_failures))


def test_partitions_within_those_that_succeeded_are_settled(database: Database, subtests):
    for failed, done, settled in RANGES:
        with subtests.test(failed=failed, done=done):
            forget()
            fail(failed)
            fail(failed, task="another_table")
            with transaction() as connection:
                assert resolve_failures(connection, task_name=TASK, partition_key=done, symbols=["AAPL"]) == settled
                left = {row["task_name"] for row in live_failures(connection)}
            assert left == {"another_table", *([] if settled else [TASK])}


def test_instruments_are_settled_when_all_of_a_row_succeeded(database: Database, subtests):
    for symbol, symbols, done, settled in INSTRUMENTS:
        with subtests.test(symbol=symbol, symbols=symbols, done=done):
            forget()
            fail("2024-03-01", symbol, symbols)
            with transaction() as connection:
                assert resolve_failures(connection, task_name=TASK, partition_key="2024-03-01", symbols=done) == settled


def test_a_step_that_went_on_settles_whole_steps_and_no_instrument(database: Database, subtests):
    for symbols, done, settled in STEPS:
        with subtests.test(symbols=symbols, done=done):
            forget()
            fail("2024-03-01", "", symbols)
            fail("2024-03-01", "AAPL", ["AAPL"])
            with transaction() as connection:
                assert resolve_step(connection, task_name=TASK, partition_key="2024-03-01", symbols=done) == settled
                assert [row["symbol"] for row in live_failures(connection) if row["symbol"]] == ["AAPL"]


def test_only_live_rows_are_settled_or_discarded(database: Database, subtests):
    fail("2024-03-01")
    number = only_row().id
    for status in ("open", "retrying", "parked", "resolved", "discarded"):
        live = status in ("open", "retrying", "parked")
        with subtests.test(status=status), transaction() as connection:
            connection.execute(sa.update(schema.task_failures).values(status=status))
            assert discard_failures(connection, [number, number + 7], "of no use") == ([number] if live else [])
            connection.execute(sa.update(schema.task_failures).values(status=status))
            assert resolve_failures(connection, task_name=TASK, partition_key="2024-03-01") == live


def only_row() -> sa.Row:
    with transaction() as connection:
        return connection.execute(sa.select(schema.task_failures)).one()


def test_a_discarded_row_says_why_and_keeps_what_happened(database: Database):
    fail("2024-03-01")
    with transaction() as connection:
        discard_failures(connection, [1], "of no use")
    row = only_row()
    assert (row.status, row.exception) == ("discarded", "discarded, of no use; Unreachable: yahoo")


def step(run: str, *symbols: str) -> Failure:
    return Failure(TASK, f"killed {run}", "2024-03-01", kwargs={"symbols": list(symbols) or None}, run_id=run)


def whole_step() -> tuple[object, object, object]:
    with transaction() as connection:
        [row] = live_failures(connection)
    kwargs: Any = row["kwargs"]
    return row["attempts"], row["status"], kwargs["symbols"]


def test_a_step_that_fails_for_other_instruments_joins_the_row_and_loses_none(database: Database) -> None:
    """Two runs over one month and different instruments are killed."""
    with transaction() as connection:
        record_failures(connection, [step("one", "AAPL", "GE")])
        record_failures(connection, [step("two", "KO")])
    assert whole_step() == (1, "open", ["AAPL", "GE", "KO"])
    with transaction() as connection:
        record_failures(connection, [step("three", "GE")])
    assert whole_step() == (2, "open", ["AAPL", "GE", "KO"])
    with transaction() as connection:
        record_failures(connection, [step("four", "MSFT"), step("five", "IBM")])
    assert whole_step() == (1, "open", ["AAPL", "GE", "IBM", "KO", "MSFT"])
    with transaction() as connection:
        record_failures(connection, [step("six")])
        record_failures(connection, [step("seven", "AAPL")])
    assert whole_step() == (2, "open", None)


def test_a_late_report_of_other_instruments_is_no_repetition(database: Database) -> None:
    began = datetime.now(UTC) - timedelta(minutes=1)
    with transaction() as connection:
        record_failures(connection, [replace(step("one", "AAPL"), since=began)])
        record_failures(connection, [replace(step("two", "GE"), since=began)])
        record_failures(connection, [replace(step("three", "GE"), since=began)])
    assert whole_step() == (1, "open", ["AAPL", "GE"])
