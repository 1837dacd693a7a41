"""`financehub vendors`: rates of errors as people read them, as JSON and as a page to publish."""

import json
from datetime import date
from pathlib import Path

import pytest

from financehub_dagster.cli.app import run
from financehub_dagster.storage import measured_bars
from financehub_dagster.storage.measured_bars import COMPARED, Example, Measured
from financehub_dagster_tests.fixtures.database import Database

DAYS = [date(2026, 3, day) for day in range(2, 7)]
WRONG = Measured("unit", True, DAYS[:1], Example(DAYS[0], "close", 250.0, 2.5, "yahoo"))


def test_rates_are_printed_as_a_table_as_json_and_as_markdown(
    folder: Path, database: Database, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    (folder / "mine.yaml").write_text("- {symbol: AAPL, name: Apple Inc., asset_type: stock, exchange: XNAS}\n")
    assert run(["instruments", "import", "mine.yaml"]) == 0
    capsys.readouterr()
    assert run(["vendors"]) == 0
    assert "nothing was compared yet" in capsys.readouterr().out
    with database.engine.begin() as connection:
        for vendor, errors in (("twelve_data", [WRONG]), ("yahoo", [])):
            found = [Measured(COMPARED, True, DAYS), *errors]
            measured_bars.replace(connection, "stock_prices_daily", "AAPL", vendor, (DAYS[0], DAYS[-1]), found, "a run")
    assert run(["vendors"]) == 0
    lines = capsys.readouterr().out.splitlines()
    [unit] = [line.split() for line in lines if line.startswith("twelve_data")]
    assert unit[:6] == ["twelve_data", "5", "unit", "1", "2,000.0", "0"]
    assert " ".join(unit[6:]) == "AAPL 2026-03-02: close 250; yahoo has 2.5"
    assert any(line.split()[:4] == ["yahoo", "5", "none", "0"] for line in lines)
    assert run(["vendors", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["sample"], told["per"]) == (False, 10_000)
    [first, second] = told["vendors"]
    assert (first["vendor"], first["compared"], first["kinds"][0]["rate"]) == ("twelve_data", 5, 2000.0)
    assert (second["vendor"], second["kinds"]) == ("yahoo", [])
    assert run(["vendors", "--markdown"]) == 0
    page = capsys.readouterr().out
    assert "| twelve_data | `unit` | 1 | 2,000.00 | 0 | AAPL 2026-03-02: close 250; yahoo has 2.5 |" in page
    assert "| `unit` | a price in another unit" in page
    assert run(["vendors", "--table", "crypto_prices_daily", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["vendors"] == []
    assert run(["vendors", "--table", "quotes"]) == 2
    assert "quotes has no daily bars that are compared" in capsys.readouterr().err
