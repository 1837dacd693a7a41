"""The sandbox speaks CoinGecko's wire format: ids, JSON numbers, rounded prices and two envelopes for errors."""

from datetime import UTC, datetime
from typing import Any

import pytest
import requests

from financehub_dagster.sandbox.client import Sandbox
from financehub_dagster_tests.contracts.sandbox.sandbox_calls import KEY, ask, fresh

NOON = datetime(2026, 3, 6, 12, 0, tzinfo=UTC)
PRO = {"x-cg-pro-api-key": KEY}


def get(box: Sandbox, path: str, **params: Any) -> Any:
    answer = fresh(box, "coingecko", f"/api/v3{path}", **params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def pro(box: Sandbox, path: str, **params: Any) -> requests.Response:
    return requests.get(f"{box.base_url('coingecko')}/api/v3{path}", params=params, headers=PRO, timeout=10)


@pytest.fixture
def noon(sandbox: Sandbox) -> Sandbox:
    sandbox.freeze(NOON)
    return sandbox


def test_simple_price_leaves_the_unknown_out(noon: Sandbox) -> None:
    asked = {"vs_currencies": "usd", "include_last_updated_at": "true"}
    prices = get(noon, "/simple/price", ids="bitcoin,no-such-coin", **asked)
    assert list(prices) == ["bitcoin"]
    assert list(prices["bitcoin"]) == ["usd", "last_updated_at"]
    assert prices["bitcoin"]["last_updated_at"] == NOON.timestamp()
    assert get(noon, "/simple/price", ids="no-such-coin", vs_currencies="usd") == {}
    assert get(noon, "/simple/price", ids="bitcoin", vs_currencies="dogecoins") == {"bitcoin": {}}


def test_prices_are_rounded_unless_full_precision_is_asked(noon: Sandbox) -> None:
    rounded, full = (
        get(noon, "/simple/price", ids="bitcoin,dogecoin", vs_currencies="usd", **asked)
        for asked in ({}, {"precision": "full"})
    )
    assert isinstance(rounded["bitcoin"]["usd"], int)
    assert rounded["bitcoin"]["usd"] == round(full["bitcoin"]["usd"])
    assert full["bitcoin"]["usd"] != rounded["bitcoin"]["usd"]
    assert rounded["dogecoin"]["usd"] == pytest.approx(full["dogecoin"]["usd"], abs=0.005)


def test_markets_are_ranked_by_what_they_are_worth(noon: Sandbox) -> None:
    rows = get(noon, "/coins/markets", vs_currency="usd")
    assert len(rows) == 20
    assert [row["market_cap_rank"] for row in rows] == list(range(1, 21))
    caps = [row["market_cap"] for row in rows]
    assert caps == sorted(caps, reverse=True)
    for row in rows:
        assert row["market_cap"] == pytest.approx(row["circulating_supply"] * row["current_price"], rel=1e-2)
        assert row["circulating_supply"] <= row["total_supply"]
        assert row["low_24h"] <= row["current_price"] <= row["high_24h"]
        assert row["last_updated"] == "2026-03-06T12:00:00.000Z"
    assert None in [row["max_supply"] for row in rows]


def test_markets_come_in_pages_of_at_most_250(noon: Sandbox) -> None:
    noon.list_synthetic(260, prefix="COIN", asset_type="crypto")
    whole = get(noon, "/coins/markets", vs_currency="usd", per_page="999")
    assert len(whole) == 250
    rest = get(noon, "/coins/markets", vs_currency="usd", per_page="250", page="2")
    assert len(rest) == 30
    assert len({row["id"] for row in whole + rest}) == 280
    ids = ",".join(row["id"] for row in whole)
    assert len(get(noon, "/coins/markets", vs_currency="usd", ids=ids, per_page="250")) == 250


def test_a_key_at_the_wrong_host_is_told_the_right_one(sandbox: Sandbox) -> None:
    refused = pro(sandbox, "/ping")
    assert (refused.status_code, refused.json()["error_code"]) == (400, 10011)
    assert (
        "change your root URL from pro-api.coingecko.com to api.coingecko.com"
        in refused.json()["status"]["error_message"]
    )
    sandbox.declare_key("coingecko", KEY, plan="paid")
    refused = ask(sandbox, "coingecko", "/api/v3/ping")
    assert (refused.status_code, refused.json()["error_code"]) == (400, 10010)
    assert pro(sandbox, "/ping").json() == {"gecko_says": "(V3) To the Moon!"}


def test_calls_without_a_key_share_a_small_budget(sandbox: Sandbox) -> None:
    assert ask(sandbox, "coingecko", key=None).status_code == 200
    sandbox.limit("coingecko", 1, 60)
    refused = ask(sandbox, "coingecko", key=None)
    assert refused.status_code == 429
    assert refused.json()["status"]["error_code"] == 429
    assert 1 <= int(refused.headers["Retry-After"]) <= 60


def test_the_month_has_words_of_its_own(sandbox: Sandbox) -> None:
    sandbox.limit("coingecko", 0, 2_592_000)
    refused = ask(sandbox, "coingecko")
    assert refused.status_code == 429
    assert "monthly" in refused.json()["status"]["error_message"]
    assert "Retry-After" not in refused.headers


@pytest.mark.parametrize(
    ("path", "params", "status"),
    [
        ("/coins/markets", {}, 422),
        ("/coins/markets", {"vs_currency": "dogecoins"}, 400),
        ("/simple/price", {"vs_currencies": "usd"}, 422),
    ],
)
def test_wrong_parameters_are_refused_with_an_error_text(
    sandbox: Sandbox, path: str, params: dict[str, str], status: int
) -> None:
    refused = fresh(sandbox, "coingecko", f"/api/v3{path}", **params)
    assert refused.status_code == status
    assert isinstance(refused.json()["error"], str)
