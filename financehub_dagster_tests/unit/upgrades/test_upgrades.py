"""A database of every earlier version, with rows in all of its tables, is brought to the newest one by one command."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy.engine import URL

from financehub_dagster.cli.app import run
from financehub_dagster.storage.database import migrations
from financehub_dagster.storage.database.creation import autocommit
from financehub_dagster.storage.database.urls import beside
from financehub_dagster_tests.fixtures.database import DatabaseServer, chosen
from financehub_dagster_tests.unit.storage.test_migrations import differences
from financehub_dagster_tests.unit.upgrades.recording import FOLDER, load, recorded, rows_of, tables

NOT_KEPT = {"coverage": "0011", "empty_answers": "0011"}
"""Up to this step these said the same by month and by day: the ledger is settled anew, and days become ranges."""
LARGEST = 200_000
"""Bytes of a recording."""

type Rows = dict[str, list[dict[str, Any]]]


def whole(url: URL) -> Rows:
    """The rows of every table."""
    with autocommit(url) as connection:
        return {name: rows_of(connection, name) for name in tables(connection)}


def lost(before: Rows, after: Rows, revision: str) -> list[tuple[str, dict[str, Any]]]:
    """The rows of before of which after has none with the same value in every column."""
    kept = {table: rows for table, rows in before.items() if revision >= NOT_KEPT.get(table, "")}
    return [
        (table, row)
        for table, rows in kept.items()
        for row in rows
        if not any(row.items() <= each.items() for each in after[table])
    ]


def other_than_declared(url: URL) -> list[Any]:
    """Differences from the declared tables; a month's partition and its indexes are declared nowhere."""
    with autocommit(url) as connection:
        known = tables(connection)
    return [
        each
        for each in differences(url)
        if each[0] not in ("remove_table", "remove_index") or getattr(each[1], "table", each[1]).name in known
    ]


@pytest.fixture
def earlier(database_server: DatabaseServer, folder) -> Iterator[URL]:
    """The address of a database without tables, to which the environment leads."""
    url = database_server.create()
    with chosen(url):
        yield url
    database_server.drop(url)
    database_server.drop(beside(url))


@pytest.mark.parametrize("revision", recorded())
def test_one_command_upgrades_an_earlier_version_and_keeps_every_row(revision: str, earlier: URL, capsys) -> None:
    load(earlier, revision)
    before = whole(earlier)
    assert [table for table, rows in before.items() if not rows] == []
    assert run(["db", "upgrade"]) == 0
    assert f"migrated from {revision} to {migrations.head()}" in capsys.readouterr().out
    assert lost(before, whole(earlier), revision) == []
    assert other_than_declared(earlier) == []
    assert run(["instruments", "list"]) == 0
    assert "AAPL" in capsys.readouterr().out


def test_a_row_that_an_upgrade_changed_is_found(earlier: URL) -> None:
    load(earlier, recorded()[-1])
    before = whole(earlier)
    with autocommit(earlier) as connection:
        connection.exec_driver_sql("update holdings set cost = cost + 1 where symbol = 'AAPL'")
        connection.exec_driver_sql("delete from quotes where symbol = 'AAPL'")
    assert [table for table, _ in lost(before, whole(earlier), recorded()[-1])] == ["holdings", "quotes"]


def test_there_are_recordings_of_the_first_step_and_of_later_ones() -> None:
    assert recorded()[0] == min(name for name in recorded()) == "0001"
    assert len(recorded()) >= 5
    assert {each.name: each.stat().st_size for each in FOLDER.iterdir() if each.stat().st_size > LARGEST} == {}
