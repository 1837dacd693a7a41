"""A storm of failures: runs whose processes are killed at once are dead letters within minutes, all of them."""

import time
from itertools import combinations, islice
from uuid import uuid4

import dagster as dg
import pytest
import sqlalchemy as sa

from financehub_dagster.automation.failures.failed_runs import TICK_SECONDS
from financehub_dagster.automation.sensors import FAILED_SECONDS, dead_letter_failed_runs
from financehub_dagster.definitions import build_definitions
from financehub_dagster.ingest.partitions import range_tags
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.storage.database.engine import transaction
from financehub_dagster.storage.queries.instruments import upsert_instruments
from financehub_dagster_tests.fixtures.database import Database

STOCKS = "stock_prices_daily"
WITHIN_SECONDS = 300


@pytest.mark.parametrize("storm", [120, pytest.param(1_000, marks=pytest.mark.full)])
def test_a_storm_of_failures_becomes_dead_letters_within_minutes(database: Database, count_cases, storm: int) -> None:
    """Dagster's own sensors of failed runs take five a tick: a thousand would take 100 minutes."""
    with transaction() as connection:
        upsert_instruments(connection, [Instrument("GE", "GE", AssetType.STOCK, "XNYS")])
    with dg.DagsterInstance.ephemeral() as instance:
        fail_at_once(instance, storm)
        cursor = None
        for _ in range(WITHIN_SECONDS // FAILED_SECONDS):
            context, began = dg.build_sensor_context(instance, cursor=cursor), time.monotonic()
            dead_letter_failed_runs(context)
            cursor = context.cursor
            if dead_letters(database) == storm:
                break
            assert time.monotonic() - began >= TICK_SECONDS, "a tick ended although there was work"
        assert dead_letters(database) == storm
    count_cases("runs that fail at once", storm)


def fail_at_once(instance: dg.DagsterInstance, count: int) -> None:
    """Runs over stretches of months of their own that had begun, and whose processes are gone."""
    keys = frozenset({dg.AssetKey(STOCKS)})
    job = build_definitions().resolve_implicit_global_asset_job_def().get_subset(asset_selection=keys)
    config = {"ops": {STOCKS: {"config": {"symbols": ["GE"]}}}}
    first = instance.create_run_for_job(job, run_config=config, asset_selection=keys)
    months = [f"{year}-{month:02d}-01" for year in range(2015, 2019) for month in range(1, 13)]
    for stretch in islice(combinations(months, 2), count):
        run = first._replace(run_id=str(uuid4()), tags=range_tags(*stretch), status=dg.DagsterRunStatus.STARTED)
        instance.report_run_failed(instance.add_run(run))


def dead_letters(database: Database) -> int:
    with database.engine.connect() as connection:
        query = sa.text("select count(distinct run_id) from task_failures where status = 'open' and attempts = 1")
        return int(connection.execute(query).scalar_one())
