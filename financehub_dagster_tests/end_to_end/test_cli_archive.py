"""`financehub archive`: what is listed, brought back and refused."""

import json
from datetime import date
from pathlib import Path

import pytest

from financehub_dagster.cli.app import run
from financehub_dagster.storage.archive.moving import archive_month
from financehub_dagster_tests.unit.archive import months
from financehub_dagster_tests.unit.archive.months import TABLE


@pytest.fixture
def home(folder: Path, database: object, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home whose database holds three months of minutes."""
    monkeypatch.setenv("FINANCEHUB_HOME", str(folder / "home"))
    months.fill()
    return folder / "home"


def test_the_command_lists_and_restores_months(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["archive", "list"]) == 0
    assert "nothing is archived" in capsys.readouterr().out
    archive_month(TABLE, date(2026, 7, 1))
    assert run(["archive", "list", "--json"]) == 0
    [listed] = json.loads(capsys.readouterr().out)["months"]
    assert (listed["table"], listed["month"], listed["rows"], listed["restored_at"]) == (TABLE, "2026-07", 150, None)
    assert run(["archive", "restore", TABLE, "2026-07"]) == 0
    assert "ohlc_1m 2026-07: 150 rows restored" in capsys.readouterr().out
    assert run(["archive", "restore", TABLE, "2026-07"]) == 1
    assert "is in the database already" in capsys.readouterr().err
    assert run(["archive", "restore", TABLE, "2026-06"]) == 1
    assert "ohlc_1m 2026-06 is not archived: `financehub archive list`" in capsys.readouterr().err
    assert run(["archive", "restore", "quotes", "2026-07"]) == 2
    assert run(["archive", "restore", TABLE, "July"]) == 2
    assert run(["archive", "list"]) == 0
    assert "2026-07" in capsys.readouterr().out
