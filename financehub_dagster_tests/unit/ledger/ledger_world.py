"""A small market with a ledger: what tests of the ledger do to it, each act with its settling in one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import sqlalchemy as sa

from financehub_dagster.market import calendars
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.storage.coverage import ledger
from financehub_dagster.storage.coverage.confirmed_empty import SessionsResponse
from financehub_dagster.storage.database import schema
from financehub_dagster.storage.database.engine import transaction
from financehub_dagster.storage.dead_letters.dead_letters import Failure, record_failures, resolve_failures
from financehub_dagster.storage.queries.instruments import deactivate_instruments, upsert_instruments
from financehub_dagster.storage.upsert.upsert import write

type Columns = dict[str, np.ndarray[Any, Any]]

STOCKS, CRYPTOS, INDICATORS = "stock_prices_daily", "crypto_prices_daily", "indicators_daily"
HISTORY_START = date(2024, 1, 1)
NOW = datetime(2024, 6, 14, 22, tzinfo=UTC)

APPLE = Instrument("AAPL", "Apple", AssetType.STOCK, "XNAS", market_cap=3e12)
FORD = Instrument("F", "Ford", AssetType.STOCK, "XNYS", market_cap=5e10)
SAP = Instrument("SAP", "SAP", AssetType.STOCK, "XETR", market_cap=2e11)
BITCOIN = Instrument("BTC", "Bitcoin", AssetType.CRYPTO, "XXXX", market_cap=1e12)
ETHER = Instrument("ETH", "Ether", AssetType.CRYPTO, "XXXX", market_cap=4e11)
EVERYONE = (APPLE, FORD, SAP, BITCOIN, ETHER)


def price_table(instrument: Instrument) -> str:
    return CRYPTOS if instrument.asset_type is AssetType.CRYPTO else STOCKS


@dataclass
class World:
    """The market at `now`."""

    now: datetime = NOW

    def sessions(self, instrument: Instrument, start: date, end: date) -> list[date]:
        """The sessions that have finished, of any instrument."""
        days = calendars.schedule(instrument, start, end).dates
        return days[calendars.finished(instrument, days, self.now)].tolist()

    def join(self, *instruments: Instrument) -> None:
        with transaction() as connection:
            upsert_instruments(connection, instruments)
        ledger.refresh(self.now)

    def leave(self, *instruments: Instrument) -> None:
        with transaction() as connection:
            deactivate_instruments(connection, [instrument.symbol for instrument in instruments])
        ledger.refresh(self.now)

    def pass_time(self, **by: float) -> None:
        self.now += timedelta(**by)
        ledger.refresh(self.now)

    def answer(
        self,
        instrument: Instrument,
        start: date,
        end: date,
        without: Sequence[date] = (),
        rejected: Sequence[date] = (),
        provider: str = "yahoo",
    ) -> None:
        """The vendor sends all finished sessions but those `without`; of these the `rejected` are not stored."""
        sent = [day for day in self.sessions(instrument, start, end) if day not in without]
        with transaction() as connection:
            store_bars(connection, instrument, [day for day in sent if day not in rejected])
            first = min(sent, default=None)
            refused = [day for day in rejected if day in sent]
            given = SessionsResponse(instrument.symbol, provider, start, end, self.now, first, refused)
            ledger.answered(connection, price_table(instrument), [given], self.now)

    def compute(self, instrument: Instrument, start: date, end: date) -> None:
        """A row of indicators for each stored bar."""
        rows = schema.table(price_table(instrument)).c
        with transaction() as connection:
            theirs = sa.select(rows.date).where(rows.symbol == instrument.symbol, rows.date.between(start, end))
            days = list(connection.execute(theirs).scalars())
            store_indicators(connection, instrument, days)
            ledger.settle(connection, INDICATORS, [instrument.symbol], start, end, self.now)

    def fail(self, table: str, partition: str, symbol: str, symbols: Sequence[str] | None = None) -> None:
        kwargs = {} if symbols is None else {"symbols": list(symbols)}
        with transaction() as connection:
            record_failures(connection, [Failure(table, "Outage", partition, symbol, kwargs=kwargs)])
            self._settle(connection, table, partition, [symbol] if symbol else None)

    def resolve(self, table: str, partition: str, symbol: str) -> None:
        with transaction() as connection:
            resolve_failures(connection, task_name=table, partition_key=partition, symbols=[symbol])
            self._settle(connection, table, partition, [symbol] if symbol else None)

    def defer(self, table: str, partition: str, symbol: str, until: datetime) -> None:
        row = {"task_name": table, "partition_key": partition, "symbol": symbol}
        with transaction() as connection:
            connection.execute(
                sa.text(
                    "insert into deferred_work (task_name, partition_key, symbol, provider, until, reason)"
                    " values (:task_name, :partition_key, :symbol, 'yahoo', :until, 'spent') on conflict do nothing"
                ),
                {**row, "until": until},
            )
            self._settle(connection, table, partition, [symbol] if symbol else None)

    def take_up(self, table: str) -> None:
        """All work that was put off is done with."""
        with transaction() as connection:
            connection.execute(sa.delete(schema.deferred_work).where(schema.deferred_work.c.task_name == table))
            ledger.settle(connection, table, None, HISTORY_START, self.now.date(), self.now)

    def _settle(self, connection: sa.Connection, table: str, partition: str, symbols: Sequence[str] | None) -> None:
        first, _, last = partition.partition("...")
        months = date.fromisoformat(first), date.fromisoformat(last or first)
        ledger.settle(connection, table, symbols, *months, self.now)

    def rebuild(self) -> int:
        return ledger.rebuild(self.now)

    def row(self, table: str, instrument: Instrument, month: str) -> dict[str, Any]:
        """What the ledger says of a month: sessions expected and stored, and those in each other state."""
        start = date.fromisoformat(month)
        sessions = sessions_of_row(table, instrument)
        inside = {name: [day for day in days if day.replace(day=1) == start] for name, days in sessions.items()}
        counts = {name: len(inside.pop(name)) for name in ("expected", "stored")}
        return {**counts, **inside}


STATES = ("empty", "gap", "dead_lettered", "deferred")


def sessions_of_row(table: str, instrument: Instrument) -> dict[str, list[date]]:
    """Read a row of the ledger day by day, as people do in SQL: every expected session is stored or in a range."""
    query = sa.text(
        "select d.state, d.day from coverage, lateral ("
        + " union all ".join(
            f"select '{state}' as state, generate_series(lower(r), upper(r) - 1, interval '1 day')::date as day"
            f" from unnest({state}) as r"
            for state in STATES
        )
        + ") as d where table_name = :t and symbol = :s"
    )
    with transaction() as connection:
        asked = {"t": table, "s": instrument.symbol}
        span = connection.execute(
            sa.text("select first, through from coverage where table_name = :t and symbol = :s"), asked
        ).one()
        found: dict[str, list[date]] = {state: [] for state in STATES}
        for row in connection.execute(query, asked):
            found[row.state].append(row.day)
    if table == INDICATORS:
        expected = sessions_of_row(price_table(instrument), instrument)["stored"]
    else:
        expected = calendars.schedule(instrument, *span).dates.tolist()
    known = set(expected)
    found = {state: sorted(known.intersection(days)) for state, days in found.items()}
    others = [day for days in found.values() for day in days]
    assert len(others) == len(set(others)), "a session is in two states"
    return {"expected": expected, "stored": sorted(known.difference(others)), **found}


def store_bars(connection: sa.Connection, instrument: Instrument, days: Sequence[date]) -> None:
    columns: Columns = {
        name: np.full(len(days), 10.0) for name in ("open", "high", "low", "close", "adj_close", "volume")
    }
    stamp = np.full(len(days), np.datetime64("2024-06-01T12:00:00"))
    columns |= {
        "symbol": np.full(len(days), instrument.symbol, object),
        "date": np.array(days, "datetime64[D]"),
        "source": np.full(len(days), "yahoo", object),
        "fetched_at": stamp,
    }
    table = schema.table(price_table(instrument))
    write(connection, table, columns, run_id="run-1", keep_revisions=True)


def store_indicators(connection: sa.Connection, instrument: Instrument, days: Sequence[date]) -> None:
    table = schema.table("indicators_daily")
    columns: Columns = {column.name: np.full(len(days), np.nan) for column in table.c}
    columns |= {
        "symbol": np.full(len(days), instrument.symbol, object),
        "date": np.array(days, "datetime64[D]"),
        "computed_at": np.full(len(days), np.datetime64("2024-06-01T12:00:00")),
    }
    write(connection, table, columns, run_id="run-1", keep_revisions=False)
