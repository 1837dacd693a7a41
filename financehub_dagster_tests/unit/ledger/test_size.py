"""What the ledger's work costs with many instruments: counted in comparisons, statements and their arrays."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa

from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.settings import get_settings
from financehub_dagster.storage.coverage import ledger
from financehub_dagster.storage.database.engine import transaction
from financehub_dagster.storage.queries.instruments import deactivate_instruments, upsert_instruments
from financehub_dagster_tests.fixtures.database import Database
from financehub_dagster_tests.unit.ledger.ledger_world import CRYPTOS, NOW

COUNT = 250
MAY = NOW.date().replace(month=5, day=1)


@pytest.fixture(scope="module")
def database(module_database: Database) -> Iterator[Database]:
    """The universe of the module: coins, whose sessions are quickly told."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FINANCEHUB_HISTORY_START", MAY.isoformat())
        get_settings.cache_clear()
        with transaction() as connection:
            upsert_instruments(connection, [coin(number) for number in range(COUNT)])
        yield module_database
    get_settings.cache_clear()


def coin(number: int) -> Instrument:
    return Instrument(f"C{number:03d}", "Coin", AssetType.CRYPTO, "XXXX")


@contextmanager
def statements(engine: sa.Engine) -> Iterator[list[tuple[str, Any]]]:
    """What is executed meanwhile: each statement with its parameters."""
    seen: list[tuple[str, Any]] = []

    def see(_connection: Any, _cursor: Any, statement: str, given: Any, _context: Any, _many: bool) -> None:
        seen.append((statement, given))

    sa.event.listen(engine, "before_cursor_execute", see)
    try:
        yield seen
    finally:
        sa.event.remove(engine, "before_cursor_execute", see)


def longest_array(seen: list[tuple[str, Any]]) -> int:
    return max(len(value) for _, given in seen for value in given.values() if isinstance(value, list))


def test_new_instruments_are_not_compared_with_each_other(database: Database, monkeypatch) -> None:
    def compared(self: Instrument, other: object) -> bool:
        raise AssertionError("each new instrument is looked for among all others")

    monkeypatch.setattr(Instrument, "__eq__", compared)
    assert ledger.refresh(NOW) == 2 * COUNT


def test_all_instruments_are_settled_some_at_a_time(database: Database, monkeypatch) -> None:
    monkeypatch.setattr(ledger, "BATCH", 100)
    ledger.refresh(NOW)
    with statements(database.engine) as seen, transaction() as connection:
        assert ledger.settle(connection, CRYPTOS, None, MAY, NOW.date(), NOW) == 0
    assert longest_array(seen) == ledger.BATCH


def test_a_refresh_with_nothing_to_do_reads_and_deletes_nothing(database: Database) -> None:
    ledger.refresh(NOW)
    with statements(database.engine) as seen:
        assert ledger.refresh(NOW) == 0
    assert {statement.split()[0].upper() for statement, _ in seen} == {"SELECT"}


def test_a_refresh_deletes_the_rows_of_those_that_left(database: Database) -> None:
    ledger.refresh(NOW)
    with transaction() as connection:
        deactivate_instruments(connection, ["C000", "C001"])
    assert ledger.refresh(NOW) == 4
    assert ledger.rebuild(NOW) == 0
