"""The process that has two more tables: it uses each as a platform would and prints what it saw as JSON.

Belongs here: what happens in that process, whose environment names the declarations. Does not belong here: what is
asserted (test_declared_tables).
"""

import json
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import dagster as dg
import sqlalchemy as sa

from financehub_dagster.automation.jobs.healing import due_orders, tables_of
from financehub_dagster.automation.runs import RunOutcome
from financehub_dagster.cli.reports import gaps as gaps_report
from financehub_dagster.cli.reports import tables as tables_report
from financehub_dagster.definitions import build_definitions
from financehub_dagster.ingest.partitions import partition_at, partitions_between
from financehub_dagster.market.instrument_files import default_universe
from financehub_dagster.providers.binance.provider import BinanceProvider
from financehub_dagster.providers.routing import DailyBarsRouter
from financehub_dagster.providers.yahoo.provider import YahooProvider
from financehub_dagster.storage.coverage import gaps, ledger
from financehub_dagster.storage.database import migrations
from financehub_dagster.storage.database.engine import transaction
from financehub_dagster.storage.queries.instruments import upsert_instruments
from financehub_dagster_tests.fixtures.runs import materialize

DAILY, WEEKLY, QUOTES = "stock_prices_daily", "stock_prices_weekly", "crypto_quotes"
WEEKS = """
    select count(distinct date_trunc('week', date)) from stock_prices_daily
    where symbol = 'AAPL' and date_trunc('week', date) >= :first
"""


class Platform:
    """A market database and what runs on it."""

    def __init__(self, first: date) -> None:
        self.first, self.last = first, datetime.now(UTC).date()
        self.definitions = build_definitions(
            resource_overrides={
                "yahoo": YahooProvider(requests_per_second=1000, first_pause=0.0),
                "binance": BinanceProvider(first_pause=0.0),
            }
        )
        self.instance = dg.DagsterInstance.ephemeral()

    def run(self, *tables: str, symbols: list[str]) -> RunOutcome:
        months = partitions_between(tables[0], self.first, self.last)
        return materialize(self.definitions, tables, months[0], months[-1], symbols, instance=self.instance)

    def states(self) -> dict[str, dict[str, int]]:
        ledger.refresh(datetime.now(UTC))
        with transaction() as connection:
            return gaps.sessions_by_state(connection, ["AAPL"])

    def scalar(self, query: str, **values: object) -> Any:
        with transaction() as connection:
            return connection.execute(sa.text(query), values).scalar()

    def execute(self, statement: str) -> None:
        with transaction() as connection:
            connection.execute(sa.text(statement))


def definition(platform: Platform) -> dict[str, object]:
    """What the webserver shows of both tables before any run."""
    graph = platform.definitions.resolve_asset_graph()
    return {
        name: {
            "parents": sorted(key.to_user_string() for key in graph.get(dg.AssetKey(name)).parent_keys),
            "checks": sorted(key.name for key in graph.get_check_keys_for_assets({dg.AssetKey(name)})),
            "columns": [
                column.name for column in graph.get(dg.AssetKey(name)).metadata["dagster/column_schema"].columns
            ],
        }
        for name in (WEEKLY, QUOTES)
    }


def backfill(platform: Platform) -> dict[str, object]:
    """Bars first: the ledger then expects weeks; a backfill of the weeks alone fills them."""
    bars = platform.run(DAILY, symbols=["AAPL"])
    before = platform.states()[WEEKLY]
    weeks = platform.run(WEEKLY, symbols=["AAPL"])
    [week] = _rows(f"select open, high, low, close, volume from {WEEKLY} order by date desc offset 1 limit 1")
    [days] = _rows(
        "select (array_agg(open order by date))[1], max(high), min(low), (array_agg(close order by date desc))[1],"
        f" sum(volume) from {DAILY} where date_trunc('week', date) ="
        f" (select date from {WEEKLY} order by date desc offset 1 limit 1)"
    )
    return {
        "succeeded": [bars.success, weeks.success],
        "error": [bars.error, weeks.error],
        "before": before,
        "after": platform.states()[WEEKLY],
        "weeks": platform.scalar(WEEKS, first=platform.first),
        "checks": {check.check_name: check.passed for check in weeks.checks},
        "week": tuple(week),
        "its_days": tuple(days),
    }


def heal(platform: Platform) -> dict[str, object]:
    """Weeks that vanish outside of runs are found by a rebuild, ordered, and computed again."""
    platform.execute("delete from stock_prices_weekly where date > (select min(date) from stock_prices_weekly)")
    ledger.rebuild(datetime.now(UTC))
    lost = platform.states()[WEEKLY]
    orders = due_orders(DailyBarsRouter(), 2, symbols=["AAPL"])
    ordered = [(tables_of(order), order.symbols) for order in orders]
    platform.run(WEEKLY, symbols=["AAPL"])
    return {"lost": lost, "ordered": ordered, "after": platform.states()[WEEKLY]}


def change(platform: Platform) -> dict[str, object]:
    """A bar that breaks a rule makes a dead letter of the week computed from it."""
    platform.execute("update stock_prices_daily set low = -1 where date = (select max(date) from stock_prices_daily)")
    broken = platform.run(WEEKLY, symbols=["AAPL"])
    letters = platform.scalar(f"select count(*) from task_failures where task_name = '{WEEKLY}' and symbol = 'AAPL'")
    return {"succeeded": broken.success, "letters": letters}


def snapshot(platform: Platform) -> dict[str, object]:
    """The running day of the table of current values."""
    today = partition_at(QUOTES, datetime.now(UTC))
    outcome = materialize(platform.definitions, [QUOTES], today, today, ["BTC"], instance=platform.instance)
    return {
        "succeeded": outcome.success,
        "error": outcome.error,
        "rows": platform.scalar(f"select count(*) from {QUOTES} where price > 0"),
        "checks": {check.check_name: check.passed for check in outcome.checks},
    }


def documents(_: Platform) -> dict[str, object]:
    """The rows of the list of tables, and the tables that `gaps` counts."""
    return {
        "tables": [row.table for row in tables_report.collect()],
        "gaps": list(gaps_report.collect(None, ["AAPL"]).tables),
    }


def _rows(query: str) -> list[Any]:
    with transaction() as connection:
        return list(connection.execute(sa.text(query)))


def main(first: date) -> None:
    """Make the database, use it, and print what was seen."""
    migrations.upgrade()
    with transaction() as connection:
        chosen = [each for each in default_universe() if each.symbol in ("AAPL", "BTC")]
        upsert_instruments(connection, chosen)
    platform = Platform(first)
    scenes: list[Callable[[Platform], dict[str, object]]] = [definition, backfill, heal, change, snapshot, documents]
    seen = {scene.__name__: scene(platform) for scene in scenes}
    sys.stdout.write(json.dumps(seen, default=str))


if __name__ == "__main__":
    main(date.fromisoformat(sys.argv[1]))
