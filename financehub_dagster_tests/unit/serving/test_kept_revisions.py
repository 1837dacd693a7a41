"""Times that cannot be told any more, since the revisions of then are deleted: refused in Python, files and SQL."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from financehub_dagster import read
from financehub_dagster.serving.errors import ReadError
from financehub_dagster.serving.export import export
from financehub_dagster.serving.questions import ask
from financehub_dagster.storage.database.engine import transaction
from financehub_dagster.storage.database.errors import DatabaseError
from financehub_dagster.storage.operations.retention import delete_old
from financehub_dagster_tests.fixtures.database import Database
from financehub_dagster_tests.unit.serving import stored

BARS = "stock_prices_daily"


@pytest.fixture
def thinned(database: Database) -> datetime:
    """Bars of which some were replaced, and those revisions deleted; a time before that."""
    before = stored.fill()
    assert delete_old("price_revisions", timedelta(0)) > 0
    return before


def test_a_time_before_the_oldest_kept_revision_is_refused_with_the_first_that_can_be_told(
    thinned: datetime, tmp_path: Path
) -> None:
    with transaction() as connection:
        since = connection.execute(
            sa.text("select since from revisions_kept where table_name = :name"), {"name": BARS}
        ).scalar_one()
    words = f"^{BARS} is known as of {since:%Y-%m-%dT%H:%M:%S}Z and later: older revisions were deleted"
    with pytest.raises(ReadError, match=words):
        read(BARS, symbols="AAPL", as_of=thinned)
    with pytest.raises(ReadError, match=words):
        export(ask(BARS, as_of=thinned), tmp_path / "bars.csv", "csv", lambda *_: None)
    with pytest.raises(ReadError, match=words):
        export(ask(BARS, as_of=thinned), tmp_path / "bars", "parquet", lambda *_: None)
    assert list(tmp_path.rglob("*.csv")) == list(tmp_path.rglob("*.parquet")) == []
    assert len(read(BARS, symbols="AAPL", as_of=since)) == stored.DAYS
    assert len(read("corporate_actions", as_of=thinned)) == 2


@pytest.mark.parametrize("where", ["", " where symbol = 'AAPL' and date = '2024-01-02'", " where symbol = 'NONE'"])
def test_sql_refuses_it_too(thinned: datetime, where: str) -> None:
    query = sa.text(f"select count(*) from {BARS}_as_of(:at){where}")
    with pytest.raises(DatabaseError, match=f"{BARS} is known as of"), transaction() as connection:
        connection.execute(query, {"at": thinned})
    with transaction() as connection:
        assert connection.execute(query, {"at": stored.now()}).scalar_one() >= 0


@pytest.mark.parametrize("table", ["news_articles", "instruments"])
def test_tables_without_revisions_say_so(thinned: datetime, table: str) -> None:
    with pytest.raises(ReadError, match=f"^{table} keeps no earlier values: as_of works for "):
        read(table, as_of=thinned)


def test_deleting_nothing_moves_nothing(thinned: datetime) -> None:
    with transaction() as connection:
        before = connection.execute(sa.text("select * from revisions_kept order by 1")).all()
    assert delete_old("price_revisions", timedelta(0)) == 0
    with transaction() as connection:
        assert connection.execute(sa.text("select * from revisions_kept order by 1")).all() == before
