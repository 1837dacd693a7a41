"""A running platform fills what its ledger lacks, without a command."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from financehub_dagster.cli import prepare
from financehub_dagster.cli.home import Mode, enter
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.settings import get_settings
from financehub_dagster.storage import embedded
from financehub_dagster.storage.engine import reset_engine, transaction
from financehub_dagster.storage.instruments import upsert_instruments
from financehub_dagster_tests.end_to_end.test_supervisor_lifecycle import Platform, eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

STOCKS, CRYPTOS, INDICATORS = "stock_prices_daily", "crypto_prices_daily", "indicators_daily"
PATIENCE = 400.0
"""Seconds: a tick, the start of a run and a year of bars take half a minute, and ten times that on a busy machine."""


@pytest.fixture
def platform(folder):
    """A home of the sample market with one instrument and a history of a year."""
    start = (datetime.now(UTC) - timedelta(days=365)).date().replace(day=1)
    (folder / ".env").write_text(f"FINANCEHUB_HISTORY_START={start}\n")
    platform = Platform(folder)
    platform.home.prepare(Mode.SANDBOX)
    enter(platform.home, Mode.SANDBOX)
    get_settings.cache_clear()
    prepare.migrate()
    with transaction() as connection:
        upsert_instruments(connection, [Instrument("MSFT", "Microsoft", AssetType.STOCK, "XNAS")])
    reset_engine()
    embedded.release(platform.home.path)
    yield platform
    platform.end()


def counts(platform: Platform, symbol: str) -> dict[str, dict[str, int]]:
    done = platform.run("gaps", "--symbols", symbol, "--json")
    assert done.returncode == 0, done.stderr
    tables: dict[str, dict[str, int]] = json.loads(done.stdout)["tables"]
    return tables


def complete(found: dict[str, dict[str, int]], table: str, sessions: int) -> bool:
    return all(found[name]["stored"] == found[name]["expected"] > sessions for name in (table, INDICATORS))


def test_instruments_added_while_the_platform_runs_get_their_whole_history_and_indicators(platform):
    platform.up()
    for add in (
        ("KO", "--type", "stock", "--exchange", "XNYS"),
        ("ETH", "--type", "crypto", "--alias", "binance=ETHUSDT"),
    ):
        added = platform.run("instruments", "add", *add)
        assert added.returncode == 0, added.stderr
    eventually(lambda: complete(counts(platform, "KO"), STOCKS, 250), PATIENCE)
    eventually(lambda: complete(counts(platform, "ETH"), CRYPTOS, 364), PATIENCE)
    assert complete(counts(platform, "MSFT"), STOCKS, 250)
