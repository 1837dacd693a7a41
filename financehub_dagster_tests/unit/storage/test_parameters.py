"""No statement has a bind parameter per row: PostgreSQL takes 65,535 of them, and arrays take any number of values.

Every function of the storage that takes a connection and many values is called with few of them and with many; a new
one is found by its annotations, which also say how to make what it takes.
"""

import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from types import NoneType, UnionType
from typing import Any, ClassVar, Union, get_args, get_origin

import numpy as np
import pandas as pd
import psycopg
import pytest
import sqlalchemy as sa

from financehub_dagster import storage
from financehub_dagster.market.holdings import Lot
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.storage import discrepancies
from financehub_dagster.storage.coverage.confirmed_empty import EmptyResponses, EmptySessions, SessionsResponse
from financehub_dagster.storage.coverage.minutes import Settled, Stretch
from financehub_dagster.storage.coverage.rows import Row
from financehub_dagster.storage.database import schema
from financehub_dagster.storage.database.errors import StatementFailed
from financehub_dagster.storage.dead_letters.dead_letters import (
    EXCEPTION_CHARACTERS,
    TRACEBACK_CHARACTERS,
    Failure,
    record_failures,
)
from financehub_dagster.storage.dead_letters.deferred_work import Deferral
from financehub_dagster.storage.lineage.stale_inputs import Mark
from financehub_dagster.storage.measured_bars import Example, Measured
from financehub_dagster.storage.operations.alerts import Due
from financehub_dagster.storage.operations.freshness import Freshness
from financehub_dagster.storage.operations.health_checks import Checked
from financehub_dagster.storage.operations.notifications import Claimed
from financehub_dagster.storage.operations.sla_breaches import Breach
from financehub_dagster.storage.queries.instruments import upsert_instruments
from financehub_dagster_tests.fixtures.database import Database

FEW, MANY = 10, 1000
LIMIT = 65_535
TABLE = "stock_prices_daily"
START, END, NOW = date(2024, 1, 1), date(2024, 1, 31), datetime(2024, 6, 14, 22, tzinfo=UTC)
DAYS = np.arange(np.datetime64(START, "D"), np.datetime64(END, "D"))
TAKES_MANY = re.compile(r"Sequence|Iterable|Mapping|Collection|DataFrame|list\[|dict\[")


def symbols(count: int) -> list[str]:
    return [f"S{number:05d}" for number in range(count)]


def asked_in_vain() -> EmptySessions:
    """An instrument's sessions, of which a vendor had none when it was asked."""
    known = EmptySessions(DAYS, {})
    known.asked[EmptyResponses("yahoo", 1, NOW, NOW)] = np.ones(DAYS.size, bool)
    return known


def rejected(count: int) -> pd.DataFrame:
    rows = {"symbol": symbols(count), "rule": "positive", "source": "yahoo", "close": np.arange(count) - float(count)}
    return pd.DataFrame({**rows, "date": pd.Timestamp(START)})


def bars(count: int) -> dict[str, Any]:
    prices = dict.fromkeys(("open", "high", "low", "close", "adj_close", "volume"), np.full(count, 10.0))
    names = {"symbol": np.array(symbols(count), object), "source": np.full(count, "yahoo", object)}
    return {**prices, **names, "date": np.full(count, START, "M8[D]"), "fetched_at": np.full(count, START, "M8[us]")}


ONE: dict[object, Callable[[int], object]] = {
    str: lambda number: f"S{number:05d}",
    int: lambda number: number,
    float: lambda number: 1.0 + number,
    bool: lambda _: False,
    date: lambda number: START - timedelta(days=number),
    datetime: lambda _: NOW,
    sa.Table: lambda _: schema.table(TABLE),
    Mark: lambda _: Mark(START, 1),
    Failure: lambda number: Failure(TABLE, "Outage", f"{START}", f"S{number:05d}", kwargs={"symbols": [f"S{number}"]}),
    Deferral: lambda number: Deferral(TABLE, f"{START}", f"S{number:05d}", "yahoo", NOW, "spent"),
    Instrument: lambda number: Instrument(f"S{number:05d}", "New", AssetType.STOCK, "XNYS"),
    Checked: lambda number: Checked(f"part:{number}", "ok", "it answers", 0.1),
    Due: lambda number: Due(number, "it failed", NOW, NOW, recurrence=0),
    Breach: lambda number: Breach(f"table-{number}", "XNAS", 1.0, 2.0, "late"),
    Freshness: lambda number: Freshness(f"table-{number}", "XNAS", NOW, NOW, 1.0, 0.0),
    Claimed: lambda number: Claimed(f"S{number:05d}", START, "macd_zero", "entry", 1.0, "USD"),
    Lot: lambda number: Lot("main", f"S{number:05d}", 1.0, 1.0, START),
    SessionsResponse: lambda number: SessionsResponse(f"S{number:05d}", "yahoo", START, END, NOW, None),
    discrepancies.Row: lambda number: discrepancies.Row(
        START + timedelta(days=number), "close", "value", "yahoo", 1.0, 2.0, None
    ),
    Measured: lambda number: Measured(f"kind {number}", True, [START], Example(START, "close", 1.0, 2.0, "yahoo")),
}
"""A value of each type, by its number."""
NAMED: dict[str, Callable[[int], object]] = {
    "table": lambda _: TABLE,
    "task_name": lambda _: TABLE,
    "partition_key": lambda _: f"{START}",
    "columns": bars,
    "rejected": rejected,
    "span": lambda _: (START, END),
    "has": lambda _: None,
    "read.sessions": lambda count: dict.fromkeys(symbols(count), DAYS),
    "follow.kind": lambda _: "freshness",
    "newest_rows.column": lambda _: "date",
    "save.known": lambda count: {symbol: asked_in_vain() for symbol in symbols(count)},
    "replace.found": lambda _: {},
    "save.before": lambda _: {},
    "save.after": lambda count: {
        symbol: Settled(0, 120, NOW, (Stretch(0, 60, 1, "yahoo", NOW),)) for symbol in symbols(count)
    },
    "stored.spans": lambda count: dict.fromkeys(symbols(count), (0, 60)),
    "stored.sources": lambda count: {symbol: ["yahoo"] for symbol in symbols(count)},
    "ensure_months.table": lambda _: "ohlc_1m",
    "rename.new": lambda _: "NEW",
    "replace.wanted": lambda count: {(TABLE, symbol): Row(START, END, 1, ("{}",) * 4) for symbol in symbols(count)},
    # A key of one row.
    "read_page.after": lambda _: ["S00000", START],
    # As many as there are kinds, tables and states.
    "tables": lambda _: [TABLE],
    "names": lambda _: [TABLE],
    "statuses": lambda _: ["open"],
    "asset_types": lambda _: [AssetType.STOCK],
    "derived": lambda _: ["indicators_daily"],
    "drop_derived.derived": lambda _: "indicators_daily",
    "drop_derived.period": lambda _: "session",
    "drop_absent.derived": lambda _: "signals",
    "drop_absent.computed": lambda count: {**bars(count), "rule": np.array(symbols(count), object)},
    "bars_without_rows.name": lambda _: "indicators_daily",
}
"""What is given to parameters of these names, or to that of one function, where its type does not say enough."""


def made(kind: Any, count: int) -> object:
    """A value of the annotated type: `count` elements of what may be many."""
    arguments = [each for each in get_args(kind) if each is not NoneType]
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        return made(arguments[0], count)
    if origin in (Mapping, dict):
        return {one(arguments[0], number): one(arguments[1], number) for number in range(count)}
    if origin in (Sequence, Iterable, Collection, list):
        return [one(arguments[0], number) for number in range(count)]
    return one(kind, 0)


def one(kind: Any, number: int) -> Any:
    if get_origin(kind) is tuple:
        return tuple(one(each, number) for each in get_args(kind))
    if get_origin(kind) is not None:
        return made(kind, 1)
    assert kind in ONE, f"say in ONE or NAMED how to make {kind}"
    return ONE[kind](number)


def takes_many() -> Iterator[tuple[str, Callable[..., object]]]:
    """The functions that take a connection and something of which there may be many."""
    for module in pkgutil.walk_packages(storage.__path__, f"{storage.__name__}."):
        if ".migrations." in module.name:
            continue
        loaded = importlib.import_module(module.name)
        for name, found in vars(loaded).items():
            if name.startswith("_") or not inspect.isfunction(found) or found.__module__ != module.name:
                continue
            kinds = [str(parameter.annotation) for parameter in inspect.signature(found).parameters.values()]
            if any("Connection" in kind for kind in kinds) and any(map(TAKES_MANY.search, kinds)):
                yield f"{module.name.rpartition('.')[2]}.{name}", found


FUNCTIONS = dict(takes_many())


class CountingCursor(psycopg.Cursor[Any]):
    """Remembers how many parameters each statement has; rows that are copied are no parameters."""

    counts: ClassVar[list[int]] = []

    def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        self.counts.append(len(params or ()))
        return super().execute(query, params, **options)

    def stream(self, query: Any, params: Any = None, **options: Any) -> Any:
        self.counts.append(len(params or ()))
        return super().stream(query, params, **options)

    def executemany(self, query: Any, params_seq: Any, **options: Any) -> Any:
        raise AssertionError("a statement per row")


@contextmanager
def counting(engine: sa.Engine) -> Iterator[tuple[sa.Connection, list[int]]]:
    """A connection in a transaction that is taken back, and how many parameters each of its statements has."""
    with engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        before, driver.cursor_factory, CountingCursor.counts = driver.cursor_factory, CountingCursor, []
        try:
            yield connection, CountingCursor.counts
        finally:
            driver.cursor_factory = before
            connection.rollback()


def call(connection: sa.Connection, name: str, count: int) -> None:
    """Call a function with `count` values of whatever it takes many of."""
    function = FUNCTIONS[name]
    given: dict[str, Any] = {}
    for parameter in inspect.signature(function).parameters.values():
        many = TAKES_MANY.search(str(parameter.annotation))
        if parameter.name == "connection":
            given["connection"] = connection
        elif parameter.default is inspect.Parameter.empty or many:
            own = f"{name.rpartition('.')[2]}.{parameter.name}"
            maker = None if parameter.annotation is sa.Table else NAMED.get(own) or NAMED.get(parameter.name)
            given[parameter.name] = maker(count) if maker else made(parameter.annotation, count)
    found = function(**given)
    if isinstance(found, Iterator):
        list(found)


@pytest.fixture(scope="module")
def universe(module_database: Database) -> sa.Engine:
    with module_database.engine.begin() as connection:
        upsert_instruments(connection, [one(Instrument, number) for number in range(MANY)])
        record_failures(connection, [one(Failure, number) for number in range(MANY)])
    return module_database.engine


@pytest.mark.parametrize("name", FUNCTIONS)
def test_statements_have_as_many_parameters_for_few_values_as_for_many(universe: sa.Engine, name: str) -> None:
    most = {}
    for count in (FEW, MANY):
        with counting(universe) as (connection, counts):
            call(connection, name, count)
        most[count] = max(counts)
    assert most[MANY] == most[FEW], f"{name} binds a parameter per value"


def test_the_search_finds_what_it_has_to() -> None:
    assert {"dead_letters.record_failures", "upsert.write", "rejected_rows.record_rejections"} <= set(FUNCTIONS)


def test_more_than_a_statement_can_have_parameters(universe: sa.Engine) -> None:
    """What failed in use: 8,000 instruments, 9,400 rejected rows, 66,000 dead letters at once."""
    many = {"instruments.upsert_instruments": 8_000, "rejected_rows.record_rejections": 9_400, "replays.claim": 66_000}
    many |= {"dead_letters.discard_failures": LIMIT + 1, "dead_letters.read_failures": LIMIT + 1}
    with universe.connect() as connection:
        for name, count in many.items():
            call(connection, name, count)
            connection.rollback()


def test_an_error_names_what_was_refused_in_a_line_and_not_the_statement(universe: sa.Engine) -> None:
    numbers = sa.select(*(sa.literal(number).label(f"n{number}") for number in range(LIMIT + 1)))
    with universe.connect() as connection, pytest.raises(StatementFailed) as raised:
        connection.execute(numbers)
    assert len(str(raised.value)) < 1000
    assert "\n" not in str(raised.value)


def test_dead_letters_keep_the_beginning_of_an_error_and_what_text_can_hold(universe: sa.Engine) -> None:
    error, where = f"Malformed: \0 \ud800 {'x' * 1_000_000}", f"{'y' * 1_000_000} the end"
    kwargs = {"symbols": ["NUL"], "said": "\0"}
    with universe.connect() as connection:
        record_failures(connection, [Failure(TABLE, error, symbol="NUL", kwargs=kwargs, traceback=where)])
        query = "select exception, traceback, kwargs->>'said' from task_failures where symbol = 'NUL'"
        exception, traceback, said = connection.execute(sa.text(query)).one()
        connection.rollback()
    assert exception.startswith("Malformed: ? ? xxx")
    assert (len(exception), len(traceback), said) == (EXCEPTION_CHARACTERS, TRACEBACK_CHARACTERS, "?")
    assert traceback.endswith("the end")
