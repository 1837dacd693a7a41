"""Indicators of 500 instruments × 2,520 bars: ours against a bare TA-Lib loop and against pandas-ta's loop.

Measures computing alone: arrays in memory in, arrays in memory out, every side keeping all it computed. The bare loop
calls TA-Lib once for each function that the columns need, and nothing else: it has no Supertrend, joins no results and
checks nothing. pandas-ta takes so long that a few instruments stand for all, and its figure is per instrument times the
number of instruments. CPU time; ours and the bare loop take turns, and their ratio is the median over the turns.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

import pandas as pd
import pandas_ta
import talib

from financehub_dagster.market.indicators.engine import compute_many
from financehub_dagster_tests.properties.markets import Bars, end_to_end, random_bars


def bare_talib(markets: Sequence[Bars]) -> list[object]:
    """One call per function and instrument, with the parameters of our columns."""
    found: list[object] = []
    for bars in markets:
        _, high, low, close, volume = bars.columns
        found += [talib.SMA(close, period) for period in (20, 50, 200)]
        found += [talib.EMA(close, period) for period in (12, 26, 20)]
        found += [talib.RSI(close, 14), talib.MACD(close, 12, 26, 9), talib.BBANDS(close, 20, 2.0, 2.0)]
        found += [talib.ATR(high, low, close, period) for period in (14, 10)]
        found += [talib.ADX(high, low, close, 14), talib.CCI(high, low, close, 20), talib.WILLR(high, low, close, 14)]
        found += [talib.STOCH(high, low, close, fastk_period=14, slowk_period=3, slowd_period=3)]
        found += [talib.OBV(close, volume), talib.MFI(high, low, close, volume, 14), talib.ROC(close, 10)]
        found += [talib.SAR(high, low, 0.02, 0.2), talib.MAX(high, 20), talib.MIN(low, 20)]
    return found


def pandas_ta_loop(frames: Sequence[pd.DataFrame]) -> list[object]:
    """pandas-ta's functions of the same indicators, as its users call them one by one."""
    found: list[object] = []
    for frame in frames:
        ohlc = frame["high"], frame["low"], frame["close"]
        close = frame["close"]
        found += [pandas_ta.sma(close, length=length) for length in (20, 50, 200)]
        found += [pandas_ta.ema(close, length=length) for length in (12, 26)]
        found += [pandas_ta.rsi(close, length=14), pandas_ta.macd(close, 12, 26, 9), pandas_ta.bbands(close, 20, 2)]
        found += [pandas_ta.atr(*ohlc, length=14), pandas_ta.adx(*ohlc, length=14), pandas_ta.stoch(*ohlc, 14, 3, 3)]
        found += [pandas_ta.cci(*ohlc, length=20), pandas_ta.obv(close, frame["volume"])]
        found += [pandas_ta.mfi(*ohlc, frame["volume"], length=14), pandas_ta.willr(*ohlc, length=14)]
        found += [pandas_ta.roc(close, length=10), pandas_ta.psar(*ohlc), pandas_ta.supertrend(*ohlc, 10, 3)]
        found += [pandas_ta.donchian(frame["high"], frame["low"], 20, 20), pandas_ta.kc(*ohlc, 20, 2)]
    return found


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU seconds of one call; its result is kept until the clock has stopped."""
    start = time.process_time()
    result = work()
    seconds = time.process_time() - start
    del result
    return seconds


def main() -> None:
    """Print CPU seconds per side, and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="100 instruments, 5 repeats and a smaller sample")
    quick = parser.parse_args().quick
    instruments, repeats, sample = (100, 5, 3) if quick else (500, 15, 10)
    markets = [random_bars(2520, seed) for seed in range(instruments)]
    offsets, columns = end_to_end(markets)
    frames = [pd.DataFrame(vars(bars)) for bars in markets[:sample]]
    ours, bare = [], []
    for attempt in range(repeats + 1):
        pair = cpu_seconds(lambda: compute_many(offsets, *columns)), cpu_seconds(lambda: bare_talib(markets))
        if attempt:
            ours.append(pair[0])
            bare.append(pair[1])
    pandas_ta_loop(frames[:1])
    rival = [cpu_seconds(lambda: pandas_ta_loop(frames)) * instruments / sample for _ in range(3)]
    print(f"{instruments} instruments × 2,520 bars, CPU seconds; pandas-ta from {sample} instruments")
    print(f"{'':18} {'min':>8} {'median':>8}")
    for name, seconds in (("ours", ours), ("bare TA-Lib loop", bare), ("pandas-ta loop", rival)):
        print(f"{name:18} {min(seconds):8.3f} {statistics.median(seconds):8.3f}")
    ratio = statistics.median(one / other for one, other in zip(ours, bare, strict=True))
    print(f"ours takes {ratio:.2f} × a bare TA-Lib loop (goal: at most 1.5)")
    print(f"pandas-ta's loop takes {statistics.median(rival) / statistics.median(ours):.0f} × ours")


if __name__ == "__main__":
    main()
