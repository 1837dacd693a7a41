"""A platform as processes: up, refused twice, at work by itself, told of a fault, stopped; nothing is left running."""

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from urllib.request import urlopen

import psutil
import pytest
from dotenv import dotenv_values
from psycopg.types.multirange import Multirange

from financehub_dagster.cli.supervisor.services import DEFINITIONS
from financehub_dagster.sandbox.client import Sandbox
from financehub_dagster_tests.end_to_end.conftest import empty_folder, loaded_by
from financehub_dagster_tests.end_to_end.platform_process import Platform
from financehub_dagster_tests.fixtures.eventually import eventually
from financehub_dagster_tests.fixtures.webserver import Webserver

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

COMPUTED = {"levels_daily", "pivot_points", "signals"}
STOCKS, CRYPTOS, INDICATORS = "stock_prices_daily", "crypto_prices_daily", "indicators_daily"
PATIENCE = 400.0
"""Seconds: a tick, the start of a run and three months of bars take half a minute, and ten times that when busy."""
NEWCOMERS = """
- {symbol: KO, name: Coca-Cola, asset_type: stock, exchange: XNYS}
- {symbol: ETH, name: Ethereum, asset_type: crypto, exchange: XXXX, aliases: {binance: ETHUSDT}}
"""


@pytest.fixture(scope="module")
def platform(tmp_path_factory, inbox) -> Iterator[Platform]:
    """The sample market with a history of three months and a pair of currencies, of which no table takes bars."""
    start = (datetime.now(UTC) - timedelta(days=90)).date().replace(day=1)
    with empty_folder(tmp_path_factory.mktemp("platform")) as folder:
        (folder / "newcomers.yaml").write_text(NEWCOMERS)
        platform = Platform(folder)
        platform.prepare_quiet(start, FINANCEHUB_ALERT_URLS=inbox.url)
    yield platform
    platform.end()


@pytest.fixture(scope="module")
def started(platform) -> dict[str, object]:
    """What the platform said when it was up; two instruments have been added since."""
    started = platform.up()
    added = platform.run("instruments", "import", "newcomers.yaml", "--json")
    assert added.returncode == 0, added.stderr
    assert json.loads(added.stdout)["inserted"] == 2
    return started


def test_a_platform_answers_and_refuses_a_second_one(platform, started):
    with urlopen(f"{started['url']}/server_info") as answer:
        assert answer.status == 200

    env = dotenv_values(platform.folder / ".env")
    assert env["MY_OWN"] == "line"
    assert env["DAGSTER_HOME"] == str(platform.home.dagster)
    assert env["YAHOO_BASE_URL"] == f"{platform.state().urls['sandbox']}/yahoo"

    status = json.loads(platform.run("status", "--json").stdout)
    assert set(status["services"].items()) == {
        (name, "running") for name in ("sandbox", "code-server", "webserver", "daemon", "serve")
    }
    assert status["rows"]["instruments"] == 3
    assert status["revision"] == status["head"]

    second = platform.run("up", "--sandbox")
    assert second.returncode == 1
    told = f"already running at {started['url']} (process {started['pid']}); `financehub down` stops it"
    assert second.stderr == f"financehub: {platform.home.path}: {told}\n"


def test_every_schedule_is_on_and_its_next_tick_has_no_error(platform, started):
    """One of them is launched whose vendor refuses the key: a test below sees what becomes of it."""
    server = Webserver(str(started["url"]))
    schedules, sensors = server.instigators()
    assert [each.name for each in (*schedules, *sensors) if not each.on] == []
    results = {each.name: server.evaluate(each.name) for each in schedules}
    assert [(name, result["error"]) for name, result in results.items() if result["error"]] == []
    silent = [name for name, result in results.items() if not result["runRequests"] and not result["skipReason"]]
    assert silent == []
    sandbox = Sandbox(platform.state().urls["sandbox"])
    sandbox.declare_key("newsapi", sandbox.keys["NEWSAPI_API_KEYS"], valid=False)
    [request] = results["fetch_news_schedule"]["runRequests"]
    server.launch_tick("fetch_news", request)


def complete(platform: Platform, table: str, symbol: str, sessions: int) -> bool:
    """Whether the ledger misses nothing in the table, which has no fewer rows than `sessions`."""
    settled = platform.rows(
        "select gap + dead_lettered + deferred from coverage where table_name = %s and symbol = %s", table, symbol
    )
    [(stored,)] = platform.rows(f"select count(*) from {table} where symbol = %s", symbol)
    return bool([open_ for (open_,) in settled] == [Multirange()] and stored >= sessions)


def test_instruments_added_while_the_platform_runs_get_their_whole_history_and_indicators(platform, started):
    for bars, symbol, sessions in ((STOCKS, "KO", 60), (CRYPTOS, "ETH", 90)):
        for table in (bars, INDICATORS):
            eventually(partial(complete, platform, table, symbol, sessions), PATIENCE)
    shown = platform.run("gaps", "--json")
    assert shown.returncode == 0, shown.stderr
    counts = json.loads(shown.stdout)["tables"]
    assert {table: counts[table]["gap"] for table in (STOCKS, CRYPTOS, INDICATORS)} == {
        STOCKS: 0,
        CRYPTOS: 0,
        INDICATORS: 0,
    }
    assert counts[INDICATORS]["stored"] == counts[STOCKS]["stored"] + counts[CRYPTOS]["stored"] > 150
    [leader] = [psutil.Process(child.pid) for child in platform.state().children if child.name == "code-server"]
    assert any(child.cmdline() == leader.cmdline() for child in leader.children()), "its runs are not forked"


def test_a_backfill_in_parts_fills_what_the_same_answers_bring_of_its_own_instruments(platform, started):
    month = (datetime.now(UTC) - timedelta(days=40)).strftime("%Y-%m")
    command = ("backfill", "corporate_actions", "--from", month, "--to", month, "--symbols", "KO", "--parallel", "2")
    done = platform.run(*command, "--json")
    assert done.returncode == 0, done.stderr
    [part] = json.loads(done.stdout)["runs"]
    assert (part["status"], part["symbols"], part["table"]["table"]) == ("success", ["KO"], "corporate_actions")
    assert part["table"]["instruments_done"] == 1
    [(run,)] = platform.rows("select run_body from runs where run_id = %s", part["run_id"], dagster=True)
    assert json.loads(run)["run_config"] == {"ops": {STOCKS: {"config": {"symbols": ["KO"]}}}}


def test_an_update_is_made_by_the_platform_and_loads_nothing_that_a_run_needs(platform, started):
    text, modules = loaded_by("update", "KO", "--json", cwd=platform.folder, env=platform.environment())
    done = json.loads(text)
    assert {each["table"] for each in done["tables"]} == {STOCKS, INDICATORS, "corporate_actions", *COMPUTED}
    assert all(each["instruments_done"] == 1 for each in done["tables"])
    assert done["success"]
    assert done["seconds"][STOCKS] > 0
    assert set(done["checks"].values()) <= {"passed", "warned"}
    assert f"{STOCKS}: schema" in done["checks"]
    assert platform.update_runs("SUCCESS") == {done["run_id"]}
    assert not {"pandas", "numpy", "yfinance", "pandera", DEFINITIONS} & modules


@contextmanager
def waiting_update(platform: Platform) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`update` of an instrument whose vendor does not answer, and its run, which has begun."""
    Sandbox(platform.state().urls["sandbox"]).fault("slow", vendor="yahoo", seconds=60)
    with platform.beside("update", "KO") as update:
        eventually(lambda: platform.update_runs("STARTED"), PATIENCE)
        [run_id] = platform.update_runs("STARTED")
        yield update, run_id


def test_an_update_that_is_interrupted_cancels_its_run(platform, started):
    with waiting_update(platform) as (update, run_id):
        update.send_signal(signal.SIGINT)
        _, told = update.communicate(timeout=60)
    Sandbox(platform.state().urls["sandbox"]).clear_faults()
    assert (update.returncode, told.splitlines()[-1]) == (1, "financehub: interrupted")
    eventually(lambda: run_id in platform.update_runs("CANCELED"), PATIENCE)


def test_health_and_metrics_tell_of_the_running_platform(platform, started):
    def metrics() -> str:
        with urlopen(f"{started['serve']}/metrics") as answer:
            return str(answer.read().decode())

    with urlopen(f"{started['serve']}/health") as answer:
        components = json.load(answer)["components"]
    assert {name for name, each in components.items() if each["status"] == "failed"} == set()
    assert {"database", "daemon", "code-server", "webserver", "sandbox", "disk", "vendor:yahoo"} <= set(components)
    shown = platform.run("health", "--json")
    assert shown.returncode == 0, shown.stdout
    assert set(json.loads(shown.stdout)["components"]) == set(components)
    # A minute's look has counted the runs that brought the history of the newcomers.
    eventually(lambda: 'financehub_runs_total{job="heal_gaps",outcome="success"}' in metrics(), PATIENCE)
    tasks = {task["job"]: task for task in json.loads(platform.run("status", "--tasks", "--json").stdout)["tasks"]}
    assert tasks["heal_gaps"]["succeeded"] > 0
    assert "financehub_database_up 1.0" in metrics()


def test_every_sensor_ticks_and_a_refused_key_is_a_dead_letter_and_a_message(platform, started, inbox):
    """News of cryptos have one vendor."""
    server = Webserver(str(started["url"]))
    eventually(lambda: all(each.ticks for each in server.instigators()[1]), PATIENCE, pause=1.0)
    schedules, sensors = server.instigators()
    errors = [(each.name, tick["error"]) for each in (*schedules, *sensors) for tick in each.ticks if tick["error"]]
    assert errors == []
    lines = [line.split(" - ", 3)[-1] for line in (platform.home.logs / "daemon.log").read_text().splitlines()]
    assert [line for line in lines if " skipped: " in line]
    assert not [line for line in lines if line.startswith(("Checking", "Evaluating"))], "the daemon's looks"
    news = "select 1 from task_failures where task_name = 'news_articles' and symbol = 'ETH' and exception ~ 'BadKey'"
    eventually(lambda: platform.rows(news), PATIENCE)
    # A busy machine may lose a run before it starts; what began has stored the news of the other newcomer.
    whole = "select exception from task_failures where task_name = 'news_articles' and symbol = '' and exception !~ %s"
    assert platform.rows(whole, "^RunFailed") == []
    # Signals of the newcomers are messages too.
    eventually(lambda: any("keys is degraded" in title for title in inbox.titles), PATIENCE)
    [title] = [title for title in inbox.titles if "keys is degraded" in title]
    assert title.startswith("FinanceHub: keys is degraded: 1 of 6 refused (")


def test_a_platform_stops_without_a_trace_and_an_update_that_it_makes_ends_with_it(platform, started):
    state = platform.state()
    with waiting_update(platform) as (update, _):
        down = json.loads(platform.run("down", "--json").stdout)
        _, told = update.communicate(timeout=120)
    assert update.returncode == 1
    assert told.splitlines()[-1].startswith("financehub: ")
    assert "unexpected" not in told
    parts = {"supervisor", "sandbox", "code-server", "webserver", "daemon", "serve"}
    assert parts <= set(down["stopped"]) <= {*parts, "database"}
    assert platform.process is not None
    assert platform.process.wait(timeout=5) == 0
    assert platform.errors.read_text().splitlines()[-1] == "stopping"
    assert platform.nothing_left(state)
