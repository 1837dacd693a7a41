"""A vendor that keeps earlier history under the earlier name is asked for it under that name."""

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from financehub_dagster.market.former_aliases import FormerAlias
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.providers.binance.provider import BinanceProvider
from financehub_dagster.providers.former_names import names_to_keep
from financehub_dagster.providers.routing import DailyBarsRouter, IntradayRouter
from financehub_dagster.sandbox.client import Sandbox
from financehub_dagster_tests.fixtures.database import Database

pytestmark = pytest.mark.usefixtures("database")

PRESENT = Instrument("POL", "Polygon", AssetType.CRYPTO, "XXXX", aliases={"binance": "BTCUSDT"})
RENAMED = replace(PRESENT, former_aliases=(FormerAlias("binance", "ETHUSDT", date(2018, 3, 15)),))
"""Bitcoin and Ether stand for the new and the old name."""
MARCH = (date(2018, 3, 1), date(2018, 3, 31))


@pytest.fixture
def database(shared_database: Database) -> Database:
    """One for the module: these tests write the gateway's state alone."""
    return shared_database


def provider(sandbox: Sandbox) -> BinanceProvider:
    return BinanceProvider(base_url=sandbox.binance_url, first_pause=0.0)


def test_daily_bars_of_a_range_come_under_the_name_of_each_day(sandbox: Sandbox) -> None:
    router = DailyBarsRouter().over({"binance": provider(sandbox)}, ["binance"])
    found = router.daily_bars(RENAMED, *MARCH)
    new = router.daily_bars(PRESENT, *MARCH)
    old = router.daily_bars(replace(PRESENT, aliases={"binance": "ETHUSDT"}), *MARCH)
    assert (found.symbol, found.source, found.calls) == ("POL", "binance", 2)
    assert found.bars["date"].tolist() == new.bars["date"].tolist()
    assert found.bars["close"].tolist() == [*old.bars["close"][:15], *new.bars["close"][15:]]
    assert router.daily_bars(RENAMED, date(2018, 4, 1), date(2018, 4, 5)).calls == 1


def test_minutes_come_under_the_name_of_their_day(sandbox: Sandbox) -> None:
    router = IntradayRouter().over({"binance": provider(sandbox)}, ["binance"])
    sandbox.freeze(datetime(2026, 11, 20, 12, tzinfo=UTC))
    start, end = datetime(2026, 11, 20, 10, tzinfo=UTC), datetime(2026, 11, 20, 11, tzinfo=UTC)
    late = replace(RENAMED, former_aliases=(FormerAlias("binance", "ETHUSDT", date(2026, 11, 20)),))
    ether = replace(PRESENT, aliases={"binance": "ETHUSDT"})
    found, old, new = (
        router.intraday_bars([each], 1, start, end).answers["POL"].bars["close"].tolist()
        for each in (late, ether, RENAMED)
    )
    assert found == old != new


def test_a_rename_keeps_the_names_that_such_vendors_need() -> None:
    ether = Instrument("MATIC", "Polygon", AssetType.CRYPTO, "XXXX")
    assert names_to_keep(ether, {}) == {"binance": "MATICUSDT"}
    named = replace(ether, aliases={"binance": "MATICUSDC", "yahoo": "MATIC-USD"})
    assert names_to_keep(named, {"binance": "POLUSDC"}) == {"binance": "MATICUSDC"}
    assert names_to_keep(named, {"yahoo": "POL-USD"}) == {}
    assert names_to_keep(replace(ether, asset_type=AssetType.STOCK, exchange="XNAS"), {}) == {}
