"""Days of ticks in minutes: the sandbox, the database and the planner are told what time it is, and nobody waits."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np

from financehub_dagster.automation.jobs.realtime import Tick, plan_tick
from financehub_dagster.market.instruments import Instrument
from financehub_dagster.market.intraday.resampling import LENGTHS, bar_opening
from financehub_dagster.market.intraday.trading_hours import trading_hours
from financehub_dagster.storage.queries.instruments import upsert_instruments
from financehub_dagster_tests.assets.intraday.intraday_world import MinuteMarket
from financehub_dagster_tests.fixtures.database import Database

TABLES = {1: "ohlc_1m", 5: "ohlc_5m", 15: "ohlc_15m", 60: "ohlc_1h"}
AFTER = timedelta(seconds=2)
"""How long after the full minute a tick comes."""
CLOCK = """
    create schema simulated;
    create table simulated.clock (ahead interval not null);
    insert into simulated.clock values ('0');
    create function simulated.clock_timestamp() returns timestamptz volatile language sql as
        'select pg_catalog.clock_timestamp() + ahead from simulated.clock';
"""


class DatabaseClock:
    """The clock that limits and quotas are counted by: statements find this one before PostgreSQL's own."""

    def __init__(self, database: Database) -> None:
        self._engine = database.engine
        with self._engine.begin() as connection:
            connection.exec_driver_sql(CLOCK)
            name = self._engine.url.database
            connection.exec_driver_sql(f"alter database {name} set search_path = simulated, pg_catalog, public")
        self._engine.dispose()

    def set(self, now: datetime) -> None:
        """It runs on from `now`."""
        with self._engine.begin() as connection:
            ahead = f"'{now.isoformat()}'::timestamptz - pg_catalog.clock_timestamp()"
            connection.exec_driver_sql(f"update simulated.clock set ahead = {ahead}")


@dataclass
class Simulation:
    """Ticks of `realtime_pull` over some instruments, and when each of them was asked for."""

    market: MinuteMarket
    instruments: Sequence[Instrument]
    clock: DatabaseClock | None = None
    asked: dict[str, list[datetime]] = field(default_factory=dict)
    ticks: list[tuple[datetime, float, Tick]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.market.platform.execute("delete from instruments")
        with self.market.platform.engine.begin() as connection:
            upsert_instruments(connection, self.instruments)
        self.asked = {each.symbol: [] for each in self.instruments}

    def run(self, times: Sequence[datetime]) -> None:
        """A tick at each time."""
        by_symbol = {each.symbol: each for each in self.instruments}
        for full in times:
            now = full + AFTER
            if self.clock is not None:
                self.clock.set(now)
            self.market.at(now)
            tick = plan_tick(self.market.router, now)
            self.ticks.append((now, time.time(), tick))
            if tick.symbols:
                chosen = [by_symbol[symbol] for symbol in tick.symbols]
                outcomes = self.market.pull(now, chosen, tick.first.date(), tail_only=True)
                done = outcomes["ohlc_1m"]
                assert not done.failures, f"{now}: {done.failures}"
                assert not done.deferred, f"{now}: {done.deferred}"
            for symbol in tick.symbols:
                self.asked[symbol].append(now)

    def weights_by_tick(self, vendor: str) -> Iterator[tuple[datetime, int]]:
        """What the vendor counted in each tick: the time is the simulated one."""
        began = [at for _, at, _ in self.ticks]
        counted: Counter[int] = Counter()
        for call in self.market.sandbox.calls(vendor, detail=True)["calls"]:
            counted[int(np.searchsorted(began, call["at"], side="right")) - 1] += call["weight"]
        assert counted[-1] == 0
        return ((now, counted[number]) for number, (now, _, _) in enumerate(self.ticks))

    def calls_in_vain(self) -> list[tuple[str, datetime]]:
        """The calls for an instrument whose market had not traded since the call before it."""
        found = []
        for each in self.instruments:
            hours = trading_hours(each)
            for before, now in zip(self.asked[each.symbol], self.asked[each.symbol][1:], strict=False):
                if not hours.count(_instant(before.replace(second=0)), _instant(now)):
                    found.append((each.symbol, now))
        return found

    def missing_bars(self, start: datetime, stop: datetime) -> dict[tuple[str, str], list[str]]:
        """By table and symbol, the bars of [start, stop) that are not stored, or are stored and should not be."""
        found = {}
        for each in self.instruments:
            hours = trading_hours(each)
            minutes = hours.minutes(_instant(start), _instant(stop))
            for length in (1, *LENGTHS):
                expected = {at.replace(tzinfo=UTC) for at in np.unique(bar_opening(hours, minutes, length)).tolist()}
                stored = [at for at in self.market.minutes(each.symbol, TABLES[length]) if start <= at < stop]
                wrong = expected.symmetric_difference(stored)
                if wrong:
                    found[TABLES[length], each.symbol] = [f"{at:%d %H:%M}" for at in sorted(wrong)][:5]
        return found


def edges(instruments: Sequence[Instrument], start: datetime, stop: datetime, every: timedelta) -> list[datetime]:
    """Ticks at regular intervals, and each minute around the moments at which a market opens or closes."""
    times = {start + every * number for number in range(int((stop - start) / every) + 1)}
    for each in instruments:
        hours = trading_hours(each).between(_instant(start), _instant(stop))
        for at in [*hours.starts.tolist(), *hours.stops.tolist()]:
            times |= {at.replace(tzinfo=UTC) + timedelta(minutes=minutes) for minutes in (-1, 0, 1, 2)}
    return sorted(at for at in times if start <= at <= stop)


def _instant(at: datetime) -> np.datetime64:
    return np.datetime64(at.replace(tzinfo=None), "s")
