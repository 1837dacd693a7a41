"""Eight processes whose work succeeds and fails on the same instruments: nobody waits for ever, nothing is lost.

A vendor that knows an instrument in one moment and not in the next makes runs of one table settle what others fail at;
beside them indicators are computed, replays take dead letters and give them back, hooks close steps.
"""

import logging
import os
import random
import traceback
import urllib.request
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from urllib.parse import urlencode

import pytest
import sqlalchemy as sa

from financehub_dagster.market.instrument_files import default_universe
from financehub_dagster.settings import get_settings
from financehub_dagster.storage.queries.instruments import upsert_instruments
from financehub_dagster_tests.contracts.scripted import Answer, Asked, scripted_vendor
from financehub_dagster_tests.fixtures.database import Database
from financehub_dagster_tests.fixtures.fault_form import in_full
from financehub_dagster_tests.fixtures.forks import forks

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

STOCKS, INDICATORS = "stock_prices_daily", "indicators_daily"
SYMBOLS = ["AAPL", "AMZN", "GE", "IBM", "JNJ", "KO", "MSFT", "XOM"]
FIRST, LAST = date(2015, 3, 1), date(2015, 3, 31)
SESSIONS = 22
PROCESSES, SHORT, FULL = 8, 1, 60


def work(environment: dict[str, str], log: Path, seed: int, rounds: int) -> None:
    """The life of one process: rounds of fetching, computing, replaying and closing, in an order of its own."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.environ.update(environment)
    get_settings.cache_clear()
    chance = random.Random(seed)
    try:
        for number in range(rounds):
            acts = [_fetch, _compute, _take_and_give_back, _close_step, _fetch]
            for act in chance.sample(acts, len(acts)):
                act(f"run-{seed}-{number}", chance)
    except BaseException:
        traceback.print_exc()
        raise


def _fetch(run_id: str, chance: random.Random) -> None:
    from financehub_dagster.ingest import concurrency
    from financehub_dagster.ingest.history import daily_bars as history
    from financehub_dagster.ingest.partitions import Window
    from financehub_dagster.ingest.run_config import Universe
    from financehub_dagster.providers.table_sources import vendors_of
    from financehub_dagster.tables import BARS_OF
    from financehub_dagster_tests.fixtures.warm import DEFINITIONS

    concurrency.BATCH = concurrency.QUICK_BATCH = 3
    resources = DEFINITIONS.resources or {}
    router = resources["daily_bars"].over({name: resources[name] for name in vendors_of(STOCKS)})
    order = history.HistoryRun(STOCKS, router, Window.of_dates(FIRST, LAST), run_id)
    instruments = Universe(symbols=SYMBOLS).instruments(BARS_OF[STOCKS])
    history.update_prices(order, chance.sample(instruments, len(instruments)), logging.getLogger("runs"))


def _compute(run_id: str, chance: random.Random) -> None:
    from financehub_dagster.ingest import derived
    from financehub_dagster.ingest.partitions import Window
    from financehub_dagster.ingest.run_config import Universe

    derived.BATCH = 3
    universe = Universe(symbols=chance.sample(SYMBOLS, len(SYMBOLS)))
    derived.update_derived(
        "indicators_daily", Window.of_dates(FIRST, LAST), universe, run_id, logging.getLogger("runs")
    )


def _take_and_give_back(run_id: str, chance: random.Random) -> None:
    from financehub_dagster.storage.database.transactions import in_transaction
    from financehub_dagster.storage.dead_letters import replays

    ids = in_transaction(lambda connection: replays.ids_to_replay(connection, due_only=False))
    in_transaction(lambda connection: replays.claim(connection, run_id, chance.sample(ids, len(ids)), due_only=False))
    in_transaction(lambda connection: replays.give_back(connection, run_id))


def _close_step(run_id: str, chance: random.Random) -> None:
    from financehub_dagster.automation import hooks
    from financehub_dagster.automation.failures.dead_letters import Piece
    from financehub_dagster.ingest.partitions import Window
    from financehub_dagster.storage.database.transactions import in_transaction

    kwargs: dict[str, object] = {"symbols": chance.sample(SYMBOLS, len(SYMBOLS))}
    piece = Piece(STOCKS, Window.of_dates(FIRST, LAST).partition_key, "", kwargs)
    in_transaction(lambda connection: hooks.settle(connection, run_id, [STOCKS], [piece]))


@pytest.fixture
def fickle_vendor(sandbox) -> Iterator[str]:
    """Half of the time it does not know the instrument it is asked for."""
    chance = random.Random(1)

    def answer(asked: Asked) -> Answer:
        if chance.random() < 0.5:
            return Answer({"chart": {"result": None, "error": {"code": "Not Found", "description": "No data"}}}, 404)
        with urllib.request.urlopen(f"{sandbox.yahoo_url}{asked.path}?{urlencode(asked.query)}") as reply:
            return Answer(reply.read(), reply.status, {"Content-Type": "application/json"})

    with scripted_vendor(Answer({})) as vendor:
        vendor.rule = answer
        yield vendor.url


def test_eight_processes_succeed_and_fail_on_the_same_instruments_without_a_deadlock(
    database: Database, fickle_vendor: str, tmp_path: Path, pytestconfig, count_cases
) -> None:
    from financehub_dagster.storage.coverage import ledger
    from financehub_dagster.storage.database.engine import transaction

    with database.engine.begin() as connection:
        upsert_instruments(connection, [each for each in default_universe() if each.symbol in SYMBOLS])
    ledger.refresh(datetime.now(UTC))
    rounds = FULL if in_full(pytestconfig) else SHORT
    log = tmp_path / "runs.log"
    environment = {"FINANCEHUB_DATABASE_URL": database.url, "YAHOO_BASE_URL": fickle_vendor}
    context = forks()
    started = [context.Process(target=work, args=(environment, log, seed, rounds)) for seed in range(PROCESSES)]
    try:
        for process in started:
            process.start()
        for process in started:
            process.join(800)
        assert [process.exitcode for process in started] == [0] * PROCESSES, log.read_text()[-3000:]
    finally:
        for process in started:
            process.kill()
    with transaction() as connection:

        def rows(query: str) -> list[tuple]:
            return [tuple(row) for row in connection.execute(sa.text(query))]

        assert rows("select deadlocks from pg_stat_database where datname = current_database()") == [(0,)]
        assert rows(f"select distinct count(*) from {STOCKS} group by symbol") == [(SESSIONS,)]
        twice = "select 1 from task_failures where status <> 'resolved' group by symbol having count(*) > 1"
        assert rows(twice) == []
        assert rows("select 1 from task_failures where status = 'retrying'") == []
    assert ledger.rebuild(datetime.now(UTC)) == 0
    count_cases("rounds of runs that contradict each other", PROCESSES * rounds)
