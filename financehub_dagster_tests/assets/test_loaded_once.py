"""Runs are forked from a process that has loaded what they need: what a run still imports, each of them waits for."""

import json
import subprocess
import sys

RUN = """
import json, sys
from datetime import UTC, datetime
from financehub_dagster.definitions import defs
import financehub_dagster.automation.loaded_once
import financehub_dagster.automation.runs
known = set(sys.modules)
import dagster as dg
bars = ["crypto_prices_daily", "indicators_daily", "signals"]
minutes = ["ohlc_1m", "ohlc_1h", "indicators_1h"]
today = datetime.now(UTC).date().isoformat()
with dg.DagsterInstance.ephemeral() as instance:
    for tables, partition in ((bars, "2024-01-01"), (["quotes"], today), (minutes, today)):
        done = financehub_dagster.automation.runs.run_tables(
            defs.get_repository_def(), tables, partition, {"symbols": ["BTC"]}, instance=instance
        )
        assert done.success, done.error
print(json.dumps(sorted(name for name in set(sys.modules) - known)))
"""
"""A run of each kind of table, with pictures and checks."""
SMALL = {"dagster", "encodings", "PIL", "pandas", "pandera", "upath", "matplotlib"}
"""Libraries that are loaded but for small parts, which take less than a millisecond each."""


def imported() -> set[str]:
    """The modules that a process imports which makes the runs."""
    done = subprocess.run([sys.executable, "-c", RUN], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_a_run_imports_nothing_of_ours_and_no_library(platform, tmp_path, monkeypatch) -> None:
    """The first of a home makes the calendars, which takes a library of its own."""
    monkeypatch.setenv("FINANCEHUB_HOME", str(tmp_path))
    imported()
    assert {name for name in imported() if name.split(".")[0] not in SMALL | sys.stdlib_module_names} == set()
