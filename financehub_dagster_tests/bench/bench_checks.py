"""What the checks cost after a run over one symbol and one month, in tables of two sizes, and what the audit holds.

The tables are those of a run of `fetch_yahoo_stocks` with its indicators. The larger one has more instruments of the
same history. The goal is a second at most, and the same within a fifth in both. The audit reads both tables whole, in a
process of its own whose memory is that of the program and the largest page.

Medians of wall seconds (CPU seconds of the program and the server); CPU time tells a slow program from a busy machine.
"""

import argparse
import multiprocessing
import os
import statistics
import tempfile
import time
from datetime import UTC, date, datetime
from pathlib import Path

import sqlalchemy as sa

from financehub_dagster.assets.checks.evidence import Scope, judge_scope, judge_table
from financehub_dagster.assets.checks.scope import members_of
from financehub_dagster.assets.checks.steps import CHECKS
from financehub_dagster.assets.table_audit import AUDITED
from financehub_dagster.settings import get_settings
from financehub_dagster.storage.database import embedded, migrations
from financehub_dagster.storage.database.engine import market_engine, transaction
from financehub_dagster_tests.bench.bench_indicator_table import Took, took
from financehub_dagster_tests.bench.bench_scale import peak_megabytes
from financehub_dagster_tests.fixtures.database import reset_engine

TABLES = ("stock_prices_daily", "corporate_actions", "indicators_daily")
SESSIONS = 5_000
"""Weekdays of some nineteen years."""
MONTH = (date(2015, 3, 1), date(2015, 3, 31))
SYMBOL = "S00007"
FILL = """
    insert into instruments (symbol, name, asset_type, exchange, currency, timezone)
        select symbol, symbol, 'stock', 'XNYS', 'USD', 'America/New_York' from {symbols};
    insert into stock_prices_daily (symbol, date, open, high, low, close, volume, source, fetched_at)
        select symbol, day, 10, 11, 9, 10, 1000, 'bench', now() from {symbols}, {days};
    insert into corporate_actions (symbol, date, kind, value, source, fetched_at)
        select symbol, date '2001-02-07' + 91 * n, 'dividend', 0.2, 'bench', now()
        from {symbols}, generate_series(0, 75) n;
    insert into indicators_daily (symbol, date, sma_20, rsi_14, computed_at)
        select symbol, day, 10, 50, now() from {symbols}, {days}
"""
DAYS = (
    "(select date '2001-01-01' + 7 * week + weekday as day from generate_series(0, {weeks}) week,"
    " generate_series(0, 4) weekday) days"
)


def grow(before: int, instruments: int) -> None:
    """Store the history of the instruments from number `before` up to `instruments`."""
    symbols = f"(select 'S' || to_char(n, 'FM00000') as symbol from generate_series({before}, {instruments - 1}) n) of"
    with transaction() as connection:
        for statement in FILL.split(";"):
            filled = statement.format(symbols=symbols, days=DAYS.format(weeks=SESSIONS // 5 - 1))
            connection.execute(sa.text(filled))
    with market_engine().connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("vacuum analyze"))


def after_a_run() -> None:
    """Every check of the tables, over one symbol and one month."""
    for table in TABLES:
        judge_scope(Scope(table, members_of(table, [SYMBOL]), MONTH), CHECKS[table], datetime.now(UTC))


def median(turns: int) -> Took:
    """Of each kind of seconds."""
    after_a_run()
    return Took(
        *(statistics.median(seconds) for seconds in zip(*(took(after_a_run) for _ in range(turns)), strict=True))
    )


def audited(home: str, said: "multiprocessing.Queue[tuple[int, float, float]]") -> None:
    """Audit both tables in a new process; tells rows, seconds and megabytes at the most."""
    os.environ |= {"FINANCEHUB_HOME": home, "FINANCEHUB_DATABASE_URL": ""}
    began, rows = time.perf_counter(), 0
    for table in ("stock_prices_daily", "indicators_daily"):
        rows += judge_table(table, members_of(table), AUDITED[table], datetime.now(UTC))[0]
    peak = peak_megabytes()
    reset_engine()
    said.put((rows, time.perf_counter() - began, peak))


def audit(home: str) -> tuple[int, float, float]:
    """What `audited` tells."""
    fresh = multiprocessing.get_context("spawn")
    said: multiprocessing.Queue[tuple[int, float, float]] = fresh.Queue()
    process = fresh.Process(target=audited, args=(home, said))
    process.start()
    told = said.get()
    process.join()
    return told


def main() -> None:
    """Print seconds, their ratio and the audit's memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="40 and 400 instruments instead of 400 and 10,000")
    quick = parser.parse_args().quick
    sizes, turns = ((40, 400), 7) if quick else ((400, 10_000), 15)
    costs: list[Took] = []
    with tempfile.TemporaryDirectory(prefix="fh-") as folder:
        os.environ |= {"FINANCEHUB_HOME": folder, "FINANCEHUB_DATABASE_URL": ""}
        get_settings.cache_clear()
        try:
            migrations.upgrade()
            before = 0
            for instruments in sizes:
                grow(before, instruments)
                before = instruments
                cost = median(turns)
                costs.append(cost)
                bars = f"{instruments * SESSIONS:,} bars"
                print(
                    f"{bars}: all checks after a run over one symbol and month {cost.wall:.3f} s"
                    f" ({cost.own:.3f} + {cost.server:.3f})",
                    flush=True,
                )
                rows, seconds, peak = audit(folder)
                print(f"{bars}: the audit read {rows:,} rows in {seconds:.0f} s, {peak:.0f} MB at the most", flush=True)
        finally:
            reset_engine()
            embedded.stop(Path(folder))
    (few, many) = costs
    print(
        f"larger against smaller: {many.wall / few.wall:.2f} × wall,"
        f" {(many.own + many.server) / (few.own + few.server):.2f} × CPU (goal 0.8 to 1.2)"
    )


if __name__ == "__main__":
    main()
