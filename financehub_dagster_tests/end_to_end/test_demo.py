"""`financehub demo` as a process: it fills every table, and however it ends, nothing of it is left running."""

import json
import signal
from collections.abc import Iterator
from functools import partial

import pytest

from financehub_dagster.cli.supervisor.state import State, running
from financehub_dagster.operations import probes
from financehub_dagster.sandbox.client import VENDORS, Sandbox
from financehub_dagster.storage.database import embedded
from financehub_dagster_tests.end_to_end.platform_process import Platform
from financehub_dagster_tests.fixtures.eventually import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]

A_MONTH = ("--no-ui", "--from", "2015-03", "--to", "2015-03")

INTRADAY = ("ohlc_1m", "ohlc_5m", "ohlc_15m", "ohlc_1h", "indicators_1h")
ENDING_THEN = ("stock_prices_daily", "crypto_prices_daily", "indicators_daily", "levels_daily", "pivot_points")


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Platform:
    """One folder for all demos: each finds the database of the one before."""
    return Platform(tmp_path_factory.mktemp("demo"))


@pytest.fixture
def platform(home) -> Iterator[Platform]:
    yield home
    home.end()


def sandbox_of(platform: Platform) -> Sandbox | None:
    """The sandbox of a demo, once it answers."""
    state = State.read(platform.home.state_file)
    url = None if state is None else state.urls.get("sandbox")
    return Sandbox(url) if url is not None and probes.works(partial(probes.sandbox, url)) else None


def demo_that_fetches(platform: Platform) -> State:
    """Start a demo, and return its processes while a vendor keeps it waiting for the end of an answer."""
    demo = platform.start("demo", *A_MONTH, "--symbols", "BTC")
    eventually(lambda: demo.poll() is not None or sandbox_of(platform) is not None)
    sandbox = sandbox_of(platform)
    assert sandbox is not None, platform.errors.read_text()
    sandbox.fault("slow", vendor="binance", path="klines", seconds=2.0)
    eventually(lambda: demo.poll() is not None or sandbox.faults()[0]["served"] > 0)
    return platform.state()


@pytest.mark.full
def test_a_demo_that_is_interrupted_while_it_fetches_leaves_nothing_running(platform):
    state = demo_that_fetches(platform)
    assert platform.process is not None
    platform.process.send_signal(signal.SIGINT)
    assert platform.process.wait(timeout=60) == 1
    assert platform.errors.read_text().splitlines()[-1] == "financehub: interrupted"
    assert platform.nothing_left(state)


def test_a_demo_that_is_killed_while_it_fetches_takes_its_processes_with_it(platform):
    state = demo_that_fetches(platform)
    assert platform.process is not None
    platform.process.kill()
    platform.process.wait()
    eventually(lambda: platform.nothing_left(state))
    assert running(platform.home) is None
    down = platform.run("down")
    assert (down.returncode, down.stdout) == (0, "nothing was running\n")


def test_a_demo_without_pages_fills_every_table_and_leaves_nothing_running(platform):
    demo = platform.run("demo", *A_MONTH, "--symbols", "AAPL,MSFT,BTC", "--json", timeout=400)
    assert demo.returncode == 0, demo.stderr
    summary = json.loads(demo.stdout)
    rows = {table["table"]: (table["rows"], table["instruments"]) for table in summary["tables"]}
    assert rows["instruments"] == (75, 75)
    assert rows["stock_prices_daily"] == (2 * 22, 2)
    assert rows["crypto_prices_daily"] == (31, 1)
    assert rows["indicators_daily"] == (2 * 22 + 31, 3)
    days = {table["table"]: table["partitions"] for table in summary["tables"] if table["first"] is not None}
    assert all(count == (5 if table in INTRADAY else 1) for table, count in days.items())
    assert all(rows[table][0] > 4 * 24 and rows[table][1] == 2 for table in INTRADAY)
    assert rows["quotes"][1] == 3
    assert (rows["crypto_markets"][1], rows["fundamentals"]) == (1, (2, 2))
    assert set(summary["calls"]) == set(VENDORS)
    # Two histories and one of minutes; quotes, for which it wants a cookie and a crumb.
    assert summary["calls"]["yahoo"] == 2 + 1 + 3
    left = {each["vendor"]: each["left"] for each in summary["vendors"]}
    assert left["alpha_vantage"] == {"day": [23, 25]}
    assert set(left) == set(VENDORS)
    assert not summary["failures"]
    # Three instruments may be two days without an article.
    late = {f"{table}: freshness" for table in (*ENDING_THEN, "news_articles")}
    assert set(summary["not_passed"]) <= late, "and the audit of each table finds it sound"
    assert sum(summary["checks"].values()) == len(summary["not_passed"]) + summary["checks"]["passed"] >= 59
    assert not embedded.status(platform.home.path).running
    assert not platform.home.state_file.exists()
    [page] = (platform.home.path / "journal/sample").glob("*.md")
    assert all(symbol in page.read_text() for symbol in ("AAPL", "KO", "JPM", "BTC"))
    ranked = "select count(*) from instruments where importance is not null"
    shown = platform.run("db", "shell", "--", "-Atc", ranked)
    assert shown.stdout == "75\n", shown.stderr
