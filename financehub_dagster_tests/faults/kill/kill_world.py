"""A market in a known state, a run on it that is disturbed, and what is left: the cases' common ground.

Belongs here: the states, as databases to copy, and the works that start from them. Does not belong here: the process
that is killed (kill_runner), watching it (kill_scene) and the statements that hold (kill_invariants).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from pathlib import Path

import pytest

from financehub_dagster.market.instrument_files import default_universe
from financehub_dagster.sandbox.client import Sandbox
from financehub_dagster.storage.coverage import ledger
from financehub_dagster.storage.database.engine import market_engine
from financehub_dagster.storage.database.urls import DAGSTER_SUFFIX
from financehub_dagster.storage.queries.instruments import upsert_instruments
from financehub_dagster_tests.faults.kill.kill_invariants import Contents
from financehub_dagster_tests.faults.kill.kill_points import (
    CRYPTOS,
    FAILING,
    HOURLY,
    INDICATORS,
    MINUTES,
    POINTS,
    QUOTES,
    RECOVERY,
    REFUSED,
    REPLAY,
    STOCKS,
)
from financehub_dagster_tests.faults.kill.kill_runner import DONE, Place, Run
from financehub_dagster_tests.faults.kill.kill_scene import Scene
from financehub_dagster_tests.fixtures.database import DatabaseServer, clear_caches
from financehub_dagster_tests.fixtures.folder import REPOSITORY

NO_OUTPUT_KEPT = """
compute_logs:
  module: dagster._core.storage.noop_compute_log_manager
  class: NoOpComputeLogManager
"""
"""Keeping the output of a step takes Dagster four more processes, which outlive a killed run and prove nothing here."""
STOCK_SYMBOLS, CRYPTO_SYMBOLS = ("AAPL", "MSFT", "KO", "GE"), ("BTC", "ETH", "LTC", "XRP")
SYMBOLS = (*STOCK_SYMBOLS, *CRYPTO_SYMBOLS)
KNOWN = (*STOCK_SYMBOLS[:2], *CRYPTO_SYMBOLS[:2])
"""Instruments of which two months are stored before; the others are new."""
FIRST, SECOND, THIRD = "2024-01-01", "2024-02-01", "2024-03-01"
DAY, NEXT_DAY = "2024-01-03", "2024-01-04"
EVENING = datetime(2024, 1, 3, 20, tzinfo=UTC)
PRICES = (STOCKS, "corporate_actions")
INTRADAY = (MINUTES, "ohlc_5m", "ohlc_15m", "ohlc_1h")
TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
"""When it is for the vendors: whenever they are asked, they have the same quotes."""

EARLY_MINUTES = Run("fill", (*INTRADAY, HOURLY), DAY, DAY, KNOWN[2:])
EARLY = Run("fill", (*PRICES, CRYPTOS, INDICATORS), FIRST, SECOND, KNOWN)
RUNS = {
    STOCKS: Run("fill", PRICES, FIRST, THIRD, STOCK_SYMBOLS),
    CRYPTOS: Run("fill", (CRYPTOS,), FIRST, THIRD, CRYPTO_SYMBOLS),
    INDICATORS: Run("fill", (INDICATORS,), FIRST, THIRD, STOCK_SYMBOLS),
    QUOTES: Run("fill", (QUOTES,), f"{TODAY:%F}", f"{TODAY:%F}", CRYPTO_SYMBOLS),
    MINUTES: Run("fill", INTRADAY, DAY, NEXT_DAY, CRYPTO_SYMBOLS),
    HOURLY: Run("fill", (HOURLY,), DAY, NEXT_DAY, CRYPTO_SYMBOLS),
}
"""What is disturbed: a third month of all instruments, which also meets a bar of the first two that has changed; prices
of now; a second day of minutes, with two gaps of the first to fill and a minute between them that has changed."""
BEFORE = {INDICATORS: STOCKS, HOURLY: MINUTES}
"""The works whose results others start from."""


@dataclass(frozen=True)
class State:
    """A market and Dagster's own storage in databases that nobody is connected to."""

    market: str
    dagster: str
    contents: Contents


@dataclass(frozen=True)
class Work:
    """What is disturbed, and the state before it; the contents when all is done, the seconds the run alone takes."""

    run: Run
    before: State
    after: Contents
    seconds: float
    vendor_fails: bool = False
    table_refuses: bool = False


class World:
    """States and works on one server and one sandbox, each made when it is first asked for."""

    def __init__(self, server: DatabaseServer, box: Sandbox, folder: Path, empty: str) -> None:
        self.server = server
        self.box = box
        self.empty = State(empty, "template0", {})
        self.dagster_home = folder / "dagster"
        self.dagster_home.mkdir()
        settings = (REPOSITORY / "dagster.yaml").read_text()
        (self.dagster_home / "dagster.yaml").write_text(settings + NO_OUTPUT_KEPT)
        self.log = folder / "runs.log"
        self._undisturbed: dict[str, tuple[Work, State]] = {}

    def work(self, name: str) -> Work:
        """The work of this name."""
        stocks = self._filled(STOCKS)[0]
        if name == FAILING:
            return replace(stocks, vendor_fails=True)
        if name == REFUSED:
            return replace(stocks, table_refuses=True)
        if name == RECOVERY:
            return replace(stocks, run=replace(stocks.run, does="recover"), before=self._killed)
        if name == REPLAY:
            return replace(stocks, run=replace(stocks.run, does="replay"), before=self._waiting)
        return self._filled(name)[0]

    def vendors(self, *, fail: bool = False) -> None:
        """The vendors have changed their minds about a bar of each kind; with `fail` one of them answers nobody."""
        self.box.reset()
        self.box.freeze(TODAY)
        self.box.set_bar("AAPL", date(2024, 2, 13), volume=4_711_000.0)
        self.box.set_bar("BTC", date(2024, 2, 13), volume=4_711.0)
        self.box.set_minute("BTC", EVENING + timedelta(minutes=20), volume=4_711.0)
        if fail:
            self.box.fault("status", vendor="yahoo", status=500)

    @contextmanager
    def scene(self, state: State) -> Iterator[Scene]:
        """A copy of `state` that this process and its children work on."""
        market = self.server.create(state.market)
        dagster = self.server.url(f"{market.database}{DAGSTER_SUFFIX}")
        self.server.execute(f"create database {dagster.database} template {state.dagster} strategy file_copy")
        environment = {
            "FINANCEHUB_DATABASE_URL": market.set(drivername="postgresql").render_as_string(hide_password=False),
            "FINANCEHUB_HISTORY_START": FIRST,
            "DAGSTER_HOME": str(self.dagster_home),
            **self.box.environment,
        }
        try:
            with pytest.MonkeyPatch.context() as patch:
                for variable, value in environment.items():
                    patch.setenv(variable, value)
                clear_caches()
                with Scene(market, Place(environment, self.log)) as scene:
                    yield scene
        finally:
            clear_caches()
            for database in (market, dagster):
                self.server.drop(database)

    @cached_property
    def _start(self) -> State:
        """Two months of some instruments, in all tables."""
        self.box.reset()
        with self.scene(self.empty) as scene:
            with market_engine().begin() as connection:
                upsert_instruments(connection, [each for each in default_universe() if each.symbol in SYMBOLS])
            ledger.refresh(datetime.now(UTC))
            scene.make(EARLY)
            return self._keep(scene)

    @cached_property
    def _minutes(self) -> State:
        """Two months, and a day of minutes of some cryptos that lacks two stretches."""
        before = self._start
        self.box.reset()
        for minute in (0, 30):
            first = EVENING + timedelta(minutes=minute)
            self.box.drop_minutes("BTC", first, first + timedelta(minutes=11))
        with self.scene(before) as scene:
            scene.make(EARLY_MINUTES)
            return self._keep(scene)

    def _before(self, name: str) -> State:
        """The state that a work starts from."""
        if name in BEFORE:
            return self._filled(BEFORE[name])[1]
        return self._minutes if name == MINUTES else self._start

    def _filled(self, name: str) -> tuple[Work, State]:
        """A table's work, and the state after it when nothing disturbs it."""
        if name not in self._undisturbed:
            before = self._before(name)
            self.vendors()
            with self.scene(before) as scene:
                trace = scene.make(RUNS[name])
                after = self._keep(scene)
            assert after.contents != before.contents
            self._undisturbed[name] = Work(RUNS[name], before, after.contents, trace.seconds), after
        return self._undisturbed[name]

    @cached_property
    def _killed(self) -> State:
        """After a run that was killed between its commits."""
        [point] = [each for each in POINTS if each.name == "after_commit"]
        with self.scene(self._start) as scene:
            self.vendors()
            assert DONE not in scene.disturb(replace(RUNS[STOCKS], point=point)).news
            return self._keep(scene)

    @cached_property
    def _waiting(self) -> State:
        """After such a run and a recovery: part of the work is stored, the other waits as a dead letter."""
        with self.scene(self._killed) as scene:
            scene.recover()
            return self._keep(scene)

    def _keep(self, scene: Scene) -> State:
        """The scene's databases as a state."""
        contents = scene.look()
        scene.leave()
        market, dagster = (
            str(self.server.create(str(source)).database)
            for source in (scene.market.database, f"{scene.market.database}{DAGSTER_SUFFIX}")
        )
        return State(market, dagster, contents)
