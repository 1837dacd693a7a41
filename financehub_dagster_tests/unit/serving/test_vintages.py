"""Named times: what they show stays the same whatever is stored later, and what they need is kept."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from financehub_dagster import read
from financehub_dagster.cli.app import run
from financehub_dagster.serving.errors import ReadError
from financehub_dagster.storage import vintages
from financehub_dagster.storage.database import dagster_state
from financehub_dagster.storage.database.creation import autocommit
from financehub_dagster.storage.database.engine import transaction
from financehub_dagster.storage.database.errors import DatabaseError
from financehub_dagster.storage.database.locks import lock_table
from financehub_dagster.storage.database.schema import table
from financehub_dagster.storage.database.urls import beside, dagster_database
from financehub_dagster.storage.operations import retention
from financehub_dagster.storage.operations.retention import delete_old
from financehub_dagster_tests.fixtures.database import Database
from financehub_dagster_tests.fixtures.eventually import eventually
from financehub_dagster_tests.unit.serving import stored

BARS = "stock_prices_daily"


@pytest.fixture
def filled(database: Database, tmp_path: Path, monkeypatch) -> datetime:
    """Bars of which some were replaced; a time before that. The commands find the same database, by one clock."""
    monkeypatch.setattr(vintages, "CLOCKS", timedelta(0))
    monkeypatch.setenv("FINANCEHUB_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return stored.fill()


def take(name: str, as_of: datetime | None = None) -> vintages.Vintage:
    with transaction() as connection:
        return vintages.take(connection, name, as_of)


def test_a_vintage_shows_the_same_whatever_is_stored_and_deleted_later(filled: datetime, capsys) -> None:
    take("paper", filled)
    first = {name: read(name, as_of="paper") for name in (BARS, "indicators_daily", "corporate_actions")}
    stored.store(table(BARS), stored.bars(("AAPL", "MSFT"), raised=7))
    stored.store(table(BARS), stored.bars(("LATE",)))
    delete_old("price_revisions", timedelta(0))
    for name, rows in first.items():
        assert read(name, as_of="paper").equals(rows), name
    with transaction() as connection:
        query = sa.text(f"select count(*) from {BARS}_as_of(vintage('paper'))")
        assert connection.execute(query).scalar_one() == len(first[BARS])
    assert run(["export", BARS, "--as-of", "paper", "--output", "bars.parquet", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == len(first[BARS])


def test_revisions_that_no_vintage_needs_are_deleted_and_so_are_those_of_a_removed_one(filled: datetime) -> None:
    stored.store(table(BARS), stored.bars(("MSFT",), raised=1))
    between = stored.now()
    stored.store(table(BARS), stored.bars(("MSFT",), raised=2))
    kept = "select count(*) from price_revisions where table_name = :name and replaced_at > :time"
    take("paper", between - timedelta(microseconds=1))

    def left(after: datetime) -> int:
        with transaction() as connection:
            count: int = connection.execute(sa.text(kept), {"name": BARS, "time": after}).scalar_one()
            return count

    delete_old("price_revisions", timedelta(0))
    assert left(between) == left(filled) == stored.DAYS
    with transaction() as connection:
        vintages.remove(connection, "paper")
    delete_old("price_revisions", timedelta(0))
    assert left(filled) == 0


def test_a_time_is_named_only_when_nothing_of_before_can_come_any_more(
    filled: datetime, database: Database, database_server, dagster_template
) -> None:
    newest = take("now").as_of
    assert timedelta(0) <= stored.now() - newest < timedelta(minutes=1)
    database_server.create(dagster_template, beside(database.engine.url).database)
    began = datetime.now(UTC) - timedelta(hours=2)
    row = """insert into runs (run_id, status, start_time, create_timestamp, update_timestamp)
        values ('a-run', 'STARTED', :began, now(), now())"""
    with autocommit(dagster_database()) as connection:
        connection.execute(sa.text(row), {"began": began.timestamp()})
    assert dagster_state.oldest_in_progress() == began
    assert take("while-one-runs").as_of == began
    with pytest.raises(vintages.VintageRefused, match=f"name {began:%Y-%m-%dT%H:%M:%S}Z or an earlier"):
        take("too-new", began + timedelta(seconds=1))


def test_clocks_that_differ_a_little_let_nothing_come_later(filled: datetime, monkeypatch) -> None:
    monkeypatch.undo()
    with pytest.raises(vintages.VintageRefused, match="may still be stored"):
        take("paper", stored.now())


@pytest.mark.parametrize("name", ["", "2026", "2026-11-01", "a b", "-a", "a" * 64, "ä", "a;drop", "a\n"])
def test_what_is_no_name_is_refused(filled: datetime, name: str) -> None:
    with pytest.raises(vintages.VintageRefused, match="is no name"):
        take(name)


def test_a_name_stays_what_it_is(filled: datetime) -> None:
    first = take("paper", filled)
    with pytest.raises(vintages.VintageRefused, match="there is a vintage paper already"):
        take("paper")
    with transaction() as connection:
        assert vintages.listed(connection) == [first]


def test_times_that_cannot_be_told_are_not_named(filled: datetime) -> None:
    delete_old("price_revisions", timedelta(0))
    with pytest.raises(vintages.VintageRefused, match="were deleted: name that time or a later one"):
        take("paper", filled)


def test_a_time_whose_revisions_are_just_being_deleted_is_not_named(filled: datetime) -> None:
    waiting = sa.text("select count(*) from pg_locks where locktype = 'advisory' and not granted")

    def waits() -> bool:
        with transaction() as connection:
            return bool(connection.execute(waiting).scalar_one())

    with ThreadPoolExecutor(1) as pool:
        with transaction() as connection:
            lock_table(connection, table("price_revisions"))
            connection.execute(retention._REVISIONS, {"age": timedelta(0), "most": 1_000})
            taken = pool.submit(take, "paper", filled)
            eventually(lambda: taken.done() or waits())
        with pytest.raises(vintages.VintageRefused, match="were deleted"):
            taken.result()


def test_an_unknown_name_is_told_with_what_is_meant(filled: datetime) -> None:
    take("momentum-2026")
    with pytest.raises(ReadError, match="unknown vintage momentum-2025: did you mean momentum-2026"):
        read(BARS, as_of="momentum-2025")
    with pytest.raises(DatabaseError, match="there is no vintage other"), transaction() as connection:
        connection.execute(sa.text("select vintage('other')"))
    with pytest.raises(DatabaseError, match="there is no vintage"), transaction() as connection:
        connection.execute(sa.text("select vintage(null)"))


def test_commands_take_list_and_remove(filled: datetime, capsys) -> None:
    assert run(["vintages", "take", "paper", "--as-of", filled.isoformat(), "--note", "of 2026", "--json"]) == 0
    assert datetime.fromisoformat(json.loads(capsys.readouterr().out)["as_of"]) == filled
    assert run(["vintages", "take", "copy", "--as-of", "paper", "--json"]) == 0
    assert datetime.fromisoformat(json.loads(capsys.readouterr().out)["as_of"]) == filled
    assert run(["vintages", "take", "paper"]) == 1
    assert run(["vintages", "take", "later", "--as-of", "2999-01-01"]) == 1
    assert run(["vintages", "take", "odd", "--as-of", "0-0-0"]) == 2
    capsys.readouterr()
    assert run(["vintages", "list", "--json"]) == 0
    assert [each["name"] for each in json.loads(capsys.readouterr().out)["vintages"]] == ["copy", "paper"]
    assert run(["vintages", "remove", "paper"]) == 0
    assert run(["vintages", "remove", "paper"]) == 1
    assert "there is no vintage paper" in capsys.readouterr().err
