"""One order of locks in every transaction: what would let two of them wait for each other is refused at once."""

import pytest

from financehub_dagster.storage.database import schema
from financehub_dagster.storage.database.engine import transaction
from financehub_dagster.storage.database.locks import LockOrder, lock_table
from financehub_dagster_tests.fixtures.database import Database


def test_a_transaction_locks_tables_in_the_order_of_their_declaration(module_database: Database) -> None:
    order = [
        schema.instruments,
        schema.table("stock_prices_daily"),
        schema.actions,
        schema.task_failures,
        schema.deferred_work,
        schema.coverage,
    ]
    with transaction() as connection:
        for table in order:
            lock_table(connection, table)
        lock_table(connection, schema.table("stock_prices_daily"))  # it is held already
        assert connection.get_transaction() is not None
    with transaction() as connection:
        lock_table(connection, schema.instruments)  # the next transaction holds nothing


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (schema.task_failures, schema.table("stock_prices_daily")),
        (schema.deferred_work, schema.task_failures),
        (schema.coverage, schema.task_failures),
        (schema.actions, schema.table("stock_prices_daily")),
    ],
    ids=lambda table: table.name,
)
def test_locking_a_table_after_a_later_one_is_refused(module_database: Database, first, second) -> None:
    with transaction() as connection:
        lock_table(connection, first)
        with pytest.raises(LockOrder, match=f"{second.name} is locked after {first.name}"):
            lock_table(connection, second)


def test_symbols_that_are_locked_already_may_be_locked_again(module_database: Database) -> None:
    with transaction() as connection:
        lock_table(connection, schema.coverage, ["AAPL", "MSFT"])
        lock_table(connection, schema.coverage, ["MSFT"])
        lock_table(connection, schema.coverage, [])
        with pytest.raises(LockOrder):
            lock_table(connection, schema.coverage)


def test_a_second_set_of_symbols_of_the_same_table_is_refused(module_database: Database) -> None:
    table = schema.table("indicators_daily")
    with transaction() as connection:
        lock_table(connection, table, ["AAPL"])
        with pytest.raises(LockOrder):
            lock_table(connection, table, ["MSFT"])
