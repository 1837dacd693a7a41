"""The migrations end at the declared tables, from wherever they start."""

import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.engine import URL

from financehub_dagster.storage.database import migrations
from financehub_dagster.storage.database.creation import autocommit
from financehub_dagster.storage.database.embedded.binaries import bin_folder
from financehub_dagster.storage.database.errors import DatabaseError, NotMigrated
from financehub_dagster.storage.database.schema import metadata
from financehub_dagster_tests.fixtures.database import Database, DatabaseServer
from financehub_dagster_tests.fixtures.folder import REPOSITORY


def differences(url: URL) -> list[Any]:
    with autocommit(url) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        return list(compare_metadata(context, metadata))


def schema(url: URL) -> str:
    """The schema as pg_dump writes it, without Alembic's own table."""
    address = ["-h", str(url.query["host"]), "-p", str(url.port or 5432), "-U", str(url.username), str(url.database)]
    command = [str(bin_folder() / "pg_dump"), "--schema-only", "--exclude-table=alembic_version", *address]
    dump = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return "\n".join(line for line in dump.splitlines() if not line.startswith(("\\restrict", "\\unrestrict")))


def test_the_newest_migration_equals_the_declared_tables(empty_database: URL) -> None:
    migrations.upgrade(empty_database)
    assert differences(empty_database) == []


def test_the_newest_migration_equals_the_declared_tables_to_the_last_check_and_comment(
    empty_database: URL, database_server: DatabaseServer
) -> None:
    migrations.upgrade(empty_database)
    declared = database_server.create()
    with autocommit(declared) as connection:
        metadata.create_all(connection)
    assert schema(empty_database) == schema(declared)
    database_server.drop(declared)


def test_down_and_up_again_ends_at_the_same_tables(empty_database: URL) -> None:
    migrations.upgrade(empty_database)
    first = schema(empty_database)
    migrations.downgrade(empty_database, "base")
    with autocommit(empty_database) as connection:
        assert sa.inspect(connection).get_table_names() == ["alembic_version"]
    migrations.upgrade(empty_database)
    assert schema(empty_database) == first


def test_upgrade_reports_where_it_came_from_and_where_it_ended(empty_database: URL) -> None:
    assert migrations.current(empty_database) is None
    assert migrations.upgrade(empty_database) == (None, migrations.head())
    assert migrations.upgrade(empty_database) == (migrations.head(), migrations.head())
    assert migrations.current(empty_database) == migrations.head()


def test_rates_of_exchange_are_not_said_to_be_split_adjusted(empty_database: URL) -> None:
    def said(table: str) -> str:
        with autocommit(empty_database) as connection:
            return " ".join(str(column["comment"]) for column in sa.inspect(connection).get_columns(table))

    migrations.upgrade(empty_database, "0028")
    assert said("fx_prices_daily") == said("crypto_prices_daily")
    migrations.upgrade(empty_database)
    assert "split-adjusted" not in said("fx_prices_daily")
    assert "split-adjusted" in said("stock_prices_daily")


def test_values_that_no_schema_takes_are_unknown_and_actions_without_a_value_rejected(empty_database: URL) -> None:
    migrations.upgrade(empty_database, "0007")
    origin = "'yahoo', '2024-03-05T21:00Z'"
    with autocommit(empty_database) as connection:
        for statement in (
            (
                f"insert into stock_prices_daily values ('A', '2024-03-05', 1, 2, 1, 2, -3, 7, {origin}),"
                f" ('A', '2024-03-06', 1, 2, 1, 2, 1.5, 7, {origin})"
            ),
            (
                f"insert into corporate_actions values ('A', '2024-03-05', 'dividend', -0.5, {origin}),"
                f" ('A', '2024-03-06', 'dividend', 0.5, {origin})"
            ),
            f"insert into quotes values ('A', '2024-03-05T20:00Z', 2, 0, 3, 0, 1, -1, 'USD', {origin})",
        ):
            connection.exec_driver_sql(statement)
    migrations.upgrade(empty_database)
    with autocommit(empty_database) as connection:

        def rows(query: str) -> list[tuple[Any, ...]]:
            return [tuple(row) for row in connection.exec_driver_sql(query)]

        assert rows("select adj_close, close from stock_prices_daily order by date") == [(None, 2), (1.5, 2)]
        assert rows("select value from corporate_actions") == [(0.5,)]
        assert rows("select open, high, low, volume from quotes") == [(None, 3, None, None)]
        assert rows("select date::text, rule, row->>'value' from rejected_rows") == [
            ("2024-03-05", "value_positive", "-0.5")
        ]


def test_what_vendors_had_nothing_for_is_kept_as_ranges_and_the_ledger_is_settled_anew(empty_database: URL) -> None:
    migrations.upgrade(empty_database, "0008")
    asked = "'yahoo', 6, '2024-04-01T12:00Z', null", "'yahoo', 2, '2024-04-01T12:00Z', '2024-04-01T16:00Z'"
    with autocommit(empty_database) as connection:
        for day, when in (("04", 0), ("05", 0), ("06", 1), ("08", 0)):
            connection.exec_driver_sql(
                f"insert into empty_answers values ('stock_prices_daily', 'A', '2024-03-{day}', {asked[when]})"
            )
        connection.exec_driver_sql("insert into coverage values ('stock_prices_daily', 'A', '2024-03-01', 1, 1)")
    query = "select symbol, sessions::text, asked, next_ask_at is null from empty_answers order by asked desc"
    migrations.upgrade(empty_database)
    with autocommit(empty_database) as connection:
        assert connection.exec_driver_sql(query).fetchall() == [
            ("A", "{[2024-03-04,2024-03-06),[2024-03-08,2024-03-09)}", 6, True),
            ("A", "{[2024-03-06,2024-03-07)}", 2, False),
        ]
        assert connection.exec_driver_sql("select count(*) from coverage").scalar_one() == 0
    migrations.downgrade(empty_database, "0008")
    with autocommit(empty_database) as connection:
        days = connection.exec_driver_sql("select date::text, asked from empty_answers order by date").fetchall()
        assert days == [("2024-03-04", 6), ("2024-03-05", 6), ("2024-03-06", 2), ("2024-03-08", 6)]


def test_bars_that_were_stored_before_repairs_were_kept_are_repaired(empty_database: URL) -> None:
    migrations.upgrade(empty_database, "0027")
    with autocommit(empty_database) as connection:
        connection.exec_driver_sql("""
            insert into stock_prices_daily
            select 'A', '2024-03-01'::date + day, low, low, low, low, low, 5, 'yahoo', now(),
                case when day = 3 then array['unit_100x'] else '{}' end
            from generate_series(0, 6) as day, lateral (select case when day = 3 then 0.5 else 50 end as low) as price
        """)
    migrations.upgrade(empty_database)
    with autocommit(empty_database) as connection:
        query = "select date::text, close, volume, flags from stock_prices_daily_repaired where repaired"
        assert connection.exec_driver_sql(query).fetchall() == [("2024-03-04", 50, 5, ["unit_100x"])]
        connection.exec_driver_sql("create view a_report as select * from stock_prices_daily_repaired")
    assert migrations.upgrade(empty_database) == (migrations.head(), migrations.head())


def test_a_missing_database_is_created(database_server: DatabaseServer) -> None:
    url = database_server.url("not_there_yet")
    with pytest.raises(NotMigrated, match="financehub db upgrade"):
        migrations.current(url)
    migrations.upgrade(url)
    assert migrations.current(url) == migrations.head()
    database_server.drop(url)


def test_eight_upgrades_at_once_end_at_the_same_tables(database_server: DatabaseServer) -> None:
    url = database_server.url("wanted_by_all")
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(migrations.upgrade, [url] * 8))
    assert sorted(before is None for before, _ in results) == [False] * 7 + [True]
    assert differences(url) == []
    database_server.drop(url)


def test_a_database_of_a_newer_program_is_left_alone(empty_database: URL) -> None:
    migrations.upgrade(empty_database)
    with autocommit(empty_database) as connection:
        connection.exec_driver_sql("update alembic_version set version_num = '9999'")
    with pytest.raises(DatabaseError, match="9999.*upgrade the program"):
        migrations.upgrade(empty_database)


def test_a_database_without_tables_is_reported_with_the_remedy(
    empty_database: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    from financehub_dagster.storage.database.engine import transaction
    from financehub_dagster_tests.fixtures.database import clear_caches

    monkeypatch.setenv("FINANCEHUB_DATABASE_URL", empty_database.render_as_string(hide_password=False))
    clear_caches()
    with pytest.raises(NotMigrated, match="financehub db upgrade") as caught, transaction() as connection:
        connection.execute(sa.text("select * from instruments"))
    assert "\n" not in str(caught.value)
    clear_caches()


def test_the_database_fixture_is_migrated_and_empty(database: Database) -> None:
    with database.engine.connect() as connection:
        assert connection.execute(sa.text("select count(*) from instruments")).scalar() == 0


def test_every_table_is_in_the_documentation() -> None:
    page = REPOSITORY / "docs" / "database.md"
    documented = set(re.findall(r"`(\w+)`", page.read_text()))
    assert set(metadata.tables) <= documented


def test_the_steps_are_known_by_their_files_names():
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    scripts = ScriptDirectory.from_config(config)
    assert migrations.head() == scripts.get_current_head()
    assert all(migrations.is_known(script.revision) for script in scripts.walk_revisions())
    assert not migrations.is_known("9999")
