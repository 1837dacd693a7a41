"""Whole tables as Arrow, through ADBC, which reads PostgreSQL's binary COPY straight into columns.

Belongs here: connections for reading, one SELECT over any declared table with the usual filters, errors in one line.
Does not belong here: what readers do with the columns (`serving`). Imports pyarrow and ADBC: import it in functions.

Measured in one run on 1.26 million bars of ten columns: ADBC 1.1–1.4 s, psycopg's binary COPY 1.4 s without parsing it
(it hands over row by row), rows packed by the server and parsed by numpy 1.0 s but only for columns of fixed width,
pandas.read_sql 6 s (`make bench ARGS=read`).
"""

import os
import re
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any

import adbc_driver_manager
import pyarrow as pa
import sqlalchemy as sa
from adbc_driver_postgresql import StatementOptions, dbapi
from psycopg import sql
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import URL

from financehub_dagster.storage.database import as_of_functions, repaired_views, schema, session_settings, urls
from financehub_dagster.storage.database.creation import autocommit
from financehub_dagster.storage.database.errors import DatabaseError, DatabaseUnreachable, StatementFailed
from financehub_dagster.storage.database.refusals import connection_error, describe, statement_error
from financehub_dagster.storage.queries import days
from financehub_dagster.storage.queries.given_up import STATEMENT, GivenUp, from_rows

MANY = 100
"""Instruments from which on a whole table is read through two connections."""
NARROW = timedelta(days=7)
"""Up to here a range of all symbols is read symbol by symbol."""

BATCH_BYTES = 8 << 20
"""Size of the batches in which rows arrive: about 80,000 bars."""

_AS_TEXT = (postgresql.JSONB, postgresql.DATEMULTIRANGE)
"""Types that Arrow lacks; their text is read."""
_ISOLATION = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"
_ISOLATED = {"default_transaction_isolation": "repeatable read", "default_transaction_read_only": "on"}
"""The same for all transactions of a session, which costs a question nothing."""
_PREFIX = re.compile(r"^([A-Z_]+: )?(\[libpq\] )?")


@dataclass(frozen=True)
class Selection:
    """Rows and columns of a table: columns in the order given, rows in the order of the key.

    symbols None: of all, or of those from `since` to before `before`. start and end: days or instants, both included;
    None: no limit. as_of: as it was known then. repaired: as they are now, with their repairs. limit: the first so
    many of them.
    """

    table: sa.Table
    columns: Sequence[str]
    symbols: Sequence[str] | None = None
    start: date | None = None
    end: date | None = None
    as_of: datetime | None = None
    since: str | None = None
    before: str | None = None
    repaired: bool = False
    limit: int | None = None


def has_history(table: sa.Table) -> bool:
    """Whether a table can be read as of a time."""
    return table in as_of_functions.tables(table.metadata)


class Reader:
    """A snapshot of the database: everything read through it is of the same moment."""

    def __init__(self, connection: Any, url: URL) -> None:
        self._connection = connection
        self._url = url

    def table(self, selection: Selection) -> pa.Table:
        """The selected rows at once; those of many symbols through two connections: the server works on two cores."""
        middle = self._middle(selection)
        if middle is None:
            return self._whole(selection)
        snapshot = self._whole_of("SELECT pg_export_snapshot()").column(0)[0].as_py()
        with ExitStack() as stack:
            try:
                other = stack.enter_context(reading(snapshot))
            except DatabaseUnreachable:  # no connection is left for a second one
                return self._whole(selection)
            pool = stack.enter_context(ThreadPoolExecutor(1))
            rest = pool.submit(other._whole, replace(selection, since=middle))
            return pa.concat_tables([self._whole(replace(selection, before=middle)), rest.result()])

    def _middle(self, selection: Selection) -> str | None:
        """The symbol in the middle of all; None where the rows are too few for a second connection."""
        keyed = next(iter(selection.table.primary_key.columns.keys())) == "symbol"
        bounded = selection.symbols is not None or selection.limit is not None or _is_narrow(selection)
        if not keyed or bounded or selection.table is schema.instruments:
            return None
        symbols = self.known_symbols()
        return symbols[len(symbols) // 2] if len(symbols) >= MANY else None

    def _whole(self, selection: Selection) -> pa.Table:
        return self._whole_of(_statement(selection))

    def _whole_of(self, statement: str) -> pa.Table:
        with self._stream(statement) as batches:
            return batches.read_all()

    @contextmanager
    def batches(self, selection: Selection) -> Iterator[pa.RecordBatchReader]:
        """The selected rows in batches of some megabytes, as they arrive."""
        with self._stream(_statement(selection)) as batches:
            yield batches

    @contextmanager
    def _stream(self, statement: str) -> Iterator[pa.RecordBatchReader]:
        with self._run(statement) as cursor:
            found = cursor.fetch_record_batch()
            plain = pa.schema([field.remove_metadata() for field in found.schema])
            yield pa.RecordBatchReader.from_batches(plain, _plain(found, plain, self._url))

    def known_symbols(self, symbols: Sequence[str] | None = None) -> list[str]:
        """The instruments that exist, of `symbols` or of all, in order."""
        known = Selection(schema.instruments, ["symbol"], symbols)
        names: list[str] = self.table(known)["symbol"].to_pylist()
        return names

    def given_up(self) -> list[GivenUp]:
        """The symbols that instruments gave up, in the order in which they did."""
        return from_rows(self._whole_of(STATEMENT).to_pylist())

    def revisions_kept(self, tables: Sequence[str]) -> dict[str, datetime]:
        """Of those of `tables` whose old revisions were deleted: since when they can be read as of a time."""
        named = sql.Literal(list(tables)).as_string(None)
        query = f"SELECT table_name, since FROM revisions_kept WHERE table_name = ANY ({named}::text[])"
        return {row["table_name"]: row["since"] for row in self._whole_of(query).to_pylist()}

    def texts(self, statement: str) -> list[str]:
        """The values of the one column of text that a SELECT has."""
        values: list[str] = self._whole_of(statement).column(0).to_pylist()
        return values

    @contextmanager
    def _run(self, statement: str) -> Iterator[Any]:
        with _translated(self._url), self._connection.cursor() as cursor:
            cursor.adbc_statement.set_options(**{StatementOptions.BATCH_SIZE_HINT_BYTES.value: str(BATCH_BYTES)})
            cursor.execute(statement)
            yield cursor


def _plain(found: pa.RecordBatchReader, plain: pa.Schema, url: URL) -> Iterator[pa.RecordBatch]:
    """The batches without the driver's notes on the columns; raises DatabaseError if the connection is lost."""
    try:
        for batch in found:
            yield pa.RecordBatch.from_arrays(batch.columns, schema=plain)
    except (OSError, pa.ArrowException) as error:
        raise connection_error(url, _PREFIX.sub("", str(error))) from None


@contextmanager
def reading(snapshot: str | None = None, *, primary: bool = False) -> Iterator[Reader]:
    """A snapshot of the market database, or an exported one; of its replica where one is set, unless `primary`.

    The embedded server is started if it is the one to use. Raises DatabaseError. Connections are kept for the next
    reader: opening one takes longer than reading ten years.
    """
    url = (None if primary else urls.replica_url()) or urls.market_url()
    connection = _begun(url)
    try:
        with _translated(url):
            if snapshot is not None:
                _execute(connection, f"SET TRANSACTION SNAPSHOT '{snapshot}'")
            if _is_pooled(url):
                _execute(connection, _settings(of_transaction=True))
        yield Reader(connection, url)
        with _translated(url):
            connection.adbc_connection.set_autocommit(True)
    except BaseException:
        connection.close()
        raise
    _IDLE.give(url, connection)


class _Idle:
    """Connections that nobody uses now, of this process, by address."""

    MOST = 4

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[tuple[int, URL], list[Any]] = {}

    def take(self, url: URL) -> Any | None:
        with self._lock:
            kept = self._kept.get((os.getpid(), url))
            return kept.pop() if kept else None

    def give(self, url: URL, connection: Any) -> None:
        with self._lock:
            kept = self._kept.setdefault((os.getpid(), url), [])
            if len(kept) < self.MOST:
                kept.append(connection)
                return
        connection.close()


_IDLE = _Idle()


def _begun(url: URL) -> Any:
    """A connection in a transaction of its own; one that was lost while nobody used it is replaced."""
    while (kept := _IDLE.take(url)) is not None:
        try:
            _require_alive(kept)
            _begin(kept, url)
        except adbc_driver_manager.Error:
            kept.close()
        else:
            return kept
    connection = _connect(url)
    with _translated(url):
        _begin(connection, url)
    return connection


def _connect(url: URL) -> Any:
    options = {name: str(value) for name, value in session_settings.CONNECT_ARGUMENTS.items() if name not in url.query}
    try:
        connection = dbapi.connect(urls.libpq_url(url.update_query_dict(options), with_secrets=True), autocommit=True)
    except adbc_driver_manager.Error as error:
        raise connection_error(url, _PREFIX.sub("", str(error))) from None
    if not _is_pooled(url):
        with _translated(url):
            _execute(connection, _settings(of_transaction=False))
    return connection


@cache
def _is_pooled(url: URL) -> bool:
    """Whether a pooler stands before the server, which ADBC cannot tell."""
    if urls.is_embedded():
        return False
    with autocommit(url) as connection:
        return session_settings.is_pooled(connection)


def _settings(*, of_transaction: bool) -> str:
    settings = session_settings.FOLLOWED_BY_POOLERS | session_settings.READING | session_settings.LIMITS
    if not of_transaction:
        settings |= _ISOLATED
    each = (f"set_config('{name}', '{value}', {str(of_transaction).lower()})" for name, value in settings.items())
    return f"SELECT {', '.join(each)}"


def _require_alive(connection: Any) -> None:
    """The option is asked of the server, in one round trip; raises the driver's error if the connection was lost."""
    connection.adbc_connection.get_option(adbc_driver_manager.ConnectionOptions.CURRENT_DB_SCHEMA.value)


def _begin(connection: Any, url: URL) -> None:
    """As a statement of a cursor it would be sent in pieces, of which a pooler gives each to another session."""
    connection.adbc_connection.set_autocommit(False)
    if _is_pooled(url):
        _execute(connection, _ISOLATION)


def _execute(connection: Any, statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


@contextmanager
def _translated(url: URL) -> Iterator[None]:
    try:
        yield
    except adbc_driver_manager.Error as error:
        text = _PREFIX.sub("", str(error))
        lost = error.status_code == adbc_driver_manager.AdbcStatusCode.IO and not error.sqlstate
        raise _error(url, error, text, lost=lost) from None


def _error(url: URL, error: Any, text: str, *, lost: bool) -> DatabaseError:
    if lost:
        return connection_error(url, text)
    known = statement_error(url, error, lost=False)
    first = text.partition("\n")[0]
    return known or StatementFailed(f"{describe(url)} refuses a statement: {first} ({error.sqlstate})", error.sqlstate)


def _statement(selection: Selection) -> str:
    """The SELECT, without parameters: ADBC reads by COPY, which takes none."""
    table = selection.table
    source: sql.Composable = sql.Identifier(table.name)
    if selection.as_of is not None:
        function = sql.Identifier(as_of_functions.function_name(table))
        source = sql.SQL("{}({})").format(function, _instant(selection.as_of))
    elif selection.repaired:
        source = sql.Identifier(repaired_views.view_name(table))
    columns = [_column(table.c[name]) for name in selection.columns]
    key = [sql.Identifier(column.name) for column in table.primary_key.columns]
    conditions = list(_conditions(selection))
    where = sql.SQL(" AND ").join(conditions) if conditions else sql.SQL("true")
    first = sql.SQL("" if selection.limit is None else f" LIMIT {selection.limit:d}")
    return (
        sql.SQL("SELECT {} FROM {} AS t WHERE {} ORDER BY {}{}")
        .format(sql.SQL(", ").join(columns), source, where, sql.SQL(", ").join(key), first)
        .as_string(None)
    )


def _column(column: sa.Column[Any]) -> sql.Composable:
    name = sql.Identifier(column.name)
    return sql.SQL("{0}::text AS {0}").format(name) if isinstance(column.type, _AS_TEXT) else name


def _conditions(selection: Selection) -> Iterator[sql.Composable]:
    if selection.since is not None:
        yield sql.SQL("symbol >= {}").format(sql.Literal(selection.since))
    if selection.before is not None:
        yield sql.SQL("symbol < {}").format(sql.Literal(selection.before))
    if selection.symbols is not None:
        if len(selection.symbols) == 1:  # so that the key gives the order
            yield sql.SQL("symbol = {}").format(sql.Literal(selection.symbols[0]))
        else:
            yield sql.SQL("symbol = ANY ({}::text[])").format(sql.Literal(list(selection.symbols)))
    elif _is_narrow(selection):
        yield sql.SQL("symbol = ANY (ARRAY(SELECT symbol FROM instruments))")
    if selection.start is None and selection.end is None:
        return
    time = days.require_time(selection.table)
    name, by_day = sql.Identifier(time.name), isinstance(time.type, sa.Date)
    if selection.start is not None:
        yield sql.SQL("{} >= {}").format(name, _bound(selection.start, by_day=by_day))
    if selection.end is not None:
        if by_day or isinstance(selection.end, datetime):
            yield sql.SQL("{} <= {}").format(name, _bound(selection.end, by_day=by_day))
        else:
            yield sql.SQL("{} < {}").format(name, _bound(selection.end + timedelta(days=1), by_day=False))


def _is_narrow(selection: Selection) -> bool:
    """Whether it is about few days of all symbols of a table that has no index by time.

    The key finds them three times faster if it is given the symbols.
    """
    key = selection.table.primary_key.columns.keys()[:2]
    if selection.start is None or selection.end is None or key[0] != "symbol":
        return False
    if any(index.columns.keys() == key[1:] for index in selection.table.indexes):
        return False
    length = _instant_of(selection.end) - _instant_of(selection.start)
    return key[1:] == [days.require_time(selection.table).name] and length <= NARROW


def _bound(time: date, *, by_day: bool) -> sql.Composable:
    if by_day:
        day = time.astimezone(UTC).date() if isinstance(time, datetime) else time
        return sql.SQL("{}::date").format(sql.Literal(day.isoformat()))
    return _instant(_instant_of(time))


def _instant_of(time: date) -> datetime:
    return time if isinstance(time, datetime) else datetime(time.year, time.month, time.day, tzinfo=UTC)


def _instant(at: datetime) -> sql.Composable:
    return sql.SQL("{}::timestamptz").format(sql.Literal(at.astimezone(UTC).isoformat()))
