"""The code location as the webserver shows it."""

import dagster as dg
import pytest

from financehub_dagster.assets.checks.steps import CHECKS
from financehub_dagster.definitions import build_definitions
from financehub_dagster.storage.database import schema as tables

PRICES = ["stock_prices_daily", "crypto_prices_daily", "fx_prices_daily"]
DAILY_BARS = [*PRICES, "corporate_actions", "indicators_daily", "levels_daily", "pivot_points", "signals"]
ANSWERS = {"quotes": "day", "crypto_markets": "day", "fundamentals": "month", "news_articles": "day"}
MINUTES = ["ohlc_1m", "ohlc_5m", "ohlc_15m", "ohlc_1h"]
INTRADAY = [*MINUTES, "indicators_1h"]
PORTFOLIO = ["holdings", "position_sizes", "notifications"]
TABLES = ["instruments", *DAILY_BARS, *INTRADAY, *ANSWERS, "coverage", *PORTFOLIO]
OBSERVED = ["api_usage"]
AUDIT = "table_audit"
JOURNAL = "journal"


@pytest.fixture(scope="module")
def graph():
    """The asset graph of the definitions."""
    return build_definitions().resolve_asset_graph()


def test_every_table_is_an_asset_and_every_asset_a_table(graph):
    assert {key.to_user_string() for key in graph.get_all_asset_keys()} == {*TABLES, *OBSERVED, AUDIT, JOURNAL}
    assert {*TABLES, *OBSERVED} <= set(tables.metadata.tables)


@pytest.mark.parametrize("table", [*TABLES, *OBSERVED])
def test_an_asset_explains_itself(graph, table):
    node = graph.get(dg.AssetKey(table))
    schema = node.metadata["dagster/column_schema"]
    columns = getattr(schema, "value", schema).columns
    assert [column.name for column in columns] == [c.name for c in tables.metadata.tables[table].columns]
    assert getattr(node.metadata["dagster/table_name"], "value", node.metadata["dagster/table_name"]).endswith(table)
    assert node.metadata["dagster/code_references"].code_references
    assert node.description
    assert node.group_name != "default"
    assert node.owners
    assert "postgres" in node.kinds


def test_lineage_runs_from_instruments_to_indicators(graph):
    def parents(name: str) -> set[str]:
        return {key.to_user_string() for key in graph.get(dg.AssetKey(name)).parent_keys}

    for table in (*PRICES, "corporate_actions"):
        assert parents(table) == {"instruments"}
    assert parents("indicators_daily") == {"stock_prices_daily", "crypto_prices_daily", "corporate_actions"}
    assert parents("levels_daily") == {*PRICES}
    assert parents("ohlc_1m") == {"instruments"}
    assert all(parents(table) == {"ohlc_1m"} for table in MINUTES[1:])
    assert parents("indicators_1h") == {"ohlc_1h"}
    assert parents("pivot_points") == {*PRICES, "levels_daily"}


def test_daily_tables_have_monthly_partitions_in_a_single_run(graph):
    for table in DAILY_BARS:
        node = graph.get(dg.AssetKey(table))
        assert isinstance(node.partitions_def, dg.MonthlyPartitionsDefinition)
        assert node.partitions_def.end_offset == 1
        assert node.backfill_policy == dg.BackfillPolicy.single_run()


@pytest.mark.parametrize(("table", "length"), ANSWERS.items())
def test_tables_of_answers_have_days_or_months_in_a_single_run(graph, table, length):
    node = graph.get(dg.AssetKey(table))
    kind = dg.DailyPartitionsDefinition if length == "day" else dg.MonthlyPartitionsDefinition
    assert isinstance(node.partitions_def, kind)
    assert node.partitions_def.end_offset == 1
    assert node.backfill_policy == dg.BackfillPolicy.single_run()
    assert {key.to_user_string() for key in node.parent_keys} == {"instruments"}


def test_every_table_has_its_checks(graph):
    found = {(key.asset_key.to_user_string(), key.name) for key in graph.asset_check_keys}
    own = {(table, check.name) for table, checks in CHECKS.items() for check in checks}
    assert found == own | {(AUDIT, table) for table in TABLES if table != "coverage"}
    assert set(CHECKS) == set(TABLES)


def test_every_asset_carries_the_hooks():
    for assets in build_definitions().assets:
        assert {hook.name for hook in assets.hook_defs} == {"dead_letter", "settled"}


def test_jobs_carry_the_predecessors_names():
    names = {job.name for job in build_definitions().jobs}
    assert names == {
        "fetch_yahoo_stocks",
        "fetch_binance_cryptos",
        "fetch_fx_prices",
        "realtime_pull",
        "calculate_hourly_indicators",
        "daily_close",
        "calculate_pivots",
        "calculate_indicators",
        "update_single_asset",
        "historical_seed",
        "test_connection",
        "replay_dead_letters",
        "cleanup_failed_tasks",
        "cleanup_old_data",
        "heal_gaps",
        "heal_minutes",
        "send_notifications",
        "write_journal",
        "health_check",
        "report_coverage",
        "observe_api_usage",
        "audit_tables",
        "reconcile_prices",
        "fetch_alpha_stocks",
        "fetch_stock_prices",
        "fetch_crypto_quotes",
        "fetch_coingecko_cryptos",
        "fetch_fundamentals",
        "fetch_news",
        "fetch_unified_crypto",
        "fetch_all_markets",
        "rank_instruments",
        "batch_update_popular",
        "cache_warming",
    }


def test_schedules_are_on_by_default():
    schedules = build_definitions().schedules
    assert {schedule.name for schedule in schedules} == {
        "fetch_yahoo_stocks_schedule",
        "fetch_binance_cryptos_schedule",
        "fetch_fx_prices_schedule",
        "realtime_pull_schedule",
        "calculate_hourly_indicators_schedule",
        "daily_close_schedule",
        "calculate_pivots_schedule",
        "calculate_indicators_schedule",
        "cleanup_failed_tasks_schedule",
        "cleanup_old_data_schedule",
        "report_coverage_schedule",
        "audit_tables_schedule",
        "reconcile_prices_schedule",
        "fetch_stock_prices_schedule",
        "fetch_crypto_quotes_schedule",
        "fetch_coingecko_cryptos_schedule",
        "fetch_fundamentals_schedule",
        "fetch_news_schedule",
        "rank_instruments_schedule",
        "batch_update_popular_schedule",
        "cache_warming_schedule",
        "write_journal_schedule",
    }
    assert {schedule.default_status for schedule in schedules} == {dg.DefaultScheduleStatus.RUNNING}


def test_sensors_are_on_by_default():
    sensors = build_definitions().sensors
    assert {sensor.name for sensor in sensors} >= {
        "dead_letter_failed_runs",
        "recovery",
        "replay_dead_letters_sensor",
        "observe_api_usage_sensor",
        "heal_gaps_sensor",
        "send_notifications_sensor",
        "health_check_sensor",
        "cleanup_repeated_runs",
        "follow_inputs",
    }
    assert {sensor.default_status for sensor in sensors} == {dg.DefaultSensorStatus.RUNNING}
