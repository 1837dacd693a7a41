"""A scrape of /metrics beside 10,000 instruments, 26,000 live dead letters and a month of Dagster's runs.

The floor is the same number of empty statements on the same connections: what a scrape costs that reads nothing.
"""

import argparse
import statistics
import time
from collections.abc import Callable

from financehub_dagster_tests.bench.bench_limiter import database

FILL = """
    insert into instruments (symbol, name, asset_type, exchange, currency, timezone)
        select 'S' || n, 'S', 'stock', 'XNYS', 'USD', 'UTC' from generate_series(1, {instruments}) n;
    insert into coverage (table_name, symbol, first, through, calendar_digest, gap)
        select t, 'S' || n, '2010-01-01', '2026-11-27', 1,
            case when mod(n, 5) = 0 then '{{[2020-01-06,2020-01-08)}}'::datemultirange else '{{}}' end
        from generate_series(1, {instruments}) n,
            unnest(array['stock_prices_daily', 'indicators_daily', 'quotes']) t;
    insert into task_failures (task_name, symbol, exception, traceback, status)
        select 'stock_prices_daily', 'S' || n, 'Outage', repeat('line ', 400), 'open'
        from generate_series(1, {failures}) n;
    insert into api_usage (provider, scope, day, outcome, calls, weight)
        select p, 'ip', current_date - n, o, 9, 9 from generate_series(0, 365) n,
            unnest(array['yahoo', 'binance', 'finnhub']) p, unnest(array['ok', 'Transient']) o;
    insert into job_statistics (job_name, outcome, runs, seconds)
        select 'job' || n, o, 9, 9 from generate_series(1, 40) n, unnest(array['success', 'failure']) o;
    insert into health_checks (component, since, checked_at, status, detail)
        select 'vendor:' || v, now() - n * interval '1 hour', now(), 'ok', 'ok'
        from generate_series(1, 2000) n, generate_series(1, 8) v;
    """
RUNS = """insert into runs (run_id, pipeline_name, mode, status, run_body, start_time, end_time)
    select 'run' || n, 'fetch_news', 'default', case when n % 50 = 0 then 'FAILURE' else 'SUCCESS' end,
    repeat('body ', 600), n, n + 2 from generate_series(1, :runs) n"""
STATEMENTS = 25
"""About as many as a scrape sends."""


def fill(instruments: int, failures: int, runs: int) -> None:
    """Rows as a large platform has them on a bad day."""
    import sqlalchemy as sa

    from financehub_dagster.storage.database.creation import autocommit
    from financehub_dagster.storage.database.dagster_storage import FinanceHubDagsterStorage
    from financehub_dagster.storage.database.engine import transaction
    from financehub_dagster.storage.database.urls import MARKET_DRIVER, beside, market_url

    FinanceHubDagsterStorage.from_config_value(None, {}).event_log_storage.dispose()
    with transaction() as connection:
        connection.exec_driver_sql(FILL.format(instruments=instruments, failures=failures))
    with autocommit(beside(market_url()).set(drivername=MARKET_DRIVER)) as connection:
        connection.execute(sa.text(RUNS), {"runs": runs})
        connection.exec_driver_sql("vacuum analyze")
    with autocommit(market_url()) as connection:
        connection.exec_driver_sql("vacuum analyze")


def empty_statements() -> None:
    """The connections and round trips of a scrape."""
    from financehub_dagster.storage.database.dagster_state import heartbeats
    from financehub_dagster.storage.database.engine import transaction

    with transaction() as connection:
        for _ in range(STATEMENTS):
            connection.exec_driver_sql("select 1")
    heartbeats()


def milliseconds(work: Callable[[], object], turns: int) -> float:
    """The median of some executions, after one that warms up."""
    work()
    found = []
    for _ in range(turns):
        began = time.perf_counter()
        work()
        found.append(1000 * (time.perf_counter() - began))
    return statistics.median(found)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="5 turns instead of 50")
    turns = 5 if parser.parse_args().quick else 50
    for instruments, failures, runs in ((100, 100, 1_000), (10_000, 26_000, 45_000)):
        with database():
            from financehub_dagster.operations.metrics import render

            fill(instruments, failures, runs)
            floor, ours = milliseconds(empty_statements, turns), milliseconds(render, turns)
            print(
                f"{instruments:>6,} instruments, {failures:,} dead letters, {runs:,} runs: a scrape {ours:.0f} ms,"
                f" {ours / floor:.1f}x {STATEMENTS} empty statements; {len(render()):,} bytes"
            )
