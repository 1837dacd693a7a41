"""Two tables declared beside the product, as docs/tables.md shows them, are tables like all others."""

import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from financehub_dagster.cli.reports import tables as report
from financehub_dagster_tests.fixtures.folder import REPOSITORY
from financehub_dagster_tests.fixtures.sandbox import as_new

PAGE = REPOSITORY / "docs/tables.md"
WEEKLY, QUOTES = "stock_prices_weekly", "crypto_quotes"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the declarations of the page, as a reader would save them."""
    folder = tmp_path_factory.mktemp("declarations")
    weekly, quotes = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (folder / "weekly_bars.py").write_text(weekly)
    (folder / "crypto_quotes.py").write_text(quotes)
    return folder


def environment(folder, **more: str) -> dict[str, str]:
    path = os.pathsep.join([str(folder), str(REPOSITORY)])
    return {**os.environ, "PYTHONPATH": path, "FINANCEHUB_TABLES": "weekly_bars, crypto_quotes", **more}


@pytest.fixture(scope="module")
def seen(folder, database_server, sandbox_process, tmp_path_factory) -> dict[str, Any]:
    """What a process with both tables saw."""
    start = (datetime.now(UTC) - timedelta(days=70)).date().replace(day=1)
    url = database_server.create(None)
    with as_new(sandbox_process):
        given = environment(
            folder,
            FINANCEHUB_DATABASE_URL=url.render_as_string(hide_password=False),
            FINANCEHUB_HOME=str(tmp_path_factory.mktemp("home")),
            FINANCEHUB_HISTORY_START=start.isoformat(),
        )
        program = [sys.executable, "-m", "financehub_dagster_tests.assets.declared_tables", start.isoformat()]
        done = subprocess.run(program, env=given, capture_output=True, text=True, timeout=170, check=False)
    database_server.drop(url)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_each_is_an_asset_with_lineage_columns_and_checks(seen):
    weekly, quotes = seen["definition"][WEEKLY], seen["definition"][QUOTES]
    assert weekly["parents"] == ["stock_prices_daily"]
    assert weekly["columns"][:2] == ["symbol", "date"]
    assert weekly["checks"] == ["no_missing_rows", "no_open_failures", "schema"]
    assert quotes["parents"] == ["instruments"]
    assert quotes["checks"] == ["no_deferred_work", "no_open_failures", "schema"]


def test_the_ledger_expects_a_week_for_each_that_has_bars_and_a_backfill_fills_them(seen):
    found = seen["backfill"]
    assert found["succeeded"] == [True, True], found["error"]
    assert found["before"]["expected"] == found["before"]["gap"] == found["weeks"] > 8
    assert found["after"] | {"gap": 0, "stored": found["weeks"]} == found["after"]
    assert found["checks"] == {"schema": True, "no_open_failures": True, "no_missing_rows": True}
    assert found["week"] == pytest.approx(found["its_days"])


def test_weeks_that_are_lost_are_healed(seen):
    found = seen["heal"]
    assert found["lost"]["gap"] == found["after"]["stored"] - 1
    assert [[WEEKLY], ["AAPL"]] in found["ordered"]
    assert found["after"]["gap"] == 0


def test_a_bar_that_breaks_a_rule_is_a_dead_letter_of_the_table_computed_from_it(seen):
    assert seen["change"] == {"succeeded": False, "letters": 1}


def test_current_values_are_stored_by_the_existing_router(seen):
    found = seen["snapshot"]
    assert found["succeeded"], found["error"]
    assert found["rows"] == 1
    assert set(found["checks"].values()) == {True}


def test_both_stand_in_the_list_of_tables_and_the_ledgers_in_gaps(seen):
    assert {WEEKLY, QUOTES} <= set(seen["documents"]["tables"])
    assert WEEKLY in str(seen["documents"]["gaps"])


def test_the_page_has_the_list_that_the_command_prints():
    [there] = re.findall(r"<!-- financehub tables --markdown -->\n(.*?)\n<!-- end -->", PAGE.read_text(), re.DOTALL)
    assert there.strip() == report.as_markdown(report.collect())


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (None, "module weekly_bars cannot be imported: No module named 'weekly_bars'"),
        ("COLUMNS = ()", "module weekly_bars has no TABLE; docs/tables.md shows one"),
        ("TABLE = 7", "TABLE of weekly_bars is not a tables.declaration.Table"),
    ],
)
def test_what_is_no_declaration_is_refused_in_one_line(tmp_path, source, reason):
    if source is not None:
        (tmp_path / "weekly_bars.py").write_text(source)
    given = {**environment(tmp_path), "FINANCEHUB_TABLES": "weekly_bars", "FINANCEHUB_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-m", "financehub_dagster.cli", "tables"]
    done = subprocess.run(command, env=given, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr.strip()) == (1, f"financehub: FINANCEHUB_TABLES: {reason}")
