"""No key is seen in a run of any asset, on a day when every vendor refuses or on a good one, nor in the reports."""

from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa

from financehub_dagster.assets.charts import PICTURES_TAG
from financehub_dagster.automation.runs import RunOutcome, run_tables
from financehub_dagster.cli.app import run
from financehub_dagster.definitions import ASSETS, build_definitions
from financehub_dagster.market.instrument_files import default_universe
from financehub_dagster.sandbox.client import Sandbox
from financehub_dagster.settings import get_settings
from financehub_dagster.storage.queries.instruments import upsert_instruments
from financehub_dagster.tables import filled_with
from financehub_dagster_tests.faults.bad_days.bad_day_runs import BOOKS, provider_of
from financehub_dagster_tests.faults.bad_days.bad_days import KEYED, ROOM, VENDORS
from financehub_dagster_tests.faults.canary.canary import KEYS, seen
from financehub_dagster_tests.faults.canary.overheard import Overheard
from financehub_dagster_tests.fixtures.database import Database

SYMBOLS = ["AAPL", "BTC", "EURUSD"]
WINDOWS = (1.0, 60.0, 43_200.0, 86_400.0)
REFUSALS = {**dict.fromkeys(KEYED, "bad_key"), "alpha_vantage": "day_quota"}
"""In the words of each vendor; those of Alpha Vantage repeat the key."""
MINUTES = ("ohlc_1m", *filled_with("ohlc_1m"))
HEARD = {"logs", "output", "runs", "events", "files .db", "table task_failures", "table api_keys", "table api_usage"}


def materialize_everything(instance: dg.DagsterInstance) -> dict[str, RunOutcome]:
    """Run each asset that uses a resource, as those that ask vendors do, for its newest partition."""
    resources = {name: provider_of(vendor) for name, vendor in VENDORS.items()}
    repository = build_definitions(resource_overrides=resources).get_repository_def()
    outcomes = {}
    for asset in ASSETS:
        if not asset.required_resource_keys - {"io_manager"}:
            continue
        tables = sorted(key.to_user_string() for key in asset.keys)
        newest = asset.partitions_def.get_last_partition_key() if asset.partitions_def else ""
        config = {"symbols": SYMBOLS}
        tags = {PICTURES_TAG: "none"}
        outcomes[tables[0]] = run_tables(repository, tables, newest or "", config, instance=instance, tags=tags)
    return outcomes


def refuse(sandbox: Sandbox) -> None:
    for vendor in ("yahoo", "binance"):
        sandbox.fault("status", vendor=vendor, status=500)
    for vendor, situation in REFUSALS.items():
        sandbox.fault("error", vendor=vendor, situation=situation)


@pytest.mark.full
@pytest.mark.timeout(600)
def test_no_key_is_seen_in_any_run_of_any_asset(
    database: Database, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for vendor, key in KEYS.items():
        monkeypatch.setenv(f"{vendor.upper()}_API_KEYS", key)
        for seconds in WINDOWS:
            sandbox.limit(vendor, ROOM, seconds)
        if vendor != "coingecko":  # whose paid keys are of another kind
            sandbox.declare_key(vendor, key, plan="paid")
    monkeypatch.setenv("FINANCEHUB_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    get_settings.cache_clear()
    overheard = Overheard()
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance, overheard.listening():
        with database.engine.begin() as connection:
            upsert_instruments(connection, default_universe())
        refuse(sandbox)
        bad = materialize_everything(instance)
        asked = set(sandbox.calls()["by_vendor"])
        overheard.tables(database.engine)
        with database.engine.begin() as connection:
            connection.execute(sa.text(f"truncate {', '.join(BOOKS)}"))
        sandbox.clear_faults()
        good = materialize_everything(instance)
        assert run(["usage"]) == 0
        assert run(["usage", "--json"]) == 0
        overheard.tables(database.engine)
        overheard.dagster(instance)
    assert asked == set(VENDORS)
    # Minutes of a market that is closed are asked of nobody: their run, named by the first of its tables, may succeed.
    assert {table for table, outcome in bad.items() if outcome.success} <= {"api_usage", min(MINUTES)}
    assert [(table, outcome.steps, outcome.error) for table, outcome in good.items() if not outcome.success] == []
    assert set(overheard.texts) >= HEARD
    for surface, texts in overheard.texts.items():
        assert seen(texts) == [], surface
