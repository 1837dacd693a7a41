"""Rows that no person can have replayed: each is refused in one line that says what it is and what to do."""

import pytest
import sqlalchemy as sa

from financehub_dagster.cli.errors import WrongUsage
from financehub_dagster.cli.reports.dlq import rows_to_replay
from financehub_dagster_tests.fixtures.database import Database

REFUSED = {
    1: "dead letter 1 is being replayed by run 0a1b2c3d: wait for it",
    2: "dead letter 2 is discarded: there is nothing to replay",
    3: "dead letter 3 is resolved: there is nothing to replay",
    99: "there is no dead letter 99",
}


@pytest.fixture
def rows(database: Database) -> Database:
    with database.engine.begin() as connection:
        connection.execute(
            sa.text(
                "insert into task_failures (task_name, symbol, exception, status, replay_run_id) values"
                " ('quotes', 'A', 'down', 'retrying', '0a1b2c3d-0000'), ('quotes', 'B', 'down', 'discarded', null),"
                " ('quotes', 'C', 'down', 'resolved', null), ('quotes', 'D', 'down', 'parked', null)"
            )
        )
    return database


@pytest.mark.parametrize(("number", "reason"), REFUSED.items())
def test_a_row_that_does_not_wait_is_refused_even_beside_one_that_does(rows: Database, number: int, reason: str):
    assert list(rows_to_replay([4])) == [4]
    with pytest.raises(WrongUsage, match=reason):
        rows_to_replay([4, number])
