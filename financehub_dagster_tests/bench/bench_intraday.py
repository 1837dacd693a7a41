"""Bars of 5 minutes, 15 minutes and an hour from a day's minutes of 500 instruments (195,000 bars), and a tick's plan.

Measures computing alone, in memory, arrays in and arrays out; `intraday_day` measures what the database takes, and
`stored_minutes` many stored minutes. The floor is the same aggregation by bare reduceat, with
the borders of the bars known beforehand. The rival is what people write with pandas: floor the time from the session's
open, group, aggregate. It neither leaves out minutes outside the trading hours nor knows which bars are final. CPU
time; the sides take turns, and ratios are medians over the turns. The plan is that of a tick for 500 instruments of
five markets under a limit of credits, trading hours included; it has no rival.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import pandas as pd

from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.market.intraday.budget_planner import Budget, CallCost, Plan, candidates, plan
from financehub_dagster.market.intraday.resampling import LENGTHS, DerivedBars, IntradayBars, resample
from financehub_dagster.market.intraday.trading_hours import MINUTE, trading_hours
from financehub_dagster_tests.bench import intraday_day, stored_minutes

OPENED = np.datetime64("2025-06-02T13:30:00", "s")
CLOSED = np.datetime64("2025-06-02T20:00:00", "s")


def day(instruments: int) -> IntradayBars:
    """One New York session of random bars for each instrument."""
    minutes = trading_hours("XNYS").minutes(OPENED, CLOSED)
    random = np.random.default_rng(1)
    low, opened, closed, high = np.sort(random.uniform(90, 110, (4, instruments * minutes.size)), axis=0)
    volume = random.integers(0, 100_000, high.size)
    rows = np.repeat(np.arange(instruments), minutes.size)
    return IntradayBars.of(rows, np.tile(minutes, instruments), opened, high, low, closed, volume)


def borders(bars: IntradayBars) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each length, the positions of the first and last minute of every bar."""
    found = []
    for length in LENGTHS:
        label = (bars.ts - OPENED) // np.timedelta64(length * 60, "s")
        first = np.flatnonzero(np.diff(label, prepend=-1) != 0)
        found.append((first, np.append(first[1:], label.size) - 1))
    return found


def bare(bars: IntradayBars, known: list[tuple[np.ndarray, np.ndarray]]) -> list[object]:
    """Nothing but the aggregation."""
    return [
        (
            bars.open[first],
            np.maximum.reduceat(bars.high, first),
            np.minimum.reduceat(bars.low, first),
            bars.close[last],
            np.add.reduceat(bars.volume, first),
        )
        for first, last in known
    ]


def grouped(frame: pd.DataFrame) -> list[pd.DataFrame]:
    """pandas: a groupby per length."""
    how = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
    found = []
    for length in LENGTHS:
        step = np.timedelta64(length * 60, "s")
        label = OPENED + (frame["ts"].to_numpy() - OPENED) // step * step
        found.append(frame.groupby(["row", label], sort=False).agg(how))
    return found


def cpu_seconds[T](work: Callable[[], T]) -> tuple[float, T]:
    """CPU seconds of one call, and what it returned."""
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def a_plan(instruments: list[Instrument], now: np.datetime64) -> Plan:
    """A tick of 8,000 credits a day and 400 a minute, everything half an hour behind."""
    count, budget = len(instruments), Budget(8_000, 400, np.datetime64("2025-06-03", "s"))
    complete, never = np.full(count, now - 30 * MINUTE), np.full(count, np.datetime64("NaT", "s"))
    weight = np.linspace(1, 9, count, dtype=np.float64)
    known = candidates(instruments, weight, complete, never, now, budget.resets_at)
    return plan(known, budget, CallCost(symbols=8), now)


def main() -> None:
    """Print CPU milliseconds per side, and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="5 repeats instead of 25, 2 million minutes instead of 20")
    quick = parser.parse_args().quick
    repeats = 5 if quick else 25
    bars = day(500)
    hours, complete = [trading_hours("XNYS")] * 500, np.full(500, CLOSED)
    known = borders(bars)
    names = ("open", "high", "low", "close", "volume")
    frame = pd.DataFrame({"row": bars.rows, "ts": bars.ts, **dict(zip(names, bars.ohlcv, strict=True))})
    turns: list[tuple[float, float, float]] = []
    derived: dict[int, DerivedBars] = {}
    for _ in range(repeats + 1):
        ours, derived = cpu_seconds(lambda: resample(bars, hours, LENGTHS, complete))
        turns.append((ours, cpu_seconds(lambda: bare(bars, known))[0], cpu_seconds(lambda: grouped(frame))[0]))
    for length, rival in zip(LENGTHS, grouped(frame), strict=True):
        assert np.array_equal(derived[length].bars.close, rival["close"].to_numpy()), length
        assert derived[length].final.all()
    made = sum(each.bars.ts.size for each in derived.values())
    print(f"{bars.ts.size:,} minutes of 500 instruments into {made:,} bars of {LENGTHS} minutes, CPU milliseconds")
    print(f"{'':22} {'min':>8} {'median':>8}")
    for name, seconds in zip(("ours", "bare reduceat", "pandas groupby"), zip(*turns[1:], strict=True), strict=True):
        print(f"{name:22} {min(seconds) * 1e3:8.1f} {statistics.median(seconds) * 1e3:8.1f}")
    floor = statistics.median(ours / other for ours, other, _ in turns[1:])
    rival_ratio = statistics.median(other / ours for ours, _, other in turns[1:])
    print(f"ours takes {floor:.1f} × bare reduceat; pandas takes {rival_ratio:.1f} × ours")
    kinds = [("XNYS", AssetType.STOCK), ("XETR", AssetType.STOCK), ("XLON", AssetType.STOCK), ("XXXX", AssetType.FX)]
    kinds += [("XXXX", AssetType.CRYPTO)]
    universe = [Instrument(f"S{n}", "Any", kinds[n % 5][1], kinds[n % 5][0]) for n in range(500)]
    planned = [cpu_seconds(lambda: a_plan(universe, OPENED + 60 * MINUTE)) for _ in range(repeats + 1)][1:]
    milliseconds = statistics.median(seconds for seconds, _ in planned) * 1e3
    print(f"a tick's plan for 500 instruments asks for {len(planned[0][1].asked)} and takes {milliseconds:.1f} ms")
    intraday_day.measure(100 if quick else 500, 2 if quick else 7)
    for by_symbol in (False, True):
        stored_minutes.measure(2_000_000 if quick else 20_000_000, by_symbol=by_symbol)


if __name__ == "__main__":
    main()
