"""Databases of other people: `db upgrade` refuses what will not do, in one line with the remedy, and keeps it."""

from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import URL

from financehub_dagster.cli.app import run
from financehub_dagster.settings import get_settings
from financehub_dagster.storage.database.creation import autocommit
from financehub_dagster.storage.database.urls import beside, libpq_url
from financehub_dagster_tests.end_to_end.scripted_server import greeting, refusal, serving
from financehub_dagster_tests.fixtures.database import DatabaseServer, reset_engine

MARKET = "other"
ROLE = "tenant"

OWNED = f"create database {MARKET} owner {ROLE} strategy file_copy"
BESIDE = f"create database {MARKET}_dagster owner {ROLE} strategy file_copy"
INSIDE = f"in {MARKET}: "
LACKING = {
    "LATIN1": (
        [f"create database {MARKET} owner {ROLE} encoding 'LATIN1' locale 'C' template template0"],
        "is encoded in LATIN1, which does not hold every text that vendors send: move it away and run `create database",
    ),
    "SQL_ASCII": (
        [f"create database {MARKET} owner {ROLE} encoding 'SQL_ASCII' locale 'C' template template0"],
        "is encoded in SQL_ASCII",
    ),
    "Dagster's database in LATIN1": (
        [OWNED, f"create database {MARKET}_dagster owner {ROLE} encoding 'LATIN1' locale 'C' template template0"],
        "database 'other_dagster' on",
    ),
    "search_path without a schema": (
        [OWNED, BESIDE, f"alter role {ROLE} set search_path = nowhere"],
        "has none of the schemas in the search_path (nowhere): run `create schema nowhere` there, or `alter",
    ),
    "no tables in the schema": (
        [f"create database {MARKET}", BESIDE],
        "have the administrator run `grant create on schema public to tenant`",
    ),
    "no temporary tables": (
        [
            f"create database {MARKET}",
            f"revoke temporary on database {MARKET} from public",
            f"{INSIDE}grant create on schema public to {ROLE}",
            BESIDE,
        ],
        "have the administrator run `grant temporary on database other to tenant`",
    ),
    "read-only by default": (
        [OWNED, BESIDE, f"alter database {MARKET} set default_transaction_read_only = on"],
        "accepts no writes by default, as a database that is being moved",
    ),
    "no right to create Dagster's database": (
        [OWNED],
        "cannot create the database 'other_dagster' on",
    ),
    "no right to create the market's database": (
        [],
        "cannot create the database 'other' on",
    ),
    "no connection left": (
        [OWNED, f"alter role {ROLE} connection limit 0"],
        'has no connection left (too many connections for role "tenant"): end programs',
    ),
    "no login": ([OWNED, f"alter role {ROLE} nologin"], "does not let user 'tenant' log in"),
    "no right to connect": (
        [f"create database {MARKET}", f"revoke connect on database {MARKET} from public"],
        "does not let user 'tenant' connect: have the administrator run `grant connect on database ...`",
    ),
    "closed database": (
        [f"create database {MARKET} allow_connections false"],
        "accepts no connections: have the administrator run `alter database ... allow_connections true`",
    ),
}


def execute(server: DatabaseServer, statement: str) -> None:
    """Run a statement as the server's administrator, in the market database if it says so."""
    inside = statement.startswith(INSIDE)
    with autocommit(server.url(MARKET) if inside else server.address, any_encoding=True) as connection:
        connection.exec_driver_sql(statement.removeprefix(INSIDE))


@pytest.fixture
def tenant(database_server: DatabaseServer, folder, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., URL]]:
    """Makes a role without rights and then what statements say; the environment leads there as that role."""
    url = database_server.url(MARKET).set(username=ROLE)

    def make(*statements: str, options: str = "") -> URL:
        for statement in (f"create role {ROLE} login", *statements):
            execute(database_server, statement)
        address = libpq_url(url)
        monkeypatch.setenv("FINANCEHUB_DATABASE_URL", address + options)
        get_settings.cache_clear()
        reset_engine()
        return url

    yield make
    reset_engine()
    for each in (url, beside(url)):
        database_server.drop(each)
    database_server.execute(f"drop role {ROLE}")


def only_line(capsys: pytest.CaptureFixture[str]) -> str:
    told = capsys.readouterr()
    [line] = told.err.splitlines()
    assert told.out == ""
    return line


@pytest.mark.parametrize(("statements", "message"), LACKING.values(), ids=LACKING.keys())
def test_what_a_database_lacks_is_one_line_before_anything_is_migrated(
    tenant: Callable[..., URL], database_server: DatabaseServer, capsys, statements: list[str], message: str
) -> None:
    tenant(*statements)
    assert run(["db", "upgrade"]) == 1
    assert message in only_line(capsys)
    database_server.execute(f"alter role {ROLE} login superuser connection limit -1")
    exists = sa.text("select 1 from pg_database where datname = :name and datallowconn")
    with autocommit(database_server.address) as connection:
        if not connection.execute(exists, {"name": MARKET}).first():
            return
    with autocommit(database_server.url(MARKET), any_encoding=True) as connection:
        assert sa.inspect(connection).get_table_names(schema="public") == []


TAKEN = {
    "another program's tables": (
        [f"{INSIDE}create table instruments (a int)"],
        "nothing was written: another program's tables are in the way; give this one a database of its own",
    ),
    "another program's migrations": (
        [f"{INSIDE}create table alembic_version as select 'ae10276de5a2'::text as version_num"],
        "the database is at revision ae10276de5a2, which this program does not know: another program keeps its tables",
    ),
    "a later version of this program": (
        [f"{INSIDE}create table alembic_version as select '9999'::text as version_num"],
        "at revision 9999, which this program does not know: it was migrated by a newer version: upgrade the program",
    ),
}


@pytest.mark.parametrize(("statements", "message"), TAKEN.values(), ids=TAKEN.keys())
def test_a_database_that_holds_something_else_is_left_as_it_is(
    tenant: Callable[..., URL], database_server: DatabaseServer, capsys, statements: list[str], message: str
) -> None:
    tenant(OWNED, BESIDE, *statements, f"{INSIDE}grant select on all tables in schema public to {ROLE}")
    with autocommit(database_server.url(MARKET)) as connection:
        before = sa.inspect(connection).get_table_names()
    commands = [["db", "upgrade"]] if "instruments" in before else [["db", "upgrade"], ["instruments", "list"]]
    for command in commands:
        assert run(command) == 1
        assert message in only_line(capsys)
    with autocommit(database_server.url(MARKET)) as connection:
        assert sa.inspect(connection).get_table_names() == before


SERVERS = {
    "too old": (
        greeting(server_version="13.22", server_encoding="UTF8", client_encoding="UTF8"),
        "runs PostgreSQL 13.22, and this program needs 14 or later: upgrade the server",
    ),
    "starting": (
        refusal("57P03", "the database system is starting up"),
        "cannot be reached now (the database system is starting up): try again in a moment",
    ),
    "full": (
        refusal("53300", "sorry, too many clients already"),
        "has no connection left (sorry, too many clients already): end programs that hold some",
    ),
    "TLS only": (
        refusal("28000", 'no pg_hba.conf entry for host "10.0.0.7", user "me", database "market", no encryption'),
        "refuses user 'me' without TLS: add ?sslmode=require to FINANCEHUB_DATABASE_URL",
    ),
    "not from here": (
        refusal("28000", 'pg_hba.conf rejects connection for host "10.0.0.7", user "me", database "market"'),
        "refuses user 'me' from this machine: have the administrator add a line to pg_hba.conf",
    ),
    "peer": (
        refusal("28000", 'Peer authentication failed for user "me"'),
        "refuses user 'me' or the password: correct FINANCEHUB_DATABASE_URL",
    ),
    "in German": (
        refusal("28P01", "Passwort-Authentifizierung für Benutzer »me« fehlgeschlagen", "FATAL"),
        "refuses the connection (Passwort-Authentifizierung für Benutzer »me« fehlgeschlagen): have the administrator",
    ),
    "in Chinese": (
        refusal("3D000", '数据库 "market" 不存在', "致命错误"),
        'refuses the connection (数据库 "market" 不存在)',
    ),
}


@pytest.mark.parametrize(("answer", "message"), SERVERS.values(), ids=SERVERS.keys())
def test_what_a_server_refuses_is_one_line_with_the_remedy(
    folder, monkeypatch: pytest.MonkeyPatch, capsys, answer: bytes, message: str
) -> None:
    with serving(answer) as port:
        monkeypatch.setenv("FINANCEHUB_DATABASE_URL", f"postgresql://me:time@127.0.0.1:{port}/market")
        get_settings.cache_clear()
        assert run(["db", "upgrade"]) == 1
    line = only_line(capsys)
    assert message in line
    assert "redacted" not in line


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("?sslmod=require", 'cannot be reached (invalid connection option "sslmod"): start the server or correct'),
        ("?sslmode=maybe", 'cannot be reached (invalid sslmode value: "maybe"): start the server or correct'),
        ("?sslmode=require", "offers no TLS: take sslmode out of FINANCEHUB_DATABASE_URL"),
    ],
)
def test_an_option_of_the_address_that_will_not_do_is_named(
    folder, monkeypatch: pytest.MonkeyPatch, capsys, options: str, message: str
) -> None:
    with serving(b"") as port:
        monkeypatch.setenv("FINANCEHUB_DATABASE_URL", f"postgresql://me@127.0.0.1:{port}/market{options}")
        get_settings.cache_clear()
        assert run(["db", "upgrade"]) == 1
    assert message in only_line(capsys)


def test_a_password_that_is_part_of_a_word_leaves_the_word_alone(
    folder, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setenv("FINANCEHUB_DATABASE_URL", "postgresql://me:used@127.0.0.1:1/market")
    get_settings.cache_clear()
    assert run(["db", "upgrade"]) == 1
    assert "(Connection refused)" in only_line(capsys)


def test_a_server_whose_template_is_not_utf8_gets_utf8_databases(
    tenant: Callable[..., URL], database_server: DatabaseServer, capsys
) -> None:
    """As `initdb` leaves it where no locale is set."""
    url = tenant(f"alter role {ROLE} createdb")
    encoding = "update pg_database set encoding = pg_char_to_encoding('{}') where datname = 'template1'"
    database_server.execute(encoding.format("SQL_ASCII"))
    try:
        assert run(["db", "upgrade"]) == 0
    finally:
        database_server.execute(encoding.format("UTF8"))
    query = sa.text("select pg_encoding_to_char(encoding) from pg_database where datname like :name")
    with autocommit(url) as connection:
        assert connection.execute(query, {"name": f"{MARKET}%"}).scalars().all() == ["UTF8", "UTF8"]


def test_a_role_with_a_schema_of_its_own_keeps_its_tables_there(
    tenant: Callable[..., URL], database_server: DatabaseServer, capsys
) -> None:
    tenant(
        OWNED, BESIDE, f"{INSIDE}create schema mine authorization {ROLE}", f"alter role {ROLE} set search_path = mine"
    )
    tenant_upgrade = run(["db", "upgrade"])
    told = capsys.readouterr()
    assert tenant_upgrade == 1, told
    assert "database 'other_dagster' on" in told.err
    execute(database_server, f"alter role {ROLE} in database {MARKET}_dagster set search_path = public")
    reset_engine()
    assert run(["db", "upgrade"]) == 0
    assert run(["instruments", "list"]) == 0
    with autocommit(database_server.url(MARKET)) as connection:
        assert "instruments" in sa.inspect(connection).get_table_names("mine")
        assert sa.inspect(connection).get_table_names("public") == []
