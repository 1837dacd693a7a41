"""What the rules about doubtful bars find, and what judging costs beside writing.

Errors: real faulty series with their corrected forms, and recorded good series with one error of each kind put in;
those that thresholds were set by and those held out apart. Cost: judging the bars of 40 instruments × 2,520 sessions,
rules of single bars and of series, against writing them, in turns on an embedded server with durable commits. The same
of the last five sessions of 500 instruments with ten years stored, of which three sessions are new: CPU time of the
program and the server, since reading what is stored around takes most of it.
"""

import argparse
import statistics
import time

import numpy as np
import pandas as pd
import psutil
import sqlalchemy as sa

from financehub_dagster.ingest.history import doubtful
from financehub_dagster.market.quality import acceptance, doubts, series_arrays
from financehub_dagster.sandbox.market.recordings import recorded_daily
from financehub_dagster.storage.database import schema
from financehub_dagster.storage.database.engine import Connection
from financehub_dagster.storage.upsert.upsert import write
from financehub_dagster.tables import TABLES
from financehub_dagster_tests.bench.bench_writer import HISTORY, empty, migrated_engine, ours, seconds
from financehub_dagster_tests.fixtures.faulty_series import HELD_OUT, Score, injected, real_cases, score

TABLE = "stock_prices_daily"


def report(title: str, found: Score, *, by_kind: bool) -> None:
    """One line for a set, and one for each kind of error and of false alarm."""
    errors, hits, alarms = (each.total() for each in (found.errors, found.hits, found.false_alarms))
    print(f"{title}: {found.series} series, {found.bars:,} bars, {errors} errors, {hits} found, {alarms} false alarms")
    print(f"  recall {found.recall:.3f} (goal 0.95), precision {found.precision:.3f} (goal 0.90)")
    if by_kind:
        for kind, count in found.errors.items():
            print(f"    {kind:<28} {count:4} errors {found.hits[kind]:4} found {found.named[kind]:4} by the right name")
    for rule, count in found.false_alarms.items():
        if count:
            print(f"    {rule:<28} {count:4} false alarms")


def bars(instruments: int) -> pd.DataFrame:
    """Recorded bars, repeated until each instrument has ten years."""
    recording = recorded_daily("AAPL")
    day = np.datetime64("2014-01-01") + np.arange(HISTORY)
    rows = np.resize(np.concatenate([np.arange(len(recording.date)), np.arange(len(recording.date))[::-1]]), HISTORY)
    prices = {name: getattr(recording, name)[rows] for name in ("open", "high", "low", "close", "volume")}
    frames = [
        pd.DataFrame({"date": day.astype("datetime64[s]"), **prices, "adj_close": prices["close"]}).assign(
            symbol=f"S{number:04d}",
            source="yahoo",
            fetched_at=np.datetime64("2024-03-01T12:00:00"),
        )
        for number in range(instruments)
    ]
    return pd.concat(frames, ignore_index=True)


def judge(frame: pd.DataFrame, actions: pd.DataFrame) -> None:
    """All rules, as they are applied before a write."""
    declared = TABLES[TABLE]
    good, _, _ = acceptance.judge(declared.limits, declared.rules, frame)
    doubts.judge(series_arrays.arrange(good, actions))


def cost(instruments: int, repeats: int) -> None:
    """Print what judging adds to a bare write."""
    frame = bars(instruments)
    days = pd.DataFrame({"date": frame["date"][63:HISTORY:63], "kind": "dividend", "value": 0.001})
    actions = pd.concat([days.assign(symbol=symbol) for symbol in frame["symbol"].unique()], ignore_index=True)
    columns = {str(name): frame[name].to_numpy() for name in frame}
    ratios = []
    with migrated_engine() as engine:
        for attempt in range(repeats + 1):
            empty(engine)
            wrote = seconds(lambda: ours(engine, columns))
            start = time.perf_counter()
            judge(frame, actions)
            judged = time.perf_counter() - start
            if attempt:
                ratios.append(judged / wrote)
    print(f"judging {len(frame):,} bars: {statistics.median(ratios):.3f} of the bare write (goal 0.15)")


def daily(instruments: int, repeats: int) -> None:
    """Print what judging adds to the write of a daily update."""
    frame = quiet_bars(instruments)
    session = np.arange(len(frame)) % HISTORY
    stored, new = frame[session < HISTORY - 3], frame[session >= HISTORY - 5].reset_index(drop=True)
    actions = pd.DataFrame({"symbol": [], "date": np.array([], "datetime64[s]"), "kind": [], "value": np.array([])})
    symbols = list(new["symbol"].unique())
    judged = wrote = 0.0
    with migrated_engine() as engine:
        ours(engine, {str(name): stored[name].to_numpy() for name in stored})
        for attempt in range(repeats + 1):
            with engine.begin() as connection:
                days = {"day": stored["date"].max()}
                connection.execute(sa.text(f"delete from {TABLE} where date > :day"), days)
            with engine.begin() as connection:
                began = cpu_seconds(connection)
                flagged = doubtful.with_flags(connection, TABLE, new, actions, symbols)
                between = cpu_seconds(connection)
                columns = {str(name): flagged[name].to_numpy() for name in flagged}
                write(connection, schema.table(TABLE), columns, run_id="bench", keep_revisions=True)
                if attempt:
                    judged, wrote = judged + between - began, wrote + cpu_seconds(connection) - between
    print(
        f"judging {len(new):,} bars of {instruments} instruments: {judged / repeats * 1000:.0f} ms of CPU time, "
        f"{judged / wrote:.2f} of their write"
    )


def quiet_bars(instruments: int) -> pd.DataFrame:
    """Random walks without a doubtful bar."""
    frame, rng = bars(instruments), np.random.default_rng(1)
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.012, (instruments, HISTORY)), axis=1)).ravel()
    opened = close * np.exp(rng.normal(0, 0.004, len(close)))
    high, low = np.maximum(opened, close) * 1.004, np.minimum(opened, close) * 0.996
    volume = rng.integers(1_000, 10**7, len(close)).astype(float)
    return frame.assign(open=opened, high=high, low=low, close=close, adj_close=close, volume=volume)


def cpu_seconds(connection: Connection) -> float:
    """CPU seconds so far of this process and of the server's behind the connection."""
    server = connection.execute(sa.text("select pg_backend_pid()")).scalar_one()
    times = psutil.Process(server).cpu_times()
    return time.process_time() + times.user + times.system


def main() -> None:
    """Print what is found, and what it costs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer instruments and repeats")
    quick = parser.parse_args().quick
    for title, held_out in (("thresholds set by", False), ("held out", True)):
        own = [case for case in real_cases() if (case.name in HELD_OUT) == held_out]
        report(f"real faulty series, {title}", score(own), by_kind=True)
        report(f"errors put in, {title}", score(injected.cases(held_out=held_out)), by_kind=True)
    cost(*((10, 3) if quick else (40, 7)))
    daily(*((100, 10) if quick else (500, 20)))


if __name__ == "__main__":
    main()
