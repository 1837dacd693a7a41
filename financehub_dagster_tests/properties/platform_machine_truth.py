"""What has to hold of a platform whatever was done to it, computed without the code that is held to it.

Belongs here: the vendor's bars by its own market, and the invariants over stored rows. Does not belong here: doing
anything to the platform (platform_machine_world).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

import dagster as dg
import numpy as np

from financehub_dagster.market.indicators.columns import INDICATOR_COLUMNS
from financehub_dagster.market.indicators.engine import compute
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.sandbox.market.history import History
from financehub_dagster.sandbox.market.market import Market
from financehub_dagster.storage.coverage import ledger
from financehub_dagster_tests.properties.platform_machine_world import ACTIONS, BARS, CRYPTOS, INDICATORS, STOCKS, World

type Key = tuple[str, str, date, str]
"""Table, symbol, session, and the kind of a corporate action."""
type Row = Mapping[str, object]

_ROW_TABLES = (*BARS, ACTIONS)
_STAMPS = {"fetched_at"}
_LIVE = "('open', 'retrying', 'parked')"


def table_of(instrument: Instrument) -> str:
    """The table of an instrument's bars."""
    return CRYPTOS if instrument.asset_type is AssetType.CRYPTO else STOCKS


class Vendor:
    """The sandbox's market, kept beside it: what is changed there is changed here."""

    def __init__(self) -> None:
        self.market = Market()

    def bars(self, instrument: Instrument, since: date, at: datetime) -> History:
        """All of its bars from `since` on whose session had closed at `at`, wrong ones included."""
        history = self.market.daily(instrument)
        return history[(history.date >= np.datetime64(since)) & (history.closes <= at.timestamp())]

    def sound(self, instrument: Instrument, since: date, at: datetime) -> History:
        """Those of its `bars` that obey the rules of a bar."""
        bars = self.bars(instrument, since, at)
        low, high = np.minimum(bars.open, bars.close), np.maximum(bars.open, bars.close)
        return bars[(bars.low <= low) & (bars.high >= high)]

    def sessions(self, instrument: Instrument, since: date, at: datetime) -> set[date]:
        """The sessions from `since` on that had closed at `at`."""
        known = self.market.sessions(instrument)
        finished = (known.date >= np.datetime64(since)) & (known.closes <= at.timestamp())
        return set(known.date[finished].tolist())


@dataclass
class Memory:
    """What was readable before: the rows, and how far the revisions had come."""

    rows: dict[Key, Row] = field(default_factory=dict)
    indicators: set[tuple[str, date]] = field(default_factory=set)
    last_revision: int = 0


def check(world: World, vendor: Vendor, memory: Memory, universe: Mapping[str, Instrument]) -> None:
    """All that holds at any time; `memory` is brought up to now."""
    rows = _stored_rows(world)
    _nothing_lost_and_replaced_rows_kept(world, vendor, universe, memory, rows)
    _indicators_are_those_of_the_full_history(world, memory, rows)
    _failed_work_has_one_row(world)
    _ledger_is_true(world, vendor, rows, universe)


def _stored_rows(world: World) -> dict[Key, Row]:
    found: dict[Key, Row] = {}
    for table in _ROW_TABLES:
        for symbol, day, row in world.rows(f"select symbol, date, to_jsonb(t) - 'symbol' - 'date' from {table} t"):
            key = (table, symbol, day, row.get("kind", ""))
            assert key not in found, f"{key} is stored twice"
            found[key] = row
    return found


def _nothing_lost_and_replaced_rows_kept(
    world: World, vendor: Vendor, universe: Mapping[str, Instrument], memory: Memory, rows: dict[Key, Row]
) -> None:
    kept: dict[Key, Row] = {}
    withdrawn: set[Key] = set()
    query = "select id, table_name, symbol, date, old, withdrawn_by from price_revisions where id > :last order by id"
    for number, table, symbol, day, old, by in world.rows(query, last=memory.last_revision):
        key = (table, symbol, day, old.get("kind", ""))
        kept.setdefault(key, old)
        withdrawn |= {key} if by else set()
        memory.last_revision = number
    lost = memory.rows.keys() - rows.keys() - withdrawn
    assert not lost, f"committed rows are gone: {sorted(lost)[:3]}"
    there = {
        (table_of(each), each.symbol, day, "")
        for each in universe.values()
        for day in vendor.bars(each, date.fromisoformat(world.months[0]), world.began).date.tolist()
    }
    wrongly = {key for key in withdrawn - rows.keys() if key in there}
    assert not wrongly, f"rows were taken back that the vendor has: {sorted(wrongly)[:3]}"
    for key, before in memory.rows.items():
        if key in kept:
            assert kept[key] == before, f"price_revisions says that {key} replaced something else"
        else:
            assert _values(rows[key]) == _values(before), f"{key} was replaced and price_revisions has no trace of it"
    memory.rows = rows


def _values(row: Row) -> dict[str, object]:
    return {name: value for name, value in row.items() if name not in _STAMPS}


def _indicators_are_those_of_the_full_history(world: World, memory: Memory, rows: dict[Key, Row]) -> None:
    """Where a mark says that an instrument's rows are stale from a day on, only those before it count."""
    columns = ", ".join(INDICATOR_COLUMNS)
    stored: dict[str, dict[date, tuple]] = {}
    for symbol, day, *values in world.rows(f"select symbol, date, {columns} from {INDICATORS}"):
        assert day not in stored.setdefault(symbol, {}), f"indicators of {symbol} on {day} are stored twice"
        stored[symbol][day] = tuple(values)
    keys = {(symbol, day) for symbol, days in stored.items() for day in days}
    with_bars = {(symbol, day) for table, symbol, day, _ in rows if table in BARS}
    lost = (memory.indicators & with_bars) - keys
    assert not lost, f"committed rows are gone: {sorted(lost)[:3]}"
    memory.indicators = keys
    marks = f"select symbol, dirty_from from dirty_marks where table_name = '{INDICATORS}'"
    stale = dict(world.rows(f"{marks} and dirty_from is not null"))
    for symbol, found in stored.items():
        bars = {day: row for (table, name, day, _), row in rows.items() if name == symbol and table in BARS}
        dates = sorted(bars)
        right = compute(*(_column(bars, dates, name) for name in ("open", "high", "low", "close", "volume")))
        sure = [day for day in sorted(found) if symbol not in stale or day < stale[symbol]]
        assert set(sure) <= set(dates), f"{symbol} has indicators of sessions without a bar"
        places = [dates.index(day) for day in sure]
        for number, name in enumerate(INDICATOR_COLUMNS):
            have = np.array([found[day][number] for day in sure], dtype=np.float64)
            np.testing.assert_allclose(
                have, right[name][places], rtol=1e-9, atol=1e-9, err_msg=f"{name} of {symbol}", equal_nan=True
            )


def _column(bars: Mapping[date, Row], dates: list[date], name: str) -> np.ndarray:
    return np.array([bars[day][name] for day in dates], dtype=np.float64)


def _failed_work_has_one_row(world: World) -> None:
    live = f"select task_name, partition_key, symbol from task_failures where status in {_LIVE}"
    letters = world.rows(live)
    assert len(letters) == len(set(letters)), "a piece of failed work has two live dead letters"
    both = set(letters) & set(world.rows("select task_name, partition_key, symbol from deferred_work"))
    assert not both, f"work is a dead letter and put off as well: {sorted(both)}"


def _ledger_is_true(world: World, vendor: Vendor, rows: dict[Key, Row], universe: Mapping[str, Instrument]) -> None:
    now = datetime.now(UTC)
    ledger.refresh(now)
    wrong = ledger.rebuild(now)
    assert wrong == 0, f"{wrong} rows of the ledger were wrong"
    since = date.fromisoformat(world.months[0])
    active = {symbol for (symbol,) in world.rows("select symbol from instruments where is_active")}
    found = states(world)
    computed = {(symbol, day) for symbol, day in world.rows(f"select symbol, date from {INDICATORS}")}
    assert {symbol for _, symbol in found} <= active, "the ledger has rows of instruments that are not active"
    for symbol in active:
        table = table_of(universe[symbol])
        stored = {day for (name, of, day, _) in rows if (name, of) == (table, symbol)}
        expected = vendor.sessions(universe[symbol], since, now)
        _one_state_each(found.get((table, symbol)), expected, stored & expected)
        wanted = stored & expected
        _one_state_each(found.get((INDICATORS, symbol)), wanted, {d for d in wanted if (symbol, d) in computed})


@dataclass(frozen=True)
class Settled:
    """A row of the ledger: since when and to which day sessions were settled, and the days in each other state."""

    first: date
    through: date
    others: list[set[date]]


def states(world: World) -> dict[tuple[str, str], Settled]:
    """The ledger by table and symbol."""
    found: dict[tuple[str, str], Settled] = {}
    columns = "first, through, empty, gap, dead_lettered, deferred"
    for table, symbol, first, through, *ranges in world.rows(f"select table_name, symbol, {columns} from coverage"):
        days = [
            {each.lower + timedelta(n) for each in of for n in range((each.upper - each.lower).days)} for of in ranges
        ]
        found[table, symbol] = Settled(first, through, days)
    return found


def _one_state_each(row: Settled | None, expected: set[date], stored: set[date]) -> None:
    """Every expected session is stored or in exactly one of the other states."""
    if row is None:
        assert not expected, "an instrument has no row"
        return
    assert all(row.first <= day <= row.through for day in expected)
    others = [day for days in row.others for day in days & expected]
    assert len(others) == len(set(others)), "a session is in two states"
    assert set(others) == expected - stored, "a session is in no state, or in a wrong one"


def check_reported(world: World) -> None:
    """After a recovery every month that has rows is one that Dagster knows as materialized."""
    for table in (*BARS, INDICATORS):
        months = {
            month for (month,) in world.rows(f"select distinct date_trunc('month', date)::date::text from {table}")
        }
        unreported = months - world.instance.get_materialized_partitions(dg.AssetKey(table))
        assert not unreported, f"{table} has rows that no materialization tells of: {sorted(unreported)}"


def check_converged(world: World, vendor: Vendor, universe: Mapping[str, Instrument], *, values: bool) -> None:
    """After recovery, replay and healing with a healthy vendor: everything it has is stored, nothing waits.

    With `values` the stored ones are the vendor's as well.
    """
    since = date.fromisoformat(world.months[0])
    live = f"select task_name, partition_key, symbol, exception from task_failures where status in {_LIVE}"
    active = [symbol for (symbol,) in world.rows("select symbol from instruments where is_active")]
    letters = [row for row in world.rows(live) if row[2] in ("", *active)]
    assert letters == [], "work is left over"
    assert world.rows("select * from unreported_writes") == []
    deferred = world.rows("select symbol from deferred_work")
    assert {symbol for (symbol,) in deferred}.isdisjoint(active), "put-off work is left over"
    for symbol in active:
        instrument, table = universe[symbol], table_of(universe[symbol])
        bars = vendor.sound(instrument, since, world.began)
        query = f"select date, open, high, low, close from {table} where symbol = :symbol"
        stored = {day: prices for day, *prices in world.rows(query, symbol=symbol)}
        missing = set(bars.date.tolist()) - stored.keys()
        assert not missing, f"the vendor has bars of {symbol} that are not stored: {sorted(missing)[:3]}"
        for table_name in (table, INDICATORS):
            row = states(world).get((table_name, symbol))
            lacking = set().union(*row.others).intersection(bars.date.tolist()) if row else set()
            assert not lacking, f"{table_name} of {symbol} lacks {sorted(lacking)[:3]}"
        if values:
            theirs = np.column_stack((bars.open, bars.high, bars.low, bars.close))
            ours = np.array([stored[day] for day in bars.date.tolist()])
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, err_msg=f"prices of {symbol}")
