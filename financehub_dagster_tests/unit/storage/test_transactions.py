"""Transactions that PostgreSQL breaks off: tried again a few times, then one line that says so."""

import pytest
import sqlalchemy as sa

from financehub_dagster.storage.database import transactions
from financehub_dagster.storage.database.engine import Connection
from financehub_dagster.storage.database.errors import DatabaseError, StatementFailed
from financehub_dagster.storage.database.transactions import in_transaction
from financehub_dagster_tests.fixtures.database import Database


def broken_off(connection: Connection, state: str) -> None:
    connection.execute(sa.text(f"do $$ begin raise 'no' using errcode = '{state}'; end $$"))


@pytest.mark.parametrize("state", ["40P01", "40001"])
def test_work_that_is_broken_off_is_done_again_from_its_beginning(module_database: Database, state: str) -> None:
    tries = []

    def work(connection: Connection) -> int:
        tries.append(connection.scalar(sa.text("select pg_current_xact_id()")))
        if len(tries) < 3:
            broken_off(connection, state)
        return len(tries)

    assert in_transaction(work) == 3
    assert len(set(tries)) == 3, "a transaction was used twice"


def test_work_that_is_broken_off_every_time_says_so_in_one_line(module_database: Database, monkeypatch) -> None:
    monkeypatch.setattr(transactions, "LONGEST_WAIT_SECONDS", 0.001)
    with pytest.raises(DatabaseError, match=r"deadlock 6 times in a row; nothing was written: try again$") as raised:
        in_transaction(lambda connection: broken_off(connection, "40P01"))
    assert "\n" not in str(raised.value)


def test_every_other_error_is_raised_at_once(module_database: Database) -> None:
    tries = []

    def work(connection: Connection) -> None:
        tries.append(1)
        broken_off(connection, "23514")

    with pytest.raises(StatementFailed, match=r"refuses a statement: no \(CheckViolation, 23514\)$"):
        in_transaction(work)
    assert len(tries) == 1
