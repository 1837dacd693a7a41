"""The ledger of a large universe: what it takes to keep it, to read it, and on disk.

The short form has 2,000 instruments × 5 years, `--full` 10,000 × 20 years. The instruments are of five exchanges; every
third one is listed halfway, every other one lacks a session in a thousand, which waits to be asked for again.
Wall seconds, on an embedded server with durable commits. Memory is what the peak of a process of its own grows
by, from when it has loaded the calendars.
"""

import argparse
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
import sqlalchemy as sa

from financehub_dagster.assets.charts.coverage import heat_map
from financehub_dagster.market import calendars
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.settings import get_settings
from financehub_dagster.storage.coverage import backfill_planner, facts, gaps, ledger
from financehub_dagster.storage.database import embedded, migrations, schema
from financehub_dagster.storage.database.engine import market_engine, transaction
from financehub_dagster.storage.queries.instruments import list_instruments, upsert_instruments
from financehub_dagster.storage.upsert import upsert
from financehub_dagster.tables import BARS_OF
from financehub_dagster_tests.fixtures.database import reset_engine

NOW = datetime(2026, 1, 5, 22, tzinfo=UTC)
"""A Monday after all of these exchanges have closed."""
LATER = NOW + timedelta(days=1)
EXCHANGES = ("XNAS", "XNYS", "XLON", "XETR", "XTKS")
TABLE = "stock_prices_daily"
WRITTEN = 100
"""Instruments of one write."""
HOLE = 1000
"""One session of so many is missing."""


class Took(NamedTuple):
    """What something took: seconds, and megabytes of memory."""

    seconds: float
    megabytes: float


def measured(work: Callable[[], object]) -> Took:
    """One call in a new process, once it has loaded what a living one has."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure, (work,))


def _measure(work: Callable[[], object]) -> Took:
    with transaction() as connection:
        connection.execute(sa.text("select 1"))
    for exchange in EXCHANGES:
        calendars.known(exchange, get_settings().financehub_history_start, NOW.date())
    before = peak_megabytes()
    took = seconds(work)
    return Took(took, peak_megabytes() - before)


def peak_megabytes() -> float:
    """The most memory that this process has had; getrusage counts that of the process it was started from, too."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("/proc/self/status has no VmHWM")


def seconds(work: Callable[[], object]) -> float:
    """Wall seconds of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def universe(count: int) -> list[Instrument]:
    """Instruments of all exchanges, by importance."""
    return [
        Instrument(
            f"S{n:05d}", f"S{n:05d}", AssetType.STOCK, EXCHANGES[n % len(EXCHANGES)], market_cap=float(count - n)
        )
        for n in range(count)
    ]


def import_all(instruments: list[Instrument]) -> None:
    """The universe in one transaction, as the command does it."""
    with transaction() as connection:
        upsert_instruments(connection, instruments)


def read_all() -> None:
    """What `instruments list` reads."""
    with transaction() as connection:
        list_instruments(connection, active=None)


def tick() -> None:
    """What the healing sensor does when no gap is due."""
    ledger.refresh(NOW)
    with transaction() as connection:
        assert backfill_planner.plan(connection, NOW, 2, tables=list(BARS_OF)) == []


def new_session() -> None:
    """The sessions of a day become due."""
    assert ledger.refresh(LATER) > 0


def shares() -> None:
    """What the heat map shows."""
    with transaction() as connection:
        gaps.shares_by_month(connection, [TABLE])


def picture() -> None:
    """The heat map, drawn by a process that has not drawn before."""
    with transaction() as connection:
        assert heat_map("daily bars", gaps.shares_by_month(connection, [TABLE])) is not None


def counts() -> None:
    """What `gaps` reads and shows."""
    ledger.refresh(NOW)
    with transaction() as connection:
        gaps.sessions_by_state(connection)
        gaps.open_gaps(connection, 20)


def fill(instruments: list[Instrument]) -> int:
    """Store bars by the server itself, but for the holes; returns how many, without those of one write."""
    start = get_settings().financehub_history_start
    stored = 0
    for place, exchange in enumerate(EXCHANGES):
        days = facts.finished(instruments[place], start, NOW).tolist()
        half = len(days) // 2
        asked = {"exchange": exchange, "days": days, "half": half, "hole": HOLE, "written": WRITTEN, "now": NOW}
        with transaction() as connection:
            stored += connection.execute(_FILL, asked).rowcount
            connection.execute(_UNLISTED, {**asked, "first": days[0], "listing": days[half]})
            connection.execute(_WAITING, asked)
    return stored


_ALL = """
    (
        SELECT symbol, CAST(substr(symbol, 2) AS int) AS n FROM instruments WHERE exchange = :exchange
    ) AS i CROSS JOIN unnest(CAST(:days AS date[])) WITH ORDINALITY AS d(day, n)
    WHERE i.n >= :written AND (i.n % 3 > 0 OR d.n > :half)
"""
_FILL = sa.text(f"""
    INSERT INTO stock_prices_daily
    SELECT i.symbol, d.day, 10, 12, 9, 11, 11, 1000, 'bench', now()
    FROM {_ALL} AND (i.n % 2 > 0 OR (d.n + i.n) % :hole > 0)
    ORDER BY 1, 2
""")
_UNLISTED = sa.text("""
    INSERT INTO empty_answers (table_name, symbol, sessions, provider, asked, last_asked_at)
    SELECT 'stock_prices_daily', symbol, datemultirange(daterange(:first, :listing)), 'bench', 1,
        :now
    FROM instruments WHERE exchange = :exchange AND CAST(substr(symbol, 2) AS int) % 3 = 0
        AND CAST(substr(symbol, 2) AS int) >= :written
""")
_WAITING = sa.text(f"""
    INSERT INTO empty_answers (table_name, symbol, sessions, provider, asked, last_asked_at, next_ask_at)
    SELECT 'stock_prices_daily', i.symbol, range_agg(daterange(d.day, d.day + 1)), 'bench', 1,
        CAST(:now AS timestamptz),
        CAST(:now AS timestamptz) + interval '1 day'
    FROM {_ALL} AND i.n % 2 = 0 AND (d.n + i.n) % :hole = 0
    GROUP BY 2
""")


def write_with_ledger(instruments: list[Instrument]) -> tuple[float, float]:
    """Seconds of the bare writer for the first instruments' histories, and of settling them in the same transaction."""
    start = get_settings().financehub_history_start
    sessions = {exchange: facts.finished(instruments[n], start, NOW) for n, exchange in enumerate(EXCHANGES)}
    days = [sessions[each.exchange] for each in instruments[:WRITTEN]]
    rows = sum(each.size for each in days)
    prices = {name: np.full(rows, 10.0) for name in ("open", "high", "low", "close", "adj_close", "volume")}
    columns = {
        "symbol": np.repeat(np.array([each.symbol for each in instruments[:WRITTEN]], object), [d.size for d in days]),
        "date": np.concatenate(days),
        **prices,
        "source": np.full(rows, "bench", object),
        "fetched_at": np.full(rows, np.datetime64("2026-01-05T21:00:00")),
    }
    given = [
        ledger.SessionsResponse(each.symbol, "bench", start, NOW.date(), NOW, own[0].item())
        for each, own in zip(instruments[:WRITTEN], days, strict=True)
    ]
    with transaction() as connection:
        bare = seconds(
            lambda: upsert.write(
                connection, schema.table("stock_prices_daily"), columns, run_id="bench", keep_revisions=True
            )
        )
        return bare, seconds(lambda: ledger.answered(connection, TABLE, given, NOW))


def sizes() -> tuple[int, int]:
    """Bytes on disk of the ledger and of the bars, indexes included."""
    query = sa.text(
        "select pg_total_relation_size('coverage') + pg_total_relation_size('empty_answers'),"
        " pg_total_relation_size('stock_prices_daily')"
    )
    with market_engine().connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("vacuum full coverage, empty_answers"))
        ours, bars = connection.execute(query).one()
    return ours, bars


def run(count: int) -> None:
    """Print one line for each figure."""
    instruments = universe(count)
    print(f"import {count:,} instruments {seconds(lambda: import_all(instruments)):.2f} s, again", end=" ")
    print(f"{seconds(lambda: import_all(instruments)):.2f} s, list {seconds(read_all):.2f} s (goal 3)")
    for exchange in EXCHANGES:
        calendars.known(exchange, get_settings().financehub_history_start, NOW.date())
    print(f"a new universe on the ledger {seconds(lambda: ledger.refresh(NOW)):.2f} s (goal 60)")
    show("counts and gaps of the new universe", measured(counts), 3, 200)
    bare, settled = write_with_ledger(instruments)
    print(f"settling {WRITTEN} instruments {settled:.2f} s, writing {bare:.2f} s: {settled / bare:.2f}x (goal 0.25)")
    took = seconds(lambda: print(f"{fill(instruments):,} bars", end=" "))
    print(f"stored in {took:.0f} s, ledger computed anew in {seconds(lambda: ledger.rebuild(NOW)):.2f} s", end=", ")
    print(f"again {seconds(lambda: ledger.rebuild(NOW)):.2f} s")
    with transaction() as connection:
        print(f"sessions: {gaps.sessions_by_state(connection)[TABLE]}")
    show("healing tick with nothing due", measured(tick), 0.5, 100)
    show("counts and gaps", measured(counts), 3, 200)
    show("shares by month", measured(shares), 5, 200)
    show("coverage picture", measured(picture), 5, 200)
    ours, bars = sizes()
    print(f"ledger {ours / 2**20:.1f} MB, bars {bars / 2**20:.0f} MB: {100 * ours / bars:.2f} % (goal 5)")
    show("a new session of all instruments", measured(new_session), 10, 200)


def show(what: str, took: Took, goal: float, memory: float) -> None:
    """One line."""
    print(f"{what} {took.seconds:.2f} s (goal {goal}), {took.megabytes:.0f} MB (goal {memory:.0f})")


def main() -> None:
    """Measure one form on a server of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="200 instruments × 2 years")
    parser.add_argument("--full", action="store_true", help="10,000 instruments × 20 years: an hour and 10 GB")
    options = parser.parse_args()
    count, years = (10_000, 20) if options.full else (200, 2) if options.quick else (2_000, 5)
    with tempfile.TemporaryDirectory(prefix="fh-") as folder:
        start = date(NOW.year - years, 1, 1).isoformat()
        os.environ |= {"FINANCEHUB_HOME": folder, "FINANCEHUB_DATABASE_URL": "", "FINANCEHUB_HISTORY_START": start}
        get_settings.cache_clear()
        try:
            migrations.upgrade()
            run(count)
        finally:
            reset_engine()
            embedded.stop(Path(folder))


if __name__ == "__main__":
    main()
