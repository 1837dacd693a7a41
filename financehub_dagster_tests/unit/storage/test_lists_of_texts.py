"""Columns of lists of texts: written, compared and refused like any other value."""

import numpy as np
import pytest
import sqlalchemy as sa

from financehub_dagster.storage.database import schema
from financehub_dagster.storage.database.engine import transaction
from financehub_dagster.storage.database.errors import BadRows
from financehub_dagster_tests.fixtures.database import Database
from financehub_dagster_tests.unit.storage.storage_writes import bars, rows, store

FLAGS = "select flags from stock_prices_daily order by symbol, date"


def lists(*values: object) -> np.ndarray:
    array = np.empty(len(values), object)
    array[:] = values
    return array


def test_lists_come_back_as_they_were_written_whether_or_not_others_have_any(database: Database) -> None:
    flags = [(), ("spike",), ("stale", 'Größe, "x" {}\\'), (), ["spike"]]
    assert store({**bars({"AAPL": 5}), "flags": lists(*flags)}).inserted == 5
    assert rows(FLAGS) == [(list(each),) for each in flags]


def test_rows_written_without_their_lists_have_empty_ones(database: Database) -> None:
    store(bars({"AAPL": 2}))
    assert rows(FLAGS) == [([],), ([],)]


def test_a_row_whose_list_alone_differs_is_an_update_and_the_same_list_is_none(database: Database) -> None:
    columns = bars({"AAPL": 3, "MSFT": 2})
    flags = lists((), ("spike",), (), (), ())
    store({**columns, "flags": flags})
    again = store({**columns, "flags": flags})
    assert (again.inserted, again.updated, again.unchanged) == (0, 0, 5)
    changed = store(columns)
    assert (changed.updated, changed.unchanged) == (1, 4)
    assert rows("select old -> 'flags' from price_revisions") == [(["spike"],)]


@pytest.mark.parametrize("value", [None, ("a", None), ("a\0b",), (1,)])
def test_what_is_no_list_of_texts_is_refused(database: Database, value: object) -> None:
    with pytest.raises(BadRows, match="flags is"):
        store({**bars({"AAPL": 2}), "flags": lists((), value)})


def test_revisions_that_are_older_than_the_column_are_read_with_an_empty_list(database: Database) -> None:
    store(bars({"AAPL": 1}))
    store(bars({"AAPL": 1}, close=11.0))
    with transaction() as connection:
        connection.execute(sa.update(schema.price_revisions).values(old=sa.text("old - 'flags'")))
        before = connection.execute(sa.text("select min(replaced_at) - interval '1 ms' from price_revisions")).scalar()
        found = connection.execute(sa.text("select close, flags from stock_prices_daily_as_of(:at)"), {"at": before})
        assert [tuple(row) for row in found] == [(10.0, [])]
