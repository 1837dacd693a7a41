"""The minute's check of the platform tries a deadlock or serialization failure again, whatever it records."""

from datetime import UTC, datetime

from financehub_dagster.operations import sla
from financehub_dagster.operations.watch import look
from financehub_dagster.storage.database import transactions
from financehub_dagster.storage.database.transactions import in_transaction
from financehub_dagster.storage.operations import sla_breaches
from financehub_dagster.storage.operations.sla_breaches import Breach
from financehub_dagster_tests.fixtures.broken_off import OPERATIONS, break_off_first_writes, never_written


def test_all_that_is_recorded_is_recorded_although_its_first_write_was_broken_off(
    dagster_tables, database, monkeypatch
):
    monkeypatch.setattr(transactions, "TRIES", 6)
    monkeypatch.setattr(transactions, "LONGEST_WAIT_SECONDS", 0.01)
    dagster_tables.run("good", "SUCCESS", seconds=2.0)
    break_off_first_writes(database.engine, OPERATIONS)
    late = Breach("quotes", "XNYS", 60.0, 120.0, "two minutes late")
    in_transaction(lambda connection: sla_breaches.follow(connection, "freshness", [late]))
    sla.follow_freshness(datetime.now(UTC))
    assert look(always=True).health is not None
    assert never_written(database.engine, OPERATIONS) == []
