"""`financehub backup`: a platform moves from one server to another by three commands."""

import json
from pathlib import Path

import pytest

from financehub_dagster.cli.app import run
from financehub_dagster.settings import get_settings
from financehub_dagster_tests.fixtures.database import Database, DatabaseServer, reset_engine
from financehub_dagster_tests.unit.serving import stored


def test_a_platform_moves_to_another_database_with_its_first_day(
    folder: Path,
    database: Database,
    dagster_database: None,
    database_server: DatabaseServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stored.fill()
    old, new = folder / "old", folder / "new"
    old.mkdir()
    (old / "first_day").write_text("2026-03-01\n")
    assert run(["backup", "create", "--home", str(old), "--output", "one.backup", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert (made["file"], made["first_day"]) == (str(folder / "one.backup"), "2026-03-01")
    assert made["rows"]["market"]["stock_prices_daily"] == 120
    assert run(["backup", "restore", "one.backup", "--home", str(old)]) == 1
    assert "--replace drops what is there" in capsys.readouterr().err

    url = database_server.url(f"moved_{database.engine.url.database}")
    monkeypatch.setenv("FINANCEHUB_DATABASE_URL", url.set(drivername="postgresql").render_as_string())
    reset_engine()
    get_settings.cache_clear()
    assert run(["backup", "restore", "one.backup", "--home", str(new)]) == 0
    assert capsys.readouterr().out.startswith("restored ")
    assert (new / "first_day").read_text() == "2026-03-01\n"
    assert run(["instruments", "list", "--json", "--home", str(new)]) == 0
    assert "AAPL" in capsys.readouterr().out
    reset_engine()
    for name in (url.database, f"{url.database}_dagster"):
        database_server.drop(url.set(database=name))


@pytest.mark.slow
def test_a_demo_moves_to_a_new_home_and_never_into_a_live_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("FINANCEHUB_DATABASE_URL", raising=False)
    for name, mode in (("old", "sandbox"), ("live", "live")):
        (folder / name).mkdir()
        (folder / name / "mode").write_text(f"{mode}\n")
    for command in (["db", "upgrade"], ["backup", "create", "--output", "demo.backup"]):
        get_settings.cache_clear()
        assert run([*command, "--home", str(folder / "old")]) == 0
    capsys.readouterr()
    assert run(["backup", "restore", "demo.backup", "--home", str(folder / "live")]) == 1
    assert "choose a new --home, which takes the mode of the backup" in capsys.readouterr().err
    (folder / "text.backup").write_text("no backup")
    assert run(["backup", "restore", "text.backup", "--home", str(folder / "new")]) == 1
    assert not (folder / "new").exists()
    assert run(["backup", "restore", "demo.backup", "--home", str(folder / "new")]) == 0
    assert (folder / "new" / "mode").read_text() == "sandbox\n"


def test_what_a_backup_is_of_is_shown_without_a_database(
    folder: Path, database: Database, dagster_database: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["backup", "create", "--output", "one.backup"]) == 0
    capsys.readouterr()
    assert run(["backup", "show", "one.backup"]) == 0
    shown = capsys.readouterr().out
    assert "complete; made " in shown
    assert "stock_prices_daily" in shown
    (folder / "text.backup").write_text("no backup")
    assert run(["backup", "show", "text.backup"]) == 1
    assert "text.backup is no complete backup" in capsys.readouterr().err
    assert run(["backup", "show", "nowhere.backup"]) == 1
    assert "nowhere.backup: No such file or directory" in capsys.readouterr().err
