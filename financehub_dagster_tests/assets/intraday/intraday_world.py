"""A market of minutes whose clock the test moves: the sandbox answers as of that time, and the engine asks as of it."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

import sqlalchemy as sa

from financehub_dagster.ingest.intraday.minutes import MinutesRun, update_minutes
from financehub_dagster.ingest.outcome import Outcome
from financehub_dagster.ingest.partitions import Window
from financehub_dagster.market.instruments import Instrument
from financehub_dagster.providers.routing import IntradayRouter
from financehub_dagster.sandbox.client import Sandbox
from financehub_dagster.storage.coverage import minute_rows
from financehub_dagster.storage.coverage.minutes import Settled
from financehub_dagster.storage.database.engine import transaction
from financehub_dagster.storage.queries.partition_keys import key_of
from financehub_dagster_tests.assets.conftest import Platform

LOG = logging.getLogger("test")


@dataclass
class MinuteMarket:
    """Pulls as of any time."""

    platform: Platform
    sandbox: Sandbox
    router: IntradayRouter
    now: datetime | None = None

    def clock(self) -> datetime:
        """What time it is for this machine: that of the last pull, or the real time before any."""
        return self.now or datetime.now(UTC)

    def at(self, now: datetime) -> None:
        """From now on it is `now`, here and at the vendors."""
        self.now = now
        self.sandbox.freeze(now)

    def pull(
        self, now: datetime, instruments: Sequence[Instrument], first: date, *, tail_only: bool = False
    ) -> dict[str, Outcome]:
        """What a run at `now` over the days since `first` does."""
        self.at(now)
        window = Window(first, now.date(), key_of(first.isoformat(), now.date().isoformat()))
        order = MinutesRun("ohlc_1m", self.router, window, "test", now, tail_only)
        return update_minutes(order, instruments, LOG)

    def settled(self, symbol: str) -> Settled:
        """The ledger of an instrument."""
        with transaction() as connection:
            return minute_rows.read(connection, [symbol])[symbol]

    def minutes(self, symbol: str, table: str = "ohlc_1m") -> list[datetime]:
        """The opening instants of its stored bars, in order."""
        query = sa.text(f"select ts from {table} where symbol = :symbol order by ts")
        with self.platform.engine.connect() as connection:
            return [at.astimezone(UTC) for at in connection.execute(query, {"symbol": symbol}).scalars()]
