"""Trying dead letters again: each is held by one replay, and none is lost by a replay that ends."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier

import pytest
import sqlalchemy as sa

from financehub_dagster.storage.database import schema
from financehub_dagster.storage.database.engine import transaction
from financehub_dagster.storage.dead_letters import replays
from financehub_dagster.storage.dead_letters.dead_letters import Failure, record_failures
from financehub_dagster_tests.fixtures.database import Database

failures = schema.task_failures


def fail(symbol: str, run_id: str | None = None, since: datetime | None = None) -> None:
    with transaction() as connection:
        broke = Failure("stock_prices_daily", "broke", "2024-01-01", symbol, run_id=run_id, since=since)
        record_failures(connection, [broke])


def change(**values: object) -> None:
    with transaction() as connection:
        connection.execute(sa.update(failures).values(values))


def only_row() -> sa.Row:
    with transaction() as connection:
        return connection.execute(sa.select(failures)).one()


def test_eight_replays_at_once_never_hold_the_same_row(database: Database):
    for number in range(40):
        fail(f"S{number}")
    together = Barrier(8)

    def take(replay: int) -> list[int]:
        together.wait()
        with transaction() as connection:
            return [row["id"] for row in replays.claim(connection, f"run-{replay}", range(1, 41), due_only=False)]

    with ThreadPoolExecutor(8) as pool:
        taken = [number for numbers in pool.map(take, range(8)) for number in numbers]
    assert sorted(taken) == list(range(1, 41))


def test_a_row_is_due_when_its_wait_is_over(database: Database):
    fail("AAPL")
    with transaction() as connection:
        assert replays.count_due(connection) == 0
        assert replays.claim(connection, "run", [1], due_only=True) == []
    change(next_retry_at=sa.func.now())
    with transaction() as connection:
        assert replays.count_due(connection) == 1
        assert replays.ids_to_replay(connection, due_only=True) == [1]
        assert [row["status"] for row in replays.claim(connection, "run", [1], due_only=True)] == ["retrying"]
        assert replays.claim(connection, "other", [1], due_only=False) == []


@pytest.mark.parametrize("status", ["retrying", "resolved", "discarded"])
def test_rows_that_do_not_wait_are_not_taken(database: Database, status):
    fail("AAPL")
    change(status=status)
    with transaction() as connection:
        assert replays.ids_to_replay(connection, due_only=False) == []
        assert replays.claim(connection, "run", [1], due_only=False) == []


@pytest.mark.parametrize(("attempts", "expected"), [(1, "open"), (5, "parked"), (6, "parked")])
def test_a_replay_that_ended_gives_its_rows_back_as_failed_once_more(database: Database, attempts, expected):
    fail("AAPL")
    change(attempts=attempts)
    with transaction() as connection:
        replays.claim(connection, "run", [1], due_only=False)
        assert replays.replays_in_progress(connection) == ["run"]
        assert replays.give_back(connection, "another") == 0
        assert replays.give_back(connection, "run") == 1
    row = only_row()
    assert (row.attempts, row.status, row.replay_run_id) == (attempts + 1, expected, None)
    wait = None if expected == "parked" else timedelta(seconds=60 * 2**attempts)
    assert (row.next_retry_at and row.next_retry_at - row.last_failed_at) == wait


def test_only_the_holder_of_a_row_settles_it(database: Database):
    fail("AAPL", run_id="first")
    with transaction() as connection:
        replays.claim(connection, "replay", [1], due_only=False)
        assert replays.resolve_claimed(connection, "other", [1]) == 0
        assert replays.fail_claimed(connection, "other", [1], "no") == 0
    fail("AAPL", run_id="meanwhile")
    with transaction() as connection:
        assert replays.resolve_claimed(connection, "replay", [1]) == 0
    row = only_row()
    assert (row.status, row.attempts, row.run_id, row.replay_run_id) == ("open", 2, "meanwhile", None)


@pytest.mark.parametrize("status", ["open", "parked", "resolved", "discarded"])
def test_a_late_report_of_a_run_changes_nothing_that_was_reported_or_settled_since(database: Database, status):
    began = datetime.now(UTC) - timedelta(minutes=1)
    fail("AAPL", run_id="killed")
    change(status=status, run_id="a later one")
    fail("AAPL", run_id="killed", since=began)
    row = only_row()
    assert (row.status, row.attempts, row.run_id) == (status, 1, "a later one")


def test_a_late_report_counts_where_the_work_failed_before(database: Database):
    fail("AAPL", run_id="first")
    fail("AAPL", run_id="second", since=datetime.now(UTC) + timedelta(minutes=1))
    row = only_row()
    assert (row.attempts, row.run_id) == (2, "second")
