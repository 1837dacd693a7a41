"""Rows as runs leave them, for the tests of reading: bars, actions, indicators and a revision, by the real writer."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from typing import Any

import numpy as np
import sqlalchemy as sa

from financehub_dagster import read
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.storage import repaired_bars
from financehub_dagster.storage.database import schema
from financehub_dagster.storage.database.engine import transaction
from financehub_dagster.storage.queries.instruments import upsert_instruments
from financehub_dagster.storage.upsert.upsert import WriteResult, write

DAYS = 40
FIRST = date(2024, 1, 1)
SPLIT, DIVIDEND = date(2024, 1, 21), date(2024, 1, 11)
SYMBOLS = ("AAPL", "BRK.B", "MSFT")


def now() -> datetime:
    """The database's clock."""
    with transaction() as connection:
        found: datetime = connection.execute(sa.text("select clock_timestamp()")).scalar_one()
        return found


def bars(symbols: tuple[str, ...] = SYMBOLS, days: int = DAYS, raised: float = 0.0) -> dict[str, np.ndarray]:
    """Bars of a price that rises by 1 a day; a tenth of it was paid out on DIVIDEND."""
    numbers = np.tile(np.arange(days), len(symbols))
    close = 100.0 + numbers + raised
    date_of = np.datetime64(FIRST) + numbers
    return {
        "symbol": np.repeat(np.array(symbols, object), days),
        "date": date_of,
        "open": close - 0.5,
        "high": close + 1,
        "low": close - 1,
        "close": close,
        "adj_close": np.where(date_of < np.datetime64(DIVIDEND), close * 0.9, close),
        "volume": np.full(len(close), 1000.0),
        **_origin(len(close)),
    }


def actions() -> dict[str, np.ndarray]:
    """A split of AAPL 4:1, and a dividend before it."""
    rows = [("AAPL", DIVIDEND, "dividend", 11.0), ("AAPL", SPLIT, "split", 4.0)]
    symbol, day, kind, value = zip(*rows, strict=True)
    keys = {"symbol": np.array(symbol, object), "date": np.array(day, "M8[D]"), "kind": np.array(kind, object)}
    return {**keys, "value": np.array(value), **_origin(2)}


def indicators(symbol: str = "AAPL", shift: float = 0.0) -> dict[str, np.ndarray]:
    """Indicators of which only obv is known; `shift` changes it."""
    columns = {column.name: np.full(DAYS, np.nan) for column in schema.table("indicators_daily").columns}
    known = {"symbol": np.array([symbol] * DAYS, object), "date": np.datetime64(FIRST) + np.arange(DAYS)}
    stamp = np.full(DAYS, np.datetime64(now().replace(tzinfo=None), "us"))
    return {**columns, **known, "obv": np.arange(DAYS) + shift, "computed_at": stamp}


def store(table: sa.Table, columns: dict[str, Any], run_id: str = "run-1") -> WriteResult:
    with transaction() as connection:
        changes_only = table is schema.table("indicators_daily")
        return write(connection, table, columns, run_id=run_id, keep_revisions=True, changes_only=changes_only)


def remove(table: str, symbols: Sequence[str]) -> None:
    with transaction() as connection:
        own = schema.table(table)
        connection.execute(sa.delete(own).where(own.c.symbol.in_(symbols)))


@contextmanager
def listed(
    instrument: Instrument, rows: dict[str, np.ndarray], actions: Sequence[tuple[str, str, float]] = ()
) -> Iterator[None]:
    """An instrument with these bars and actions for as long as the block lasts."""
    of_kind = {"crypto": "crypto_prices_daily", "fx": "fx_prices_daily"}.get(
        str(instrument.asset_type), "stock_prices_daily"
    )
    with transaction() as connection:
        upsert_instruments(connection, [instrument])
    store(schema.table(of_kind), rows)
    if actions:
        days, kinds, values = zip(*actions, strict=True)
        symbols = np.array([instrument.symbol] * len(days), object)
        keys = {"symbol": symbols, "date": np.array(days, "M8[D]"), "kind": np.array(kinds, object)}
        origin = {name: rows[name][: len(days)] for name in ("source", "fetched_at")}
        store(schema.table("corporate_actions"), {**keys, "value": np.array(values), **origin})
    try:
        yield
    finally:
        for name in (of_kind, "corporate_actions", "instruments"):
            remove(name, [instrument.symbol])


@contextmanager
def one_in_pence(symbol: str, day: date) -> Iterator[None]:
    """The bar of that day a hundred times too small, and flagged so, for as long as the block lasts."""
    table = schema.table("stock_prices_daily")
    whole = read(table.name, symbols=symbol, start=day, end=day).iloc[0]
    columns = {str(name): np.array([value], object) for name, value in whole.items()}
    columns["date"] = columns["date"].astype("M8[D]")
    pence = {name: columns[name] / 100 for name in ("open", "high", "low", "close", "adj_close")}
    flags = np.empty(1, object)
    flags[0] = ("unit_100x",)
    store(table, {**columns, **pence, "flags": flags})
    repair(table.name, symbol, day, flags[0])
    try:
        yield
    finally:
        flags[0] = ()
        store(table, {**columns, "flags": flags})
        repair(table.name, symbol, day, ())


def repair(table: str, symbol: str, day: date, flags: tuple[str, ...]) -> None:
    """What a run does after it has written the bar of that day."""
    with transaction() as connection:
        repaired_bars.refresh(connection, table, {symbol: flags}, {symbol: day})


def fill() -> datetime:
    """Instruments, bars, actions and indicators; then AAPL's bars change. Returns a time before that."""
    with transaction() as connection:
        upsert_instruments(connection, [Instrument(name, name, AssetType.STOCK, "XNAS") for name in (*SYMBOLS, "NONE")])
    store(schema.table("stock_prices_daily"), bars())
    store(schema.actions, actions())
    store(schema.table("indicators_daily"), indicators())
    before = now()
    store(schema.table("stock_prices_daily"), bars(("AAPL",), raised=0.25), run_id="run-2")
    store(schema.table("indicators_daily"), indicators(shift=5), run_id="run-2")
    return before


def _origin(rows: int) -> dict[str, np.ndarray]:
    stamp = np.datetime64(now().replace(tzinfo=None), "us")
    return {"source": np.full(rows, "yahoo", object), "fetched_at": np.full(rows, stamp)}
