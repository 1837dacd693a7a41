"""OpenBB Workspace: what it is told of the tables, and that every address it is told answers."""

import json
from collections.abc import Iterator
from datetime import datetime

import pytest

from financehub_dagster import read
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.serving import guard, http, openbb
from financehub_dagster.storage.database.engine import transaction
from financehub_dagster.storage.queries.instruments import upsert_instruments
from financehub_dagster_tests.unit.serving import stored
from financehub_dagster_tests.unit.serving.test_guard import TOKEN, ask, serving
from financehub_dagster_tests.unit.serving.test_rows import get

PAGE = "https://pro.openbb.co"
PREFLIGHT = {"Origin": PAGE, "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}


@pytest.fixture(scope="module")
def port(before: datetime) -> Iterator[int]:
    """A server of the filled database."""
    with serving(guard.Guard(http.create_app(looks=False), [])) as port:
        yield port


def test_every_widget_has_what_the_workspace_needs_and_its_address_answers(port: int) -> None:
    found = json.loads(get(port, "/widgets.json")[1])
    assert found.pop("prices")["endpoint"] == "udf"
    assert {"stock_prices_daily", "indicators_daily", "quotes", "signals"} <= found.keys()
    for name, widget in found.items():
        assert widget.keys() >= {"name", "description", "endpoint", "type", "gridData", "params", "data"}
        given = {each["paramName"]: "" for each in widget["params"]} | {"symbols": "AAPL"}
        status, body, _ = get(port, f"/{widget['endpoint']}", **given)
        assert status == 200, (name, body)
        fields = [each["field"] for each in widget["data"]["table"]["columnsDefs"]]
        assert all(list(row) == fields for row in json.loads(body)), name


def test_a_widget_begins_with_an_instrument_that_its_table_holds(port: int) -> None:
    others = [("BTC", AssetType.CRYPTO), ("EURUSD", AssetType.FX)]
    with transaction() as connection:
        upsert_instruments(connection, [Instrument(each, each, kind, "XXXX") for each, kind in others])
    try:
        found = json.loads(get(port, "/widgets.json")[1])
    finally:
        stored.remove("instruments", [each for each, _ in others])
    begins = {name: each["params"][0]["value"] for name, each in found.items() if "params" in each}
    tables = ("crypto_prices_daily", "crypto_markets", "fx_prices_daily", "stock_prices_daily", "quotes")
    assert [begins[each] for each in tables] == ["BTC", "BTC", "EURUSD", "AAPL", "AAPL"]
    assert found["prices"]["data"]["defaultSymbol"] == "AAPL"
    assert json.loads(get(port, "/widgets.json")[1])["fx_prices_daily"]["params"][0]["value"] is None


def test_a_grid_has_the_rows_of_read_and_a_bound(port: int, monkeypatch) -> None:
    asked = {"symbols": "AAPL,MSFT", "start": "2024-01-30", "end": ""}
    rows = json.loads(get(port, "/openbb/stock_prices_daily", **asked)[1])
    assert len(rows) == len(read("stock_prices_daily", symbols="AAPL,MSFT", start="2024-01-30"))
    monkeypatch.setattr(openbb, "MOST_ROWS", stored.DAYS)
    assert get(port, "/openbb/stock_prices_daily", symbols="AAPL")[0] == 200
    assert get(port, "/openbb/stock_prices_daily", symbols="AAPL,MSFT")[0] == 413


def test_a_page_that_is_let_in_may_bring_a_token_and_others_learn_nothing() -> None:
    app = http.create_app(looks=False, origins=[PAGE])
    with serving(guard.Guard(app, [TOKEN], preflights=True)) as port:
        status, headers = ask(port, "/widgets.json", "OPTIONS", None, **PREFLIGHT)
        assert (status, headers["access-control-allow-origin"]) == (200, PAGE)
        assert "authorization" in headers["access-control-allow-headers"].lower()
        assert ask(port, "/widgets.json", "OPTIONS", None, **{**PREFLIGHT, "Origin": "https://example.com"})[0] == 400
        assert ask(port, "/widgets.json", "OPTIONS")[0] == 401
        assert ask(port, "/widgets.json", "GET", None, **PREFLIGHT)[0] == 401
        assert ask(port, "/widgets.json", Origin=PAGE, Authorization=f"Bearer {TOKEN}")[0] == 200
    with serving(guard.Guard(http.create_app(looks=False), [TOKEN])) as port:
        assert ask(port, "/widgets.json", "OPTIONS", None, **PREFLIGHT)[0] == 401
