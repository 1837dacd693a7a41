"""What the ledger of minutes reports, orders and heals, by day and instrument."""

from datetime import UTC, datetime, timedelta

import dagster as dg

from financehub_dagster.automation.jobs.healing import MINUTES_JOB, heal_gaps_sensor
from financehub_dagster.ingest.outcome import HEALS_TAG
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.storage.coverage import gaps
from financehub_dagster.storage.database.engine import transaction

BTC = Instrument("BTC", "Bitcoin", AssetType.CRYPTO, "XXXX", "USD", "UTC", aliases={"binance": "BTCUSDT"})


def days(platform) -> dict[str, int]:
    with transaction() as connection:
        return {name: count for name, count in gaps.sessions_by_state(connection)["ohlc_1m"].items() if count}


def tick(platform) -> list[dg.RunRequest]:
    names = ("daily_bars", "intraday_bars")
    context = dg.build_sensor_context(
        instance=platform.instance,
        definitions=platform.definitions,
        resources={name: platform.definitions.resources[name] for name in names},
    )
    requests = heal_gaps_sensor.evaluate_tick(context).run_requests or []
    return [request for request in requests if request.tags[HEALS_TAG] == "ohlc_1m"]


def test_a_day_with_missing_minutes_is_reported_ordered_and_healed_by_a_run_over_it(market):
    platform, now = market.platform, datetime.now(UTC)
    platform.execute("delete from instruments where symbol not in ('BTC')")
    hole = (now - timedelta(days=2)).replace(hour=10, minute=0, second=0, microsecond=0)
    market.sandbox.drop_minutes("BTC", hole, hole + timedelta(minutes=11))
    first = (now - timedelta(days=3)).date()
    market.pull(now, [BTC], first)
    assert days(platform) == {"expected": 4, "stored": 3, "gap": 1}
    assert tick(platform) == [], "it was asked for a moment ago"
    with transaction() as connection:
        [row] = gaps.open_gaps(connection, 5, table="ohlc_1m")
    assert (row["symbol"], row["gap"]) == ("BTC", 1)

    market.sandbox.restore_minutes("BTC")
    market.sandbox.freeze(None)
    platform.execute("update minute_gaps set next_ask_at = now()")
    [request] = tick(platform)
    assert request.tags["dagster/asset_partition_range_start"] == hole.date().isoformat()
    assert request.tags["dagster/asset_partition_range_end"] == hole.date().isoformat()
    assert request.run_config == {"ops": {"ohlc_1m": {"config": {"symbols": ["BTC"]}}}}
    job = platform.definitions.resolve_job_def(MINUTES_JOB).get_subset(
        asset_selection=set(request.asset_selection or ())
    )
    done = job.execute_in_process(run_config=request.run_config, tags=request.tags, instance=platform.instance)
    assert done.success
    assert days(platform) == {"expected": 4, "stored": 4}
    query = "select count(*) from {} where symbol = 'BTC' and ts >= :start and ts < :stop"
    start = datetime.combine(hole.date(), datetime.min.time(), UTC)
    span = {"start": start, "stop": start + timedelta(days=1)}
    assert [platform.scalar(query.format(table), **span) for table in TABLES] == [1440, 288, 96, 24]


TABLES = ("ohlc_1m", "ohlc_5m", "ohlc_15m", "ohlc_1h")


def test_work_that_failed_or_waits_is_counted_by_day_and_not_ordered(market):
    platform, now = market.platform, datetime.now(UTC)
    platform.execute("delete from instruments where symbol not in ('BTC')")
    first = (now - timedelta(days=3)).date()
    market.pull(now - timedelta(days=2), [BTC], first)
    market.sandbox.freeze(None)
    yesterday = now.date() - timedelta(days=1)
    for table in ("task_failures", "deferred_work"):
        platform.execute(f"delete from {table}")
    platform.execute(
        "insert into task_failures (task_name, partition_key, symbol, exception)"
        " values ('ohlc_1m', :day, 'BTC', 'Outage')",
        day=yesterday.isoformat(),
    )
    found = days(platform)
    assert found["dead_lettered"] == 1
    assert found["expected"] == found["stored"] + found["gap"] + 1
