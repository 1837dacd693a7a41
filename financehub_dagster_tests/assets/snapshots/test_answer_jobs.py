"""Jobs and schedules over vendors' answers: what a launch fetches, and why a tick asks nobody."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

import dagster as dg
import pytest

from financehub_dagster.automation.jobs.combined_jobs import PART_TAG
from financehub_dagster.automation.jobs.table_jobs import any_open
from financehub_dagster.automation.runs import run_job
from financehub_dagster.definitions import build_definitions
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster_tests.assets.snapshots.answers import today

FRIDAY_NOON_IN_NEW_YORK = datetime(2026, 11, 20, 17, tzinfo=UTC)
SUNDAY = datetime(2026, 11, 22, 17, tzinfo=UTC)
SYMBOLS = {"symbols": ["AAPL", "BTC"]}


def launch(platform, job: str, config: Mapping[str, object] | None = None):
    """A job as the launchpad starts it."""
    return run_job(platform.definitions.get_repository_def(), job, config or {}, instance=platform.instance)


@pytest.fixture
def stored_runs(tmp_path) -> Iterator[dg.DagsterInstance]:
    """An instance on disk: a tick does not get to see one in memory."""
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        yield instance


def tick(platform, instance: dg.DagsterInstance, name: str, at: datetime) -> dg.RunRequest | str:
    """What a schedule answers to its tick at `at`: a request, or why there is none."""
    schedule = next(each for each in platform.definitions.schedules if each.name == name)
    with dg.build_schedule_context(
        instance=instance,
        scheduled_execution_time=at,
        repository_def=platform.definitions.get_repository_def(),
        resources={key: platform.definitions.resources[key] for key in schedule.required_resource_keys},
    ) as context:
        data = schedule.evaluate_tick(context)
    return data.run_requests[0] if data.run_requests else str(data.skip_message)


@pytest.mark.parametrize(
    ("job", "op", "tables"),
    [
        ("fetch_unified_crypto", "fetch_cryptos_together", {"crypto_prices_daily", "crypto_markets", "quotes"}),
        (
            "fetch_all_markets",
            "fetch_markets_together",
            {"stock_prices_daily", "corporate_actions", "crypto_prices_daily", "crypto_markets", "quotes"},
        ),
    ],
)
def test_a_job_over_months_and_days_fills_both_in_runs_of_their_own(keyed_platform, job, op, tables):
    outcome = launch(keyed_platform, job, {"ops": {op: {"config": SYMBOLS}}})
    assert outcome.success, outcome.error
    events = keyed_platform.instance.get_materialized_partitions
    assert {table for table in tables if events(dg.AssetKey(table))} == tables
    assert events(dg.AssetKey("quotes")) == {today()}
    parts = keyed_platform.instance.get_runs(dg.RunsFilter(tags={PART_TAG: outcome.run_id}))
    assert len(parts) == 2
    quoted = {"BTC"} if job == "fetch_unified_crypto" else {"AAPL", "BTC"}
    assert {symbol for (symbol,) in keyed_platform.rows("select symbol from quotes")} == quoted


def test_a_part_that_fails_leaves_the_others_alone_and_names_itself(platform):
    platform.sandbox.fault("status", vendor="binance", status=503, path="klines")
    platform.execute("update instruments set aliases = aliases - 'yahoo' where symbol = 'BTC'")
    config = {"ops": {"fetch_cryptos_together": {"config": {"symbols": ["BTC"]}}}}
    outcome = launch(platform, "fetch_unified_crypto", config)
    assert not outcome.success
    assert "Failure: crypto_prices_daily: " in str(outcome.error)
    assert platform.scalar("select count(*) from quotes") == 1


def test_stock_prices_come_from_finnhub_first_and_leave_cryptos_out(keyed_platform):
    keyed_platform.execute("update instruments set is_active = symbol in ('AAPL', 'BTC')")
    job = keyed_platform.definitions.resolve_job_def("fetch_stock_prices")
    result = job.execute_in_process(instance=keyed_platform.instance, partition_key=today(), raise_on_error=False)
    assert result.success
    assert keyed_platform.rows("select symbol, source from quotes") == [("AAPL", "finnhub")]


def test_news_is_asked_for_since_yesterday(keyed_platform, stored_runs):
    request = tick(keyed_platform, stored_runs, "fetch_news_schedule", datetime(2026, 11, 22, 0, 5, tzinfo=UTC))
    assert isinstance(request, dg.RunRequest)
    assert request.tags["dagster/asset_partition_range_start"] == "2026-11-21"
    assert request.tags["dagster/asset_partition_range_end"] == "2026-11-22"


def test_quotes_of_stocks_wait_for_an_open_exchange_and_those_of_cryptos_do_not(platform, stored_runs):
    request = tick(platform, stored_runs, "fetch_stock_prices_schedule", FRIDAY_NOON_IN_NEW_YORK)
    assert isinstance(request, dg.RunRequest)
    config = dict(request.run_config or {})
    assert "crypto" not in config["ops"]["quotes"]["config"]["asset_types"]
    closed = "no exchange of the universe is open"
    assert tick(platform, stored_runs, "fetch_stock_prices_schedule", SUNDAY) == closed
    assert isinstance(tick(platform, stored_runs, "fetch_crypto_quotes_schedule", SUNDAY), dg.RunRequest)
    unfinished = platform.definitions.resolve_job_def("fetch_crypto_quotes")
    stored_runs.create_run_for_job(unfinished, status=dg.DagsterRunStatus.STARTED)
    waits = "a run of fetch_crypto_quotes has not ended yet"
    assert tick(platform, stored_runs, "fetch_crypto_quotes_schedule", SUNDAY) == waits


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("fetch_coingecko_cryptos_schedule", "off: set COINGECKO_API_KEYS or COINMARKETCAP_API_KEYS"),
        ("fetch_news_schedule", "off: set FINNHUB_API_KEYS or NEWSAPI_API_KEYS or ALPHA_VANTAGE_API_KEYS"),
        ("fetch_fundamentals_schedule", "off: set FINNHUB_API_KEYS or ALPHA_VANTAGE_API_KEYS or TWELVE_DATA_API_KEYS"),
    ],
)
def test_a_tick_says_what_to_set_when_no_vendor_has_a_key(name, reason, stored_runs):
    definitions = build_definitions()
    schedule = next(each for each in definitions.schedules if each.name == name)
    resources = {key: (definitions.resources or {})[key] for key in schedule.required_resource_keys}
    with dg.build_schedule_context(
        instance=stored_runs, scheduled_execution_time=SUNDAY, resources=resources
    ) as context:
        assert reason in str(schedule.evaluate_tick(context).skip_message)


def test_a_market_that_closed_a_moment_ago_still_has_prices_to_tell():
    apple = Instrument("AAPL", "Apple Inc.", AssetType.STOCK, "XNAS", "USD", "America/New_York")
    assert any_open([apple], datetime(2026, 11, 20, 21, 15, tzinfo=UTC))
    assert not any_open([apple], datetime(2026, 11, 20, 21, 30, tzinfo=UTC))
