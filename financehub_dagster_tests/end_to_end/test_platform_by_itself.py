"""A platform on its own: all schedules tick, data arrive, a fault is told once, and all is well again by itself.

Half of it runs with every suite, on the platform of test_supervisor_lifecycle.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial

import psycopg
import pytest

from financehub_dagster.sandbox.client import Sandbox
from financehub_dagster.storage.database.urls import beside, libpq_url, market_url
from financehub_dagster_tests.end_to_end.conftest import empty_folder
from financehub_dagster_tests.end_to_end.platform_process import Platform
from financehub_dagster_tests.fixtures.eventually import eventually
from financehub_dagster_tests.fixtures.webserver import Webserver

pytestmark = [pytest.mark.slow, pytest.mark.full, pytest.mark.timeout(1800)]

settled = partial(eventually, seconds=600.0, pause=0.5)
"""Waits for a platform that is at work, ten times as long as an idle machine needs."""
WEEK = timedelta(days=8)
UNIVERSE = """
- {symbol: EURUSD, name: Euro, asset_type: fx, exchange: XXXX, aliases: {yahoo: EURUSD=X}}
- {symbol: KO, name: Coca-Cola, asset_type: stock, exchange: XNYS}
- {symbol: ETH, name: Ethereum, asset_type: crypto, exchange: XXXX, aliases: {binance: ETHUSDT, coingecko: ethereum}}
"""
FILLED = """
stock_prices_daily crypto_prices_daily fx_prices_daily indicators_daily levels_daily pivot_points quotes crypto_markets
fundamentals ohlc_1m coverage api_usage health_checks
""".split()


@pytest.fixture(scope="module")
def platform(tmp_path_factory, inbox) -> Iterator[Platform]:
    """A platform that was up for a moment a week ago, with an address for alerts; it is up again."""
    start = (datetime.now(UTC) - timedelta(days=60)).date().replace(day=1)
    with empty_folder(tmp_path_factory.mktemp("by_itself")) as folder:
        (folder / "universe.yaml").write_text(UNIVERSE)
        platform = Platform(folder)
        platform.prepare_quiet(start, FINANCEHUB_ALERT_URLS=inbox.url)
    try:
        server = Webserver(str(platform.up()["url"]))
        schedules, _ = server.instigators()
        known = "select count(*) from instigators where instigator_type = 'SCHEDULE'"
        settled(lambda: platform.rows(known, dagster=True) == [(len(schedules),)])
        sleep_for_a_week(platform)
        # Before it slept nobody had instruments: a run that it made then would have lost its vendors with it.
        assert platform.run("instruments", "import", "universe.yaml").returncode == 0
        platform.up()
        yield platform
    finally:
        platform.end()


def sleep_for_a_week(platform: Platform) -> None:
    """Stop it, and move what schedules and sensors have done to a week ago."""
    then = (datetime.now(UTC) - WEEK).timestamp()
    state = platform.state()
    platform.end()
    settled(lambda: platform.nothing_left(state))
    with (
        empty_folder(platform.folder),
        platform.database_alone(),
        psycopg.connect(libpq_url(beside(market_url()))) as connection,
    ):
        earlier = "update instigators set instigator_body = regexp_replace(instigator_body, %s, %s, 'g')"
        connection.execute(earlier, [r'_timestamp": [0-9.]+', f'_timestamp": {then}'])
        connection.execute("delete from job_ticks")


@pytest.fixture(scope="module")
def server(platform) -> Webserver:
    return Webserver(platform.state().urls["webserver"])


def test_every_schedule_ticks_by_itself_and_its_runs_bring_data(platform, server):
    def silent() -> list[str]:
        schedules, sensors = server.instigators()
        every = (*schedules, *sensors)
        return [each.name for each in every if not each.ticks or each.ticks[-1]["status"] == "STARTED"]

    settled(lambda: not silent())
    schedules, sensors = server.instigators()
    assert [each.name for each in (*schedules, *sensors) if not each.on] == []
    ticks = {each.name: each.ticks for each in (*schedules, *sensors)}
    assert [(name, tick["error"]) for name, every in ticks.items() for tick in every if tick["error"]] == []
    first = {each.name: each.ticks[-1] for each in schedules}
    assert [name for name, tick in first.items() if not tick["runIds"] and not tick["skipReason"]] == []
    launched = [run for tick in first.values() for run in tick["runIds"]]
    assert len(launched) > len(schedules) / 2

    def ended() -> bool:
        query = "select count(*) from runs where run_id = any(%s) and status in ('SUCCESS', 'FAILURE', 'CANCELED')"
        return platform.rows(query, launched, dagster=True) == [(len(launched),)]

    settled(ended, seconds=1200.0)
    # A busy machine may lose runs before they start; their work is done again.
    assert platform.rows("select exception, task_name from task_failures where exception !~ %s", "^RunFailed") == []
    for table in FILLED:
        settled(partial(platform.rows, f"select 1 from {table} limit 1"), otherwise=f"{table} has no row")


def test_a_refused_key_is_told_once_and_all_is_well_when_it_is_put_right(platform, server, inbox):
    """News of cryptos have one vendor: its refusal is a dead letter, and a message to a person."""
    sandbox = Sandbox(platform.state().urls["sandbox"])
    key = sandbox.keys["NEWSAPI_API_KEYS"]
    news = "select status from task_failures where task_name = 'news_articles' and symbol = 'ETH'"

    def told() -> list[str]:
        return [message["message"] for message in inbox.messages if "refused" in message["message"]]

    assert platform.rows(news) == []
    sandbox.declare_key("newsapi", key, valid=False)
    [request] = server.evaluate("fetch_news_schedule")["runRequests"]
    server.launch_tick("fetch_news", request)
    settled(lambda: platform.rows(news))
    settled(told)
    [message] = told()
    assert "1 of 6 refused" in message
    assert key not in message

    answered = sandbox.calls("newsapi", "ETH")["by_status"]["200"]
    sandbox.declare_key("newsapi", key)
    server.launch("test_connection")
    settled(lambda: platform.rows(news) == [("resolved",)])
    assert sandbox.calls("newsapi", "ETH")["by_status"]["200"] > answered
    settled(lambda: len(told()) == 2)
    assert "over after" in told()[1]
    assert platform.rows("select incident from alerts where incident = 'health/keys'") == [("health/keys",)]


def test_levels_follow_a_revised_bar_of_a_past_month_in_one_run(platform):
    """A backfill of bars alone is followed by one run over all its months."""
    first, last = "select min(date) from stock_prices_daily", "select max(date) from stock_prices_daily"
    [(since,)], [(until,)] = platform.rows(first), platform.rows(last)
    [(day, high)] = platform.rows("select date, high from stock_prices_daily where symbol = 'KO' order by 1 limit 1")
    followed = "select count(*) from run_tags where key = 'dagster/backfill'"
    [(before,)] = platform.rows(followed, dagster=True)
    raised = round(high + 0.01, 4)
    Sandbox(platform.state().urls["sandbox"]).set_bar("KO", day, high=raised)
    months = ("--from", f"{since:%Y-%m}", "--to", f"{until:%Y-%m}")
    assert platform.run("backfill", "stock_prices_daily", *months, "--symbols", "KO", timeout=600).returncode == 0
    level = "select high from levels_daily where symbol = 'KO' and session = %s"
    settled(lambda: platform.rows(level, day) == [(raised,)])
    assert platform.rows(followed, dagster=True) == [(before + 1,)]
