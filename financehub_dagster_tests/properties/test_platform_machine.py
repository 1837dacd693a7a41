"""Any sequence of what happens to a platform, in any order, keeps its promises.

One Hypothesis state machine over fetches, repeated ticks, revisions, splits, outages, kills, recoveries, replays,
healing, and instruments that come and go. `--faults full` plays more and longer sequences, and other ones each time.
"""

import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import dagster as dg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from financehub_dagster.definitions import build_definitions
from financehub_dagster.market.instrument_files import default_universe
from financehub_dagster.market.instruments import AssetType
from financehub_dagster.providers.binance.provider import BinanceProvider
from financehub_dagster.providers.yahoo.provider import YahooProvider
from financehub_dagster.sandbox.market.listings import synthetic
from financehub_dagster.settings import get_settings
from financehub_dagster_tests.faults.kill.kill_points import POINTS, Point
from financehub_dagster_tests.faults.kill.kill_world import NO_OUTPUT_KEPT
from financehub_dagster_tests.fixtures.fault_form import CASE, in_full
from financehub_dagster_tests.fixtures.folder import REPOSITORY
from financehub_dagster_tests.properties.platform_machine_truth import (
    Memory,
    Vendor,
    check,
    check_converged,
    check_reported,
)
from financehub_dagster_tests.properties.platform_machine_world import (
    ALL_TABLES,
    BARS,
    INDICATORS,
    STOCKS,
    Instant,
    Order,
    World,
)

KNOWN = {
    each.symbol: each
    for each in (*default_universe(), *synthetic(1))
    if each.symbol in ("AAPL", "GE", "BTC", "SIM0001")
}
AT_FIRST = ("AAPL", "BTC", "SIM0001")
ROUNDS = 4
"""Of recovery, replay and healing, until nothing waits: what one round finds out, the next does."""

symbols = st.sampled_from(sorted(KNOWN))
selections = st.one_of(st.none(), st.lists(symbols, min_size=1, max_size=2, unique=True).map(tuple))
table_sets = st.sampled_from([ALL_TABLES, (*BARS, INDICATORS), BARS, (STOCKS,), (INDICATORS,)])
spans = st.sampled_from([(0, 1), (0, 0), (1, 1)])
faults = st.sampled_from(
    [
        {"kind": "status", "status": 500},
        {"kind": "reset"},
        {"kind": "garbage"},
        {"kind": "empty"},
        {"kind": "error", "situation": "burst", "retry_after": 3600},
    ]
)
instants = st.one_of(st.sampled_from(POINTS), st.integers(1, 1200))
on_the_way = st.sampled_from([point for point in POINTS if point.turn == 1 and set(point.works) & set(ALL_TABLES)])
"""Points that any first fetch of daily bars passes."""
sessions = st.integers(0, 10_000)


class PlatformMachine(RuleBasedStateMachine):
    """What happens to a platform; the world is the fixture's and begins anew with each machine."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self.vendor = Vendor()
        self.memory = Memory()

    @initialize(point=on_the_way)
    def begin(self, point: Point) -> None:
        """A platform whose first fetch is killed."""
        self.world.reset()
        self.world.sandbox.list_synthetic(1)
        self.vendor.market.listed.add(synthetic(1))
        self.world.add([KNOWN[symbol] for symbol in AT_FIRST])
        first = self.order(ALL_TABLES, (0, 1), None)
        assert self.world.crash(lambda world: world.fetch(first), point), f"a first fetch does not pass {point.name}"

    def order(self, tables: tuple[str, ...], span: tuple[int, int], chosen: tuple[str, ...] | None) -> Order:
        known = {symbol for (symbol,) in self.world.rows("select symbol from instruments")}
        named = None if chosen is None else tuple(symbol for symbol in chosen if symbol in known) or None
        return Order(tables, self.world.months[span[0]], self.world.months[span[1]], named)

    @rule(tables=table_sets, span=spans, chosen=selections)
    def fetch(self, tables: tuple[str, ...], span: tuple[int, int], chosen: tuple[str, ...] | None) -> None:
        self.world.fetch(self.order(tables, span, chosen))

    @rule(span=spans)
    def tick_twice(self, span: tuple[int, int]) -> None:
        """A second tick on what a first has just done writes nothing."""
        order = self.order((STOCKS, *BARS[1:], INDICATORS), span, None)
        self.world.fetch(order)
        finished = self.finished()
        again = self.world.fetch(order)
        if finished == self.finished():
            written = {name: (table["rows_inserted"], table["rows_updated"]) for name, table in again.tables.items()}
            assert set(written.values()) <= {(0, 0)}, f"a duplicate tick wrote {written}"

    def finished(self) -> int:
        """How many sessions have finished by now."""
        since = date.fromisoformat(self.world.months[0])
        return sum(len(self.vendor.sessions(each, since, datetime.now(UTC))) for each in KNOWN.values())

    def session(self, symbol: str, number: int) -> date | None:
        """One of the vendor's finished sessions."""
        bars = self.vendor.bars(KNOWN[symbol], date.fromisoformat(self.world.months[0]), self.world.began)
        return bars.date[number % len(bars)].item() if len(bars) else None

    @rule(symbol=symbols, number=sessions, factor=st.sampled_from([0.9, 1.01, 1.3]))
    def revise(self, symbol: str, number: int, factor: float) -> None:
        """The vendor corrects a bar."""
        self.edit(symbol, number, dict.fromkeys(("open", "high", "low", "close"), factor))

    @rule(symbol=symbols, number=sessions)
    def spoil(self, symbol: str, number: int) -> None:
        """The vendor serves a bar that no table takes."""
        self.edit(symbol, number, {"high": 0.5})

    def edit(self, symbol: str, number: int, factors: dict[str, float]) -> None:
        day = self.session(symbol, number)
        if day is None:
            return
        bars = self.vendor.bars(KNOWN[symbol], day, self.world.began)
        values = {name: round(float(getattr(bars, name)[0]) * factor, 2) for name, factor in factors.items()}
        self.world.sandbox.set_bar(symbol, day, vendor=None, **values)
        self.vendor.market.amendments.edit_bar(symbol, day, values)

    @rule(symbol=symbols, number=sessions)
    def drop(self, symbol: str, number: int) -> None:
        """The vendor has nothing for a session any more."""
        day = self.session(symbol, number)
        if day is not None:
            self.world.sandbox.drop_bar(symbol, day)
            self.vendor.market.amendments.drop_bar(symbol, day)

    @rule(symbol=st.sampled_from(["AAPL", "GE", "SIM0001"]), number=sessions, ratio=st.sampled_from([2.0, 10.0]))
    def split(self, symbol: str, number: int, ratio: float) -> None:
        day = self.session(symbol, number)
        if day is not None:
            self.world.sandbox.split(symbol, day, ratio)
            self.vendor.market.amendments.declare_split(symbol, day, ratio)

    @rule(symbol=symbols, fault=faults)
    def vendor_fails(self, symbol: str, fault: dict[str, object]) -> None:
        vendor = "binance" if KNOWN[symbol].asset_type is AssetType.CRYPTO else "yahoo"
        self.world.sandbox.fault(vendor=vendor, symbol=symbol, **fault)  # type: ignore[arg-type]

    @rule()
    def vendor_recovers(self) -> None:
        self.world.sandbox.clear_faults()

    @rule(tables=table_sets, span=spans, chosen=selections, instant=instants)
    def fetch_is_killed(
        self, tables: tuple[str, ...], span: tuple[int, int], chosen: tuple[str, ...] | None, instant: Instant
    ) -> None:
        order = self.order(tables, span, chosen)
        self.world.crash(lambda world: world.fetch(order), instant)

    @precondition(lambda self: self.world.rows("select 1 from task_failures where status = 'open'"))
    @rule(instant=instants)
    def replay_is_killed(self, instant: Instant) -> None:
        self.world.pass_time()
        self.world.crash(lambda world: world.replay(), instant)

    @rule(instant=instants)
    def healing_is_killed(self, instant: Instant) -> None:
        self.world.crash(lambda world: world.heal(), instant)

    @rule()
    def recover(self) -> None:
        self.world.recover()
        assert not self.world.recover(), "a second recovery found work"
        unfinished = [run.run_id for run in self.world.instance.get_runs() if not run.is_finished]
        assert unfinished == [], "runs without a process go on"
        assert self.world.rows("select * from unreported_writes") == []
        assert self.world.rows("select * from task_failures where status = 'retrying'") == []
        check_reported(self.world)

    @rule()
    def time_passes(self) -> None:
        self.world.pass_time()

    @rule()
    def replay(self) -> None:
        self.world.replay()

    @rule()
    def heal(self) -> None:
        self.world.heal()

    @rule(symbol=symbols)
    def add_instrument(self, symbol: str) -> None:
        self.world.add([KNOWN[symbol]])

    @rule(symbol=symbols)
    def deactivate_instrument(self, symbol: str) -> None:
        if self.world.rows("select 1 from instruments where symbol = :symbol", symbol=symbol):
            self.world.deactivate(symbol)

    @invariant()
    def keeps_its_promises(self) -> None:
        check(self.world, self.vendor, self.memory, KNOWN)

    def teardown(self) -> None:
        """A healthy vendor, recovery, replay and healing end all that went wrong."""
        if sys.exception() is not None:
            return
        self.world.sandbox.clear_faults()
        self.settle()
        check_converged(self.world, self.vendor, KNOWN, values=False)
        self.world.fetch(Order((*BARS, INDICATORS), self.world.months[0], self.world.months[-1]))
        self.settle()  # where nothing was left to ask, this fetch was the first to probe a vendor that had failed
        check_converged(self.world, self.vendor, KNOWN, values=True)

    def settle(self) -> None:
        for _ in range(ROUNDS):
            self.world.pass_time()
            self.recover()
            waiting = [number for (number,) in self.world.rows(_WAITING)]
            if waiting:
                self.world.replay(waiting)
            if not self.world.heal() and not waiting:
                break
        self.keeps_its_promises()


_WAITING = "select id from task_failures where status in ('open', 'parked') order by id"


@pytest.fixture
def world(database, sandbox, tmp_path, monkeypatch) -> Iterator[World]:
    """A platform whose history is the running month and the one before."""
    today = datetime.now(UTC).date()
    start = (today.replace(day=1) - timedelta(days=1)).replace(day=1)
    settings_file = tmp_path / "dagster.yaml"
    settings_file.write_text((REPOSITORY / "dagster.yaml").read_text() + NO_OUTPUT_KEPT)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.setenv("FINANCEHUB_HISTORY_START", start.isoformat())
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "500")
    get_settings.cache_clear()
    overrides = {
        "yahoo": YahooProvider(base_url=sandbox.yahoo_url, requests_per_second=1000, first_pause=0.0),
        "binance": BinanceProvider(base_url=sandbox.binance_url, first_pause=0.0),
    }
    definitions = build_definitions(resource_overrides=overrides)
    months = [start.isoformat(), today.replace(day=1).isoformat()]
    with dg.DagsterInstance.get() as instance:
        yield World(database.engine, sandbox, definitions, instance, months)
    get_settings.cache_clear()


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_a_platform_keeps_its_promises_whatever_happens_to_it(world: World, request, record_property) -> None:
    full = in_full(request.config)
    machines: list[PlatformMachine] = []

    def begin() -> PlatformMachine:
        machines.append(PlatformMachine(world))
        return machines[-1]

    run_state_machine_as_test(
        begin,  # type: ignore[arg-type]  # any factory will do
        settings=settings(
            max_examples=12 if full else 2,
            stateful_step_count=12 if full else 6,
            database=None,
            derandomize=not full,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
    record_property(CASE, ("sequences of events", len(machines)))
