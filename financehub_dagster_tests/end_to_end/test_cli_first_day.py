"""Tables that know only the present begin with the platform: no partition is missing for ever."""

import json
import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from financehub_dagster.cli.app import run
from financehub_dagster.ingest.partitions import partition_at, partitions_between, partitions_of, start_of
from financehub_dagster.sandbox.client import Sandbox
from financehub_dagster.settings import get_settings
from financehub_dagster.tables import TABLES
from financehub_dagster_tests.fixtures.database import Database

IN_A_CODE_LOCATION = """
from financehub_dagster.definitions import defs
graph = defs.resolve_asset_graph()
for key in graph.materializable_asset_keys:
    partitions = graph.get(key).partitions_def
    if partitions is not None:
        print(key.to_user_string(), partitions.get_first_partition_key())
"""

CURRENT_ONLY = [name for name, table in TABLES.items() if table.current_only]


def first_partitions() -> dict[str, str]:
    """The first partition of each asset, as a process of the platform sees it that knows its environment only."""
    done = subprocess.run([sys.executable, "-c", IN_A_CODE_LOCATION], capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stderr
    return dict(line.split() for line in done.stdout.splitlines())


@pytest.fixture
def began(monkeypatch) -> date:
    """A platform that began on this day, by its environment."""
    monkeypatch.setenv("FINANCEHUB_FIRST_DAY", "2026-11-21")
    get_settings.cache_clear()
    return date(2026, 11, 21)


def first_day_of(folder: Path) -> date:
    return date.fromisoformat((folder / ".financehub/live/first_day").read_text().strip())


def test_a_new_platform_begins_today_and_stays_with_it(folder, database, dagster_database, capsys):
    before = datetime.now(UTC).date()
    assert run(["db", "upgrade"]) == 0
    began = first_day_of(folder)
    assert before <= began <= datetime.now(UTC).date()
    (folder / ".financehub/live/first_day").write_text("2026-11-10\n")  # as if it had begun then
    assert run(["db", "upgrade"]) == 0
    assert first_day_of(folder) == date(2026, 11, 10)
    found = first_partitions()
    assert {table: found[table] for table in CURRENT_ONLY} == {
        "quotes": "2026-11-10",
        "crypto_markets": "2026-11-10",
        "news_articles": "2026-11-10",
        "fundamentals": "2026-11-01",
    }
    assert found["stock_prices_daily"] == "2009-01-01"
    assert run(["backfill", "fundamentals", "--from", "2015-01", "--to", "2015-01"]) == 2
    assert "--from 2015-01: fundamentals begins in 2026-1" in capsys.readouterr().err


def test_the_month_in_which_a_platform_began_is_filled_as_far_as_there_are_partitions(
    folder: Path, database: Database, dagster_database: None, sandbox: Sandbox
) -> None:
    (folder / "mine.yaml").write_text("- {symbol: BTC, name: Bitcoin, asset_type: crypto, exchange: XXXX}\n")
    assert run(["db", "upgrade"]) == run(["instruments", "import", "mine.yaml"]) == 0
    month = f"{first_day_of(folder):%Y-%m}"
    for table, stored in (("quotes", True), ("news_articles", False)):  # news of today costs money
        command = [sys.executable, "-m", "financehub_dagster.cli", "backfill", table, "--from", month, "--to", month]
        done = subprocess.run([*command, "--json"], capture_output=True, text=True, env=os.environ | sandbox.keys)
        assert done.returncode == 0, done.stdout
        [told] = json.loads(done.stdout)["tables"]
        assert (told["table"], told["rows_inserted"] > 0) == (table, stored)


def test_months_that_are_over_are_refused_of_what_is_so_now(folder, database, dagster_database, monkeypatch, capsys):
    (folder / "mine.yaml").write_text("- {symbol: AAPL, name: Apple, asset_type: stock, exchange: XNAS}\n")
    assert run(["instruments", "import", "mine.yaml"]) == 0
    now = datetime.now(UTC).date().replace(day=1)
    before = now - timedelta(days=1)
    monkeypatch.setenv("FINANCEHUB_FIRST_DAY", before.isoformat())
    get_settings.cache_clear()
    assert run(["backfill", "fundamentals", "--from", f"{before:%Y-%m}", "--to", f"{now:%Y-%m}"]) == 2
    assert f"only the running month can be filled, --from {now:%Y-%m}" in capsys.readouterr().err


def test_a_home_for_a_database_that_was_used_before_begins_with_its_oldest_answer(folder, database, dagster_database):
    oldest = datetime.now(UTC) - timedelta(days=40)
    with database.engine.begin() as connection:
        connection.execute(
            sa.text(
                "insert into instruments (symbol, name, asset_type, exchange, currency, timezone)"
                " values ('BTC', 'Bitcoin', 'crypto', 'XXXX', 'USD', 'UTC')"
            )
        )
        connection.execute(
            sa.text(
                "insert into quotes (symbol, quoted_at, price, currency, source, fetched_at)"
                " values ('BTC', :oldest, 1, 'USD', 'binance', :oldest)"
            ),
            {"oldest": oldest},
        )
    assert run(["db", "upgrade"]) == 0
    assert first_day_of(folder) == oldest.date()


def test_work_is_never_planned_before_the_first_partition(began):
    for table in CURRENT_ONLY:
        planned = partitions_between(table, date(2026, 10, 1), date(2026, 11, 23))
        assert planned[0] == start_of(table).isoformat() == partitions_of(table).get_first_partition_key(), table


def test_a_tick_of_the_first_day_looks_back_no_further(began):
    before = datetime(2026, 11, 20, 23, 35, tzinfo=UTC)
    for table in CURRENT_ONLY:
        assert partition_at(table, before) == partitions_of(table).get_first_partition_key(), table


def test_an_unusable_file_is_named(folder, database, dagster_database, capsys):
    assert run(["db", "upgrade"]) == 0
    (folder / ".financehub/live/first_day").write_text("yesterday\n")
    capsys.readouterr()
    assert run(["db", "upgrade"]) == 1
    assert "first_day: write a day as 2026-11-29 into it" in capsys.readouterr().err
