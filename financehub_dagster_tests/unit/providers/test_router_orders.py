"""What routers ask by default, and what a table's asset can reach, is what vendors say that they serve."""

import pytest

from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.providers import vendor_types
from financehub_dagster.providers.table_sources import ROUTERS, bound_router, resources_of, router_name, vendors_of
from financehub_dagster.tables import BARS_OF, INTRADAY, SNAPSHOTS, TABLES

FILLED_BY_VENDORS = [*BARS_OF, *INTRADAY, *SNAPSHOTS]
CAPABILITIES = {router.capability for router in ROUTERS.values()}


class Resources:
    """Any resource by its name: a router, or the name itself."""

    def __getattr__(self, name):
        return ROUTERS[name]() if name in ROUTERS else name


@pytest.mark.parametrize("vendor", vendor_types(), ids=lambda vendor: vendor.name)
def test_a_vendor_serves_what_it_has_methods_for(vendor):
    assert vendor.serves.keys() == {name for name in CAPABILITIES if hasattr(vendor, name)}


@pytest.mark.parametrize("router", ROUTERS.values(), ids=lambda router: router.capability)
def test_the_default_orders_name_only_vendors_that_serve_the_kind(router):
    serves = {vendor.name: vendor.serves for vendor in vendor_types()}
    for kind in router().kinds():
        assert router().order(kind)
        for name in router().order(kind):
            assert kind in serves[name][router.capability], f"{name} has no {router.capability} of {kind}"


@pytest.mark.parametrize("table", FILLED_BY_VENDORS)
def test_a_table_has_every_vendor_that_its_router_asks_or_could(table):
    router = ROUTERS[str(router_name(table))]()
    asked = [name for kind in TABLES[table].instruments for name in router.order(kind)]
    assert asked
    assert vendors_of(table)[: len(set(asked))] == list(dict.fromkeys(asked))
    assert resources_of(table) == {router_name(table), *vendors_of(table)}


def test_vendors_that_no_list_names_can_be_asked_on_request_and_those_without_the_kind_cannot():
    assert "alpha_vantage" in vendors_of("quotes")
    assert "binance" not in vendors_of("stock_prices_daily")
    assert vendors_of("fx_prices_daily") == ["yahoo", "twelve_data", "alpha_vantage"]


def test_what_vendors_do_not_fill_takes_no_resource():
    assert resources_of("pivot_points", "corporate_actions", "instruments") == set()


@pytest.mark.parametrize("only", [None, [], ["twelve_data"]])
def test_a_run_is_limited_to_the_vendors_that_it_names_if_it_names_any(only):
    router = bound_router("fx_prices_daily", Resources(), only)
    pair = Instrument("EURUSD", "Euro", AssetType.FX, "XXXX", "USD")
    assert router.asked(pair) == (only or ["yahoo", "twelve_data", "alpha_vantage"])
    assert router.vendor("twelve_data") == "twelve_data"
