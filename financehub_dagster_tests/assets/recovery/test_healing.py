"""The sensor that turns gaps into runs, and the ledger after real runs over HTTP."""

from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from dagster._core.storage.partition_status_cache import AssetPartitionStatus

from financehub_dagster.assets.charts import PICTURES_TAG
from financehub_dagster.automation.jobs.healing import JOB, heal_gaps_sensor
from financehub_dagster.automation.runs import run_job
from financehub_dagster.ingest.outcome import HEALS_TAG
from financehub_dagster.ingest.partitions import range_tags
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.settings import get_settings
from financehub_dagster.storage.coverage import gaps, ledger
from financehub_dagster.storage.database.engine import transaction
from financehub_dagster.storage.queries.instruments import upsert_instruments
from financehub_dagster.storage.rate_limits.circuit_breakers import ANY, hold

STOCKS, CRYPTOS, INDICATORS = "stock_prices_daily", "crypto_prices_daily", "indicators_daily"
CHOSEN = ("AAPL", "GE", "BTC")


@pytest.fixture
def small(platform, monkeypatch):
    """Three instruments and a history of some six weeks."""
    start = (datetime.now(UTC) - timedelta(days=20)).date().replace(day=1)
    monkeypatch.setenv("FINANCEHUB_HISTORY_START", start.isoformat())
    get_settings.cache_clear()
    platform.execute("delete from instruments where symbol <> all(:chosen)", chosen=list(CHOSEN))
    yield platform
    get_settings.cache_clear()


def tick(platform) -> list[dg.RunRequest]:
    """What the sensor would launch now."""
    context = dg.build_sensor_context(
        instance=platform.instance,
        definitions=platform.definitions,
        resources={name: platform.definitions.resources[name] for name in ("daily_bars", "intraday_bars")},
    )
    data = heal_gaps_sensor.evaluate_tick(context)
    return list(data.run_requests or [])


def launch(platform, request: dg.RunRequest, *, checked: bool = False) -> dg.ExecuteInProcessResult:
    """Do what the daemon would do with the request, in this process; with the checks of the tables if `checked`."""
    job = platform.definitions.resolve_job_def(JOB).get_subset(
        asset_selection=set(request.asset_selection or ()), asset_check_selection=None if checked else set()
    )
    return job.execute_in_process(
        run_config=request.run_config,
        tags={**request.tags, PICTURES_TAG: "none"},
        instance=platform.instance,
        raise_on_error=False,
    )


def states(platform, symbol: str) -> dict[str, tuple[int, int, int]]:
    """Sessions expected, stored and missing by table."""
    with transaction() as connection:
        counts = gaps.sessions_by_state(connection, [symbol])
    return {table: (of["expected"], of["stored"], of["gap"]) for table, of in counts.items()}


def test_what_is_missing_becomes_a_run_for_each_table_and_the_runs_leave_no_gap(small):
    requests = {request.tags[HEALS_TAG]: request for request in tick(small)}
    assert set(requests) == {STOCKS, CRYPTOS}
    stocks = requests[STOCKS]
    computed = (INDICATORS, "levels_daily", "pivot_points", "signals")
    assert {key.to_user_string() for key in stocks.asset_selection} == {STOCKS, "corporate_actions", *computed}
    assert stocks.run_config == {
        "ops": {table: {"config": {"symbols": ["AAPL", "GE"]}} for table in (STOCKS, *computed)}
    }
    assert stocks.tags["dagster/asset_partition_range_start"] == str(get_settings().financehub_history_start)
    for request in requests.values():
        assert launch(small, request, checked=True).success
    for symbol, table in (("AAPL", STOCKS), ("GE", STOCKS), ("BTC", CRYPTOS)):
        for expected, stored, missing in (states(small, symbol)[name] for name in (table, INDICATORS)):
            assert (stored, missing) == (expected, 0)
            assert expected > 10
    assert tick(small) == []
    assert small.sandbox.calls("yahoo")["by_symbol"] == {"AAPL": 1, "GE": 1}


def test_a_table_waits_while_a_run_that_heals_it_has_not_ended(small):
    run = small.instance.create_run_for_job(
        small.definitions.resolve_job_def(JOB),
        run_config={"ops": {STOCKS: {"config": {"symbols": ["AAPL"]}}}},
        tags={HEALS_TAG: STOCKS},
        status=dg.DagsterRunStatus.STARTED,
    )
    assert [request.tags[HEALS_TAG] for request in tick(small)] == [CRYPTOS]
    small.instance.report_run_canceled(run)
    assert {request.tags[HEALS_TAG] for request in tick(small)} == {STOCKS, CRYPTOS}


def by_hand(platform, first: str, last: str, config: dict | None = None) -> dg.DagsterRun:
    """A run of the job that a person launched, with whatever they gave it."""
    return platform.instance.create_run_for_job(
        platform.definitions.resolve_job_def(JOB),
        run_config={} if config is None else {"ops": {STOCKS: {"config": config}}},
        tags=range_tags(first, last),
        status=dg.DagsterRunStatus.STARTED,
    )


@pytest.mark.parametrize("config", [None, {}, {"symbols": None}], ids=["no config", "empty", "null"])
def test_a_run_for_all_instruments_that_a_person_launched_does_not_stop_healing(small, config):
    run = by_hand(small, "2015-03-01", "2015-03-01", config)
    assert {request.tags[HEALS_TAG] for request in tick(small)} == {STOCKS, CRYPTOS}
    small.instance.report_run_canceled(run)
    month = datetime.now(UTC).date().replace(day=1).isoformat()
    by_hand(small, get_settings().financehub_history_start.isoformat(), month, config)
    assert tick(small) == [], "it fills all that is due"


def test_a_run_for_some_instruments_that_a_person_launched_keeps_them(small):
    by_hand(small, "2015-03-01", "2015-03-01", {"symbols": ["AAPL"]})
    [stocks] = [request for request in tick(small) if request.tags[HEALS_TAG] == STOCKS]
    assert stocks.run_config["ops"][STOCKS]["config"]["symbols"] == ["GE"]


def test_bars_that_a_person_fetched_alone_get_their_indicators(small):
    month = datetime.now(UTC).date().replace(day=1).isoformat()
    first = get_settings().financehub_history_start.isoformat()
    for table in (STOCKS, CRYPTOS):
        assert small.run(table, first, month).success
    [request] = tick(small)
    assert request.tags[HEALS_TAG] == INDICATORS
    assert set(request.run_config["ops"][INDICATORS]["config"]["symbols"]) == set(CHOSEN)
    assert launch(small, request).success
    assert tick(small) == []


def test_nobody_is_sent_to_a_vendor_that_asked_for_silence(small):
    hold(small.engine, "yahoo", ANY, "banned", 600)
    assert [request.tags[HEALS_TAG] for request in tick(small)] == [CRYPTOS]


def test_an_instrument_that_fails_is_a_dead_letter_and_asked_for_no_more_by_healing(small):
    small.sandbox.delist("GE")
    for request in tick(small):
        launch(small, request)
    assert small.rows("select symbol from coverage where dead_lettered <> '{}'") == [("GE",)]
    with transaction() as connection:
        failed = gaps.sessions_by_state(connection, ["GE"])[STOCKS]["dead_lettered"]
    assert failed == states(small, "AAPL")[STOCKS][0]
    assert tick(small) == []
    assert ledger.rebuild(datetime.now(UTC)) == 0


def failed_partitions(platform) -> dict[str, list[str]]:
    """The partitions that the webserver shows as failed, by table."""
    graph = platform.definitions.resolve_asset_graph()
    found: dict[str, list[str]] = {}
    for table in (STOCKS, INDICATORS, "levels_daily", "pivot_points", "signals"):
        months = graph.get(dg.AssetKey(table)).partitions_def
        states = platform.instance.get_status_by_partition(dg.AssetKey(table), months.get_partition_keys(), months)
        failed = [key for key, state in (states or {}).items() if state is AssetPartitionStatus.FAILED]
        assert AssetPartitionStatus.MATERIALIZED in states.values()
        found |= {table: failed} if failed else {}
    return found


def test_a_symbol_that_no_vendor_knows_leaves_the_partitions_of_the_others_as_they_are(small):
    for request in tick(small):
        launch(small, request)
    with transaction() as connection:
        upsert_instruments(connection, [Instrument("APPL", "A slip of the pen", AssetType.STOCK, "XNAS")])
    [request] = tick(small)
    assert launch(small, request).success
    letters = "select task_name, symbol, status, attempts from task_failures"
    assert small.rows(letters) == [(STOCKS, "APPL", "open", 1)]
    assert failed_partitions(small) == {}
    small.execute("update task_failures set next_retry_at = now()")
    assert run_job(small.definitions.get_repository_def(), "replay_dead_letters", {}, instance=small.instance).success
    assert small.rows(letters) == [(STOCKS, "APPL", "open", 2)]
    assert failed_partitions(small) == {}
    assert tick(small) == []
    assert ledger.rebuild(datetime.now(UTC)) == 0


def test_a_session_the_vendor_leaves_out_waits_for_its_next_question(small):
    for request in tick(small):
        launch(small, request)
    hole = small.rows(f"select date from {STOCKS} where symbol = 'GE' order by date desc limit 1 offset 3")[0][0]
    for table in (STOCKS, INDICATORS):
        small.execute(f"delete from {table} where symbol = 'GE' and date = :hole", hole=hole)
    small.sandbox.drop_bar("GE", hole)
    assert ledger.rebuild(datetime.now(UTC)) > 0
    [request] = tick(small)
    assert request.run_config["ops"][STOCKS]["config"]["symbols"] == ["GE"]
    assert launch(small, request).success
    assert small.rows("select symbol, lower(sessions), asked from empty_answers") == [("GE", hole, 1)]
    assert tick(small) == []
    small.execute("update empty_answers set next_ask_at = now()")
    assert len(tick(small)) == 1


def test_a_rejected_bar_is_a_gap_that_waits(small):
    ledger.refresh(datetime.now(UTC))
    day = small.scalar("select upper(gap) - 1 from coverage where symbol = 'GE' and table_name = :t", t=STOCKS)
    small.sandbox.set_bar("GE", day, high=0.01)
    for request in tick(small):
        assert launch(small, request).success
    assert states(small, "GE")[STOCKS][2] == 1
    assert tick(small) == []
