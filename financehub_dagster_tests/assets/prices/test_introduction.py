"""An instrument is shown to a vendor before it joins the universe."""

import pytest

from financehub_dagster.ingest.introduction import introduce
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.providers.routing import DailyBarsRouter
from financehub_dagster.providers.yahoo.provider import YahooProvider
from financehub_dagster_tests.assets.conftest import Platform


def router(address: str) -> DailyBarsRouter:
    yahoo = YahooProvider(base_url=address, requests_per_second=1000, first_pause=0.001)
    return DailyBarsRouter().over({"yahoo": yahoo}, ["yahoo"])


def share(symbol: str, timezone: str = "America/New_York") -> Instrument:
    return Instrument(symbol, symbol, AssetType.STOCK, "XNYS", timezone=timezone)


@pytest.mark.parametrize("written", ["BRK.B", "BRK-B"])
def test_a_share_class_is_known_under_the_vendors_spelling(platform: Platform, written: str) -> None:
    found = introduce(share(written), router(platform.sandbox.yahoo_url))
    assert (found.source, found.symbol, found.refused, found.unanswered) == ("yahoo", "BRK-B", None, None)
    assert found.newest is not None
    assert found.close is not None


def test_what_the_vendor_does_not_know_is_refused(platform: Platform) -> None:
    found = introduce(share("NOSUCH"), router(platform.sandbox.yahoo_url))
    assert "NOSUCH" in str(found.refused)
    assert found.source is None


def test_an_instrument_of_another_market_is_refused(platform: Platform) -> None:
    found = introduce(share("AAPL", "Asia/Tokyo"), router(platform.sandbox.yahoo_url))
    assert "not in Asia/Tokyo" in str(found.refused)


def test_a_delisted_share_is_refused(platform: Platform) -> None:
    platform.sandbox.delist("AAPL")
    found = introduce(share("AAPL"), router(platform.sandbox.yahoo_url))
    assert found.refused is not None


def test_a_vendor_that_cannot_be_reached_refuses_nothing(platform: Platform) -> None:
    found = introduce(share("AAPL"), router("http://127.0.0.1:9"))
    assert found.refused is None
    assert found.unanswered is not None
