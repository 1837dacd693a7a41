"""A vendor and a clock for the budget planner: ticks that ask, credits that go, minutes that arrive in arrears."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.market.intraday.budget_planner import (
    Budget,
    CallCost,
    Candidates,
    Decision,
    Plan,
    candidates,
    plan,
)
from financehub_dagster.market.intraday.trading_hours import MINUTE, TradingHours, trading_hours

TWELVE_DATA = CallCost(per_symbol=1, symbols=8)
NOT = np.datetime64("NaT", "s")

TRADE_MATRIX = [
    Instrument("DAX", "DAX", AssetType.INDEX, "XETR", "EUR"),
    Instrument("NDX", "Nasdaq 100", AssetType.INDEX, "XNAS"),
    Instrument("DJI", "Dow Jones", AssetType.INDEX, "XNYS"),
    Instrument("EURUSD", "Euro", AssetType.FX, "XXXX"),
    Instrument("GBPUSD", "Pound", AssetType.FX, "XXXX"),
]


def at(text: str) -> np.datetime64:
    return np.datetime64(text, "s")


@dataclass(eq=False)
class World:
    """Instruments at a vendor whose credits begin anew at midnight UTC; `fails` says who brings nothing, and when."""

    instruments: Sequence[Instrument]
    weight: np.ndarray
    now: np.datetime64
    credits_a_day: int | None = 800
    credits_a_minute: int | None = 8
    cost: CallCost = TWELVE_DATA
    fails: Callable[[int, np.datetime64], bool] = lambda _row, _now: False
    complete_to: np.ndarray = field(init=False)
    asked_at: np.ndarray = field(init=False)
    used: Counter[str] = field(default_factory=Counter)
    stored: list[list[np.ndarray]] = field(init=False)
    hours: list[TradingHours] = field(init=False)

    def __post_init__(self) -> None:
        self.complete_to = np.full(len(self.instruments), self.now.astype("datetime64[m]").astype("datetime64[s]"))
        self.asked_at = np.full(len(self.instruments), NOT)
        self.stored = [[] for _ in self.instruments]
        self.hours = [trading_hours(each, self.now.astype("datetime64[D]").item()) for each in self.instruments]

    def budget(self) -> Budget:
        if self.credits_a_day is None:
            return Budget(None, self.credits_a_minute, NOT)
        midnight = (self.now.astype("datetime64[D]") + 1).astype("datetime64[s]")
        return Budget(self.credits_a_day - self.used[str(self.now)[:10]], self.credits_a_minute, midnight)

    def known(self) -> Candidates:
        return candidates(
            self.instruments, self.weight, self.complete_to, self.asked_at, self.now, self.budget().resets_at
        )

    def tick(self) -> Plan:
        """Plan and ask; every call is billed, whether it brings something or not."""
        found = plan(self.known(), self.budget(), self.cost, self.now)
        self.used[str(self.now)[:10]] += found.cost
        rows = {each.symbol: row for row, each in enumerate(self.instruments)}
        for symbol in found.asked:
            row = rows[symbol]
            self.asked_at[row] = self.now
            if not self.fails(row, self.now):
                fresh = self.hours[row].minutes(self.complete_to[row], self.now)[: self.cost.minutes]
                self.stored[row].append(fresh)
                whole = fresh.size < self.cost.minutes
                self.complete_to[row] = self.now.astype("datetime64[m]") if whole else fresh[-1] + MINUTE
        return found

    def until(self, stop: np.datetime64, every: int = 1) -> Iterator[tuple[np.datetime64, Plan]]:
        """A tick every so many minutes."""
        while self.now < stop:
            yield self.now, self.tick()
            self.now += every * MINUTE

    def minutes(self, row: int) -> np.ndarray:
        return np.concatenate([np.array([], "datetime64[s]"), *self.stored[row]])


def decision_of(found: Plan, symbol: str) -> Decision:
    return found.decisions[list(found.symbols).index(symbol)]
