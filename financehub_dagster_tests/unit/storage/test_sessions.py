"""Every session of ours starts alike, whatever the role brings: for reading, writing, the gateway and Dagster."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa
import yaml
from sqlalchemy.engine import URL

from financehub_dagster.settings import get_settings
from financehub_dagster.storage.database import session_settings, urls
from financehub_dagster.storage.database.creation import autocommit
from financehub_dagster.storage.database.dagster_storage import FinanceHubDagsterStorage
from financehub_dagster.storage.database.engine import raw_cursor, transaction
from financehub_dagster.storage.rate_limits import gateway_connection
from financehub_dagster_tests.fixtures.database import Database, DatabaseServer, chosen

ODD = {
    "datestyle": "German, DMY",
    "timezone": "Asia/Kolkata",
    "intervalstyle": "iso_8601",
    "bytea_output": "escape",
    "extra_float_digits": "-15",
    "array_nulls": "off",
    "standard_conforming_strings": "off",
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    "statement_timeout": "20s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "3s",
    "idle_session_timeout": "7s",
    "transaction_timeout": "60s",
    "client_encoding": "LATIN1",
}
"""What a role may bring: each of these changed or lost something when it was left as it is."""

LEFT_ALONE = {
    # Only its owner knows why; `requirements` refuses the two that would be in the way.
    *("search_path", "default_transaction_read_only", "default_tablespace", "default_table_access_method"),
    *("temp_tablespaces", "default_toast_compression", "session_replication_role", "event_triggers"),
    # Of the transaction that asks for it, or of statements that we do not send.
    *("transaction_isolation", "transaction_read_only", "transaction_deferrable", "transform_null_equals"),
    *("xmlbinary", "xmloption", "check_function_bodies", "createrole_self_grant", "default_text_search_config"),
    *("lc_monetary", "lc_numeric", "lc_time", "icu_validation_level", "timezone_abbreviations", "row_security"),
    *("lo_compat_privileges", "backslash_quote", "restrict_nonsystem_relation_kind", "quote_all_identifiers"),
    # Of no consequence for what is read and written.
    *("client_min_messages", "lc_messages", "gin_pending_list_limit", "escape_string_warning"),
    "synchronize_seqscans",
}

SHOWN = sa.text("select lower(name) as name, setting from pg_settings where lower(name) = any(:names)")
EVERYWHERE = session_settings.FOLLOWED_BY_POOLERS | session_settings.READING | session_settings.BETWEEN_TRANSACTIONS
OURS = {name.lower(): value for name, value in (EVERYWHERE | session_settings.SINCE_17).items()} | {
    "statement_timeout": "0",
    "lock_timeout": str(session_settings.LOCK_SECONDS * 1000),
    "idle_in_transaction_session_timeout": str(session_settings.IDLE_SECONDS * 1000),
}


@pytest.fixture(scope="module")
def odd_database(database_server: DatabaseServer, market_template: str, dagster_template: str) -> Iterator[Database]:
    """A market database, and Dagster's beside it, reached as a role with settings of its own."""
    database_server.execute("create role odd login superuser")
    for name, value in ODD.items():
        database_server.execute(f"alter role odd set {name} = '{value}'")
    url = database_server.create(market_template)
    database_server.create(dagster_template, f"{url.database}_dagster")
    with chosen(url.set(username="odd")) as database:
        yield database
    for each in (url, url.set(database=f"{url.database}_dagster")):
        database_server.drop(each)
    database_server.execute("drop role odd")


def shown(connection: sa.Connection) -> dict[str, str]:
    return {row.name: row.setting for row in connection.execute(SHOWN, {"names": list(OURS)})}


def test_a_session_of_the_pool_and_that_of_the_gateway_have_our_settings(odd_database: Database) -> None:
    with transaction() as connection:
        assert shown(connection) == OURS
    for name, value in OURS.items():
        query = "select setting from pg_settings where lower(name) = %(name)s"
        assert gateway_connection.execute(odd_database.engine, query, {"name": name}) == [(value,)]


def dagster_storage(url: URL) -> FinanceHubDagsterStorage:
    address = url.set(drivername="postgresql", database=f"{url.database}_dagster")
    config = {"postgres_url": address.render_as_string(hide_password=False)}
    return FinanceHubDagsterStorage.from_config_value(None, config)


@pytest.mark.parametrize("webserver", [False, True])
def test_dagsters_sessions_have_them_too_and_the_webserver_its_own_time_limit(
    odd_database: Database, webserver: bool
) -> None:
    storage = dagster_storage(odd_database.engine.url)
    expected = dict(OURS)
    parts = (storage._run_storage, storage._event_log_storage, storage._schedule_storage)
    for part in parts:
        if webserver:
            part.optimize_for_webserver(statement_timeout=5000, pool_recycle=3600, max_overflow=20)
            expected["statement_timeout"] = "5000"
        with part._engine.connect() as connection:
            assert shown(connection) == expected
            assert connection.execute(sa.text("show client_encoding")).scalar() == "UTF8"
        part._engine.dispose()


def test_no_setting_that_changes_how_values_read_is_left_to_the_role(odd_database: Database) -> None:
    query = sa.text("""
        select name from pg_settings where context in ('user', 'superuser') and (category like 'Version and Platform%'
            or category like '%Locale and Formatting' or category like '%Statement Behavior')
    """)
    with transaction() as connection:
        names = {name.lower() for name in connection.execute(query).scalars()}
    assert names - OURS.keys() - LEFT_ALONE == {"client_encoding", "standard_conforming_strings"}
    assert set(ODD) <= names


def test_values_come_back_as_they_were_written(odd_database: Database) -> None:
    written = ["2024-03-04", 0.1 + 0.2, "NULL", "C:\\n ’ 株", b"\x00\\\xff", ["NULL", None, "a\\b"]]
    query = "select %s::date, %s::float8, %s::text, %s::text, %s::bytea, %s::text[], interval '1 day', now()"
    with transaction() as connection, raw_cursor(connection) as cursor:
        *values, day, now = cursor.execute(query, written).fetchone()
        as_text = cursor.execute("select %s::date::text || ' ' || %s::float8::text", written[:2]).fetchone()
    assert [str(values[0]), *values[1:]] == written
    assert day.days == 1
    assert now.utcoffset().total_seconds() == 0
    assert as_text == ("2024-03-04 0.30000000000000004",)


def test_what_a_run_says_is_read_back_from_dagsters_storage(
    odd_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = 'C:\\new "株" \\u0041'

    @dg.asset
    def talkative(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        context.log.info(said)
        return dg.MaterializeResult(metadata={"said": said})

    custom = {"module": FinanceHubDagsterStorage.__module__, "class": FinanceHubDagsterStorage.__name__, "config": {}}
    (tmp_path / "dagster.yaml").write_text(
        yaml.safe_dump({"storage": {"custom": custom}, "telemetry": {"enabled": False}})
    )
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with dg.DagsterInstance.get() as instance:
        before = dg.materialize([talkative], instance=instance)
        assert before.success
        assert said in [entry.user_message for entry in instance.all_logs(before.run_id)]
        event = instance.get_latest_materialization_event(dg.AssetKey("talkative"))
        record = instance.get_run_record_by_id(before.run_id)
    assert event is not None
    assert event.asset_materialization is not None
    assert event.asset_materialization.metadata["said"].value == said
    assert record is not None
    assert record.start_time is not None
    assert abs(record.create_timestamp.timestamp() - record.start_time) < 60


def test_the_variables_of_other_servers_do_not_lead_the_embedded_one_astray(
    database_server: DatabaseServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """PGHOSTADDR and PGSERVICE win over an address, PGPORT over one without a port, for the server as for clients."""
    monkeypatch.delenv("FINANCEHUB_DATABASE_URL", raising=False)
    monkeypatch.setenv("FINANCEHUB_HOME", str(database_server.home))
    others = {
        "PGPORT": "6000",
        "PGHOSTADDR": "192.0.2.1",
        "PGSERVICE": "theirs",
        "PGOPTIONS": "-c geqo=nonsense",
        "PGCHANNELBINDING": "require",
        "PGGSSENCMODE": "require",
        "PGCLIENTENCODING": "LATIN1",
    }
    for name, value in others.items():
        monkeypatch.setenv(name, value)
    get_settings.cache_clear()
    with autocommit(urls.embedded_url().set(database="postgres")) as connection:
        assert connection.execute(
            sa.text("select inet_server_addr() is null and :text = '株'"), {"text": "株"}
        ).scalar()
    get_settings.cache_clear()
