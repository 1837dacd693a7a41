"""Daily bars of 500 instruments, from the vendor to the table, against what 50 ms of latency make unavoidable.

The vendor is the sandbox with 50 ms before each answer. The floor sends the same requests over bare sessions, eight at
a time, and reads nothing; the ideal is requests x latency / connections. Vendor limits are set out of the way: Yahoo's
own pace of one request a second would make 500 s of it, whatever the code does.
"""

import argparse
import logging
import math
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from itertools import count
from typing import TYPE_CHECKING

from financehub_dagster_tests.bench.bench_limiter import database

if TYPE_CHECKING:
    from financehub_dagster.market.instruments import Instrument
    from financehub_dagster.sandbox.client import Sandbox

INSTRUMENTS, CONNECTIONS, LATENCY_MS = 500, 8, 50.0
SPANS = {
    "a month of each": (date(2015, 3, 1), date(2015, 3, 31)),
    "two years of each": (date(2014, 1, 1), date(2015, 12, 31)),
    "five years of each": (date(2014, 1, 1), date(2018, 12, 31)),
}
_runs = count(1)


def timed(work: Callable[[], None]) -> float:
    """Seconds of one execution."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def floor(box: "Sandbox", symbols: list[str], first: date, last: date) -> None:
    """The charts over one bare curl session per thread, its answers not read."""
    import threading
    from datetime import UTC, datetime, timedelta

    from curl_cffi.requests import Session

    begin, end = (
        int(datetime(day.year, day.month, day.day, 5, tzinfo=UTC).timestamp())
        for day in (first, last + timedelta(days=1))
    )
    own = threading.local()

    def ask(symbol: str) -> None:
        if not hasattr(own, "session"):
            own.session = Session()
        address = f"{box.yahoo_url}/v8/finance/chart/{symbol}"
        params = {"period1": begin, "period2": end, "interval": "1d", "events": "div,splits,capitalGains"}
        headers = {"Host": "query2.finance.yahoo.com"}
        response = own.session.get(address, params=params, headers=headers, http_version="v1")
        if response.status_code != 200:
            raise SystemExit(f"the sandbox refuses {symbol}: {response.status_code} {response.text[:200]}")

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        list(pool.map(ask, symbols))


def update(instruments: "list[Instrument]", first: date, last: date) -> None:
    """The engine behind `stock_prices_daily`: gateway, parsing, rules, write."""
    from financehub_dagster.ingest.history.daily_bars import HistoryRun, update_prices
    from financehub_dagster.ingest.partitions import Window
    from financehub_dagster.providers.routing import DailyBarsRouter
    from financehub_dagster.providers.yahoo.provider import YahooProvider

    router = DailyBarsRouter(stock=["yahoo"]).over({"yahoo": YahooProvider(requests_per_second=1_000_000)})
    work = HistoryRun("stock_prices_daily", router, Window.of_dates(first, last), f"run-{next(_runs)}")
    bars, _ = update_prices(work, instruments, logging.getLogger("bench"))
    if len(bars.done) != len(instruments):
        raise SystemExit(f"{len(bars.failures)} failed, {len(bars.deferred)} put off: {bars.failures or bars.deferred}")


def clear() -> None:
    """As before the first run."""
    from financehub_dagster.storage.database.engine import market_engine

    with market_engine().begin() as connection:
        connection.exec_driver_sql("truncate stock_prices_daily, corporate_actions, coverage, dirty_marks")


def measure(box: "Sandbox", instruments: "list[Instrument]", name: str, repetitions: int) -> None:
    """Print one span's line."""
    first, last = SPANS[name]
    symbols = [each.symbol for each in instruments]
    floors, fresh, again = [], [], []
    floor(box, symbols, first, last)  # the sandbox makes up its instruments when they are first asked for
    for _ in range(repetitions):
        floors.append(timed(lambda: floor(box, symbols, first, last)))
        clear()
        fresh.append(timed(lambda: update(instruments, first, last)))
        again.append(timed(lambda: update(instruments, first, last)))
    bare, new, same = (statistics.median(each) for each in (floors, fresh, again))
    ideal = math.ceil(len(symbols) / CONNECTIONS) * LATENCY_MS / 1000
    print(
        f"{name}: floor {bare:.2f} s (ideal {ideal:.2f} s); stored {new:.2f} s, ratio {new / bare:.2f} to the floor, "
        f"{new / ideal:.2f} to the ideal; the same again {same:.2f} s, ratio {same / bare:.2f}"
    )


def main() -> None:
    """Print the time to fetch and store, and its ratio to the floor, for a month, two and five years of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one repetition instead of three")
    repetitions = 1 if parser.parse_args().quick else 3
    with database():
        from financehub_dagster.sandbox.client import running_sandbox

        with running_sandbox() as box:
            _with_sandbox(box, repetitions)


def _with_sandbox(box: "Sandbox", repetitions: int) -> None:
    import os

    from financehub_dagster.market.instruments import AssetType, Instrument
    from financehub_dagster.settings import get_settings
    from financehub_dagster.storage.database.engine import transaction
    from financehub_dagster.storage.queries.instruments import upsert_instruments

    os.environ.update(box.environment)
    get_settings.cache_clear()
    listed = box.list_synthetic(INSTRUMENTS)
    instruments = [
        Instrument(each["symbol"], each["symbol"], AssetType.STOCK, each["exchange"], "USD", "America/New_York")
        for each in listed
    ]
    with transaction() as connection:
        upsert_instruments(connection, instruments)
    update(instruments[:1], *SPANS["a month of each"])  # imports
    box.latency(LATENCY_MS)
    for name in SPANS:
        measure(box, instruments, name, repetitions)


if __name__ == "__main__":
    main()
