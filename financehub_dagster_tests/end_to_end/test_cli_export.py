"""`financehub export` in a process of its own: files, JSON, what is refused, and what a killed export leaves."""

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from pyarrow import parquet

from financehub_dagster.cli.app import run
from financehub_dagster.storage.database.engine import transaction
from financehub_dagster.storage.queries.instruments import list_instruments, upsert_instruments
from financehub_dagster_tests.fixtures.eventually import eventually
from financehub_dagster_tests.unit.serving import stored

BARS = "stock_prices_daily"


@pytest.fixture
def filled(folder: Path, database: object) -> Path:
    stored.fill()
    return folder


def test_a_table_becomes_a_folder_and_the_result_is_json(filled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["export", BARS, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {name: told[name] for name in ("table", "format", "rows", "files", "resumed_parts", "as_of")} == {
        "table": BARS,
        "format": "parquet",
        "rows": 120,
        "files": {"part-0000.parquet": 120},
        "resumed_parts": 0,
        "as_of": None,
    }
    assert told["output"] == str(filled / BARS)
    assert parquet.read_table(filled / BARS).num_rows == 120


def test_people_are_told_rows_files_and_place(filled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--symbols", "aapl", "--from", "2024-01-02", "--to", "2024-01-03", "--columns", "close"]
    assert run(["export", BARS, *words, "--adjust", "raw", "--output", "mine.csv"]) == 0
    assert capsys.readouterr().out.startswith("2 rows, 68 bytes: ")
    lines = (filled / "mine.csv").read_text().splitlines()
    assert lines == ['"symbol","date","close"', '"AAPL",2024-01-02,405', '"AAPL",2024-01-03,409']


def test_only_instruments_of_an_exchange(filled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def exported(*words: str) -> set[str]:
        assert run(["export", BARS, *words, "--output", "some.parquet", "--json"]) == 0
        capsys.readouterr()
        return set(parquet.read_table(filled / "some.parquet")["symbol"].to_pylist())

    with transaction() as connection:
        brk = list_instruments(connection, symbols=["BRK.B"])[0]
        upsert_instruments(connection, [replace(brk, exchange="XNYS", is_active=False)])
    assert exported("--exchange", "xnas") == {"AAPL", "MSFT"}
    assert exported("--exchange", "XNYS") == {"BRK.B"}, "its bars are there, removed or not"
    assert exported("--exchange", "XNYS", "--exchange", "XNAS") == {"AAPL", "BRK.B", "MSFT"}
    assert exported("--exchange", "XNAS", "--symbols", "aapl,BRK.B") == {"AAPL"}


def test_what_cannot_be_exported_is_wrong_usage(filled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(filled.iterdir())
    for words, line in (
        (["stock_price_daily"], "unknown table stock_price_daily: did you mean stock_prices_daily"),
        ([BARS, "--columns", "klose"], "unknown column klose of stock_prices_daily"),
        ([BARS, "--symbols", "APPL"], "unknown symbol APPL: did you mean AAPL?"),
        ([BARS, "--exchange", "NASDAQ"], "--exchange NASDAQ: not a known MIC. Choose from XNAS"),
        ([BARS, "--exchange", "XTKS"], "no such instrument at XTKS: "),
        ([BARS, "--from", "monday"], "start monday: write a day as"),
        ([BARS, "--format", "csv", "--output", "x.parquet"], "x.parquet does not end in .csv"),
        (["indicators_daily", "--repaired"], "indicators_daily has no flags: repaired works for tables of daily bars"),
        (["instruments", "--as-of", "2024-01-01"], "instruments keeps no earlier values"),
    ):
        assert run(["export", *words]) == 2, words
        assert capsys.readouterr().err.startswith(f"financehub: {line}"), words
        new = [path for path in sorted(filled.iterdir()) if path not in before and path.suffix == ".parquet"]
        assert new == [], words


SLOW = """
import sys, time
from financehub_dagster.cli.app import run
from financehub_dagster.market.instruments import AssetType
from financehub_dagster.storage.database.engine import transaction
from financehub_dagster.storage.queries.instruments import list_instruments, upsert_instruments
from financehub_dagster.serving import export
export.SYMBOLS_PER_PART = 1
whole, export._write_part = export._write_part, lambda path, *rest, **more: (
    whole(path, *rest, **more) if "0000" in path.name else time.sleep(600)
)
run(sys.argv[1:])
"""


def notes(folder: Path) -> str:
    file = folder / "_export.json"
    return file.read_text() if file.exists() else ""


def test_a_killed_export_is_continued_by_the_same_command(filled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with subprocess.Popen([sys.executable, "-c", SLOW, "export", BARS, "--output", "bars"]) as process:
        growing = filled / ".bars.new"
        eventually(lambda: "part-0000" in notes(growing), seconds=60)
        process.send_signal(signal.SIGKILL)
    assert not (filled / "bars").exists()
    from financehub_dagster.serving import export

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "SYMBOLS_PER_PART", 1)
        assert run(["export", BARS, "--output", "bars", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["resumed_parts"] == 1
    assert told["rows"] == parquet.read_table(filled / "bars").num_rows == 120
    assert not growing.exists()
