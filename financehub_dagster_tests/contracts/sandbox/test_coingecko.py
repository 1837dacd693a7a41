"""The sandbox speaks CoinGecko's wire format: ids, JSON numbers, close-labelled bars and two envelopes for errors."""

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
import requests

from financehub_dagster.sandbox.client import Sandbox
from financehub_dagster.sandbox.market.recordings import recorded_daily
from financehub_dagster_tests.contracts.sandbox.sandbox_calls import KEY, ask, fresh

NOON = datetime(2026, 3, 6, 12, 0, tzinfo=UTC)
DAY = 86_400_000
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
    flags = dict.fromkeys(
        ("include_market_cap", "include_24hr_vol", "include_24hr_change", "include_last_updated_at"), "true"
    )
    prices = get(noon, "/simple/price", ids="bitcoin,no-such-coin", vs_currencies="usd", **flags)
    assert list(prices) == ["bitcoin"]
    assert list(prices["bitcoin"]) == ["usd", "usd_market_cap", "usd_24h_vol", "usd_24h_change", "last_updated_at"]
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


def test_bitcoin_costs_one_bitcoin(noon: Sandbox) -> None:
    prices = get(noon, "/simple/price", ids="bitcoin,ethereum", vs_currencies="usd,btc", precision="full")
    assert prices["bitcoin"]["btc"] == pytest.approx(1.0)
    assert prices["ethereum"]["btc"] == pytest.approx(prices["ethereum"]["usd"] / prices["bitcoin"]["usd"])


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


def test_daily_prices_are_the_recorded_closes_at_the_midnight_after(noon: Sandbox) -> None:
    recording = recorded_daily("BTC")
    chart = get(noon, "/coins/bitcoin/market_chart", vs_currency="usd", days="365")
    assert list(chart) == ["prices", "market_caps", "total_volumes"]
    *midnights, (now, _) = chart["prices"]
    assert now == NOON.timestamp() * 1000
    assert {at % DAY for at, _ in midnights} == {0}
    closes = dict(
        zip((recording.date.astype("datetime64[ms]").astype(int) + DAY).tolist(), recording.close.tolist(), strict=True)
    )
    assert [price for _, price in midnights] == [closes[at] for at, _ in midnights]
    assert len(midnights) == 365


@pytest.mark.parametrize(("days", "minutes"), [("1", 5), ("2", 60), ("90", 60)])
def test_shorter_charts_have_finer_steps(noon: Sandbox, days: str, minutes: int) -> None:
    points = [at for at, _ in get(noon, "/coins/ethereum/market_chart", vs_currency="usd", days=days)["prices"]]
    assert {later - earlier for earlier, later in pairwise(points)} == {minutes * 60_000}


@pytest.mark.parametrize(("days", "hours"), [("1", 0.5), ("7", 4), ("30", 4), ("90", 96), ("365", 96)])
def test_bars_are_labelled_by_their_close_and_have_no_volume(noon: Sandbox, days: str, hours: float) -> None:
    bars = get(noon, "/coins/bitcoin/ohlc", vs_currency="usd", days=days)
    closes = [bar[0] for bar in bars]
    assert {later - earlier for earlier, later in pairwise(closes)} == {hours * 3_600_000}
    assert all(len(bar) == 5 and bar[3] <= min(bar[1], bar[4]) <= max(bar[1], bar[4]) <= bar[2] for bar in bars)
    assert closes[-2] <= NOON.timestamp() * 1000 <= closes[-1] + hours * 3_600_000


def test_history_ends_after_a_year_for_demo_keys(noon: Sandbox) -> None:
    for path, params in (
        ("/coins/bitcoin/market_chart", {"days": "366"}),
        ("/coins/bitcoin/market_chart", {"days": "max"}),
        ("/coins/bitcoin/ohlc", {"days": "max"}),
        ("/coins/bitcoin/market_chart/range", {"from": "1500000000", "to": "1600000000"}),
    ):
        refused = fresh(noon, "coingecko", f"/api/v3{path}", vs_currency="usd", **params)
        assert refused.status_code == 401
        assert refused.json()["error"]["status"]["error_code"] == 10012
    noon.declare_key("coingecko", KEY, plan="paid")
    points = pro(noon, "/coins/bitcoin/market_chart", vs_currency="usd", days="max").json()["prices"]
    assert points[0][0] < datetime(2010, 1, 1, tzinfo=UTC).timestamp() * 1000
    daily = pro(noon, "/coins/bitcoin/ohlc", vs_currency="usd", days="30", interval="daily").json()
    assert daily[0][0] % DAY == 0
    assert daily[1][0] - daily[0][0] == DAY


def test_a_range_is_cut_to_what_was_asked(noon: Sandbox) -> None:
    first, last = (int(datetime(2026, 1, day, tzinfo=UTC).timestamp()) for day in (1, 5))
    points = get(noon, "/coins/bitcoin/market_chart/range", vs_currency="usd", **{"from": str(first), "to": str(last)})[
        "prices"
    ]
    assert (points[0][0], points[-1][0]) == (first * 1000, last * 1000)


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


def test_usage_is_for_pro_keys_and_true(sandbox: Sandbox) -> None:
    assert fresh(sandbox, "coingecko", "/api/v3/key").json()["status"]["error_code"] == 10005
    sandbox.declare_key("coingecko", KEY, plan="paid")
    for _ in range(3):
        pro(sandbox, "/coins/no-such-coin")
    usage = pro(sandbox, "/key").json()
    assert usage["current_total_monthly_calls"] == 4
    assert usage["current_remaining_monthly_calls"] == usage["monthly_call_credit"] - 4
    assert usage["rate_limit_request_per_minute"] == 500


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
        ("/coins/no-such-coin", {}, 404),
        ("/coins/no-such-coin/ohlc", {"vs_currency": "usd", "days": "1"}, 404),
        ("/coins/markets", {}, 422),
        ("/coins/markets", {"vs_currency": "dogecoins"}, 400),
        ("/simple/price", {"vs_currencies": "usd"}, 422),
        ("/coins/bitcoin/ohlc", {"vs_currency": "usd", "days": "17"}, 400),
    ],
)
def test_wrong_parameters_are_refused_with_an_error_text(
    sandbox: Sandbox, path: str, params: dict[str, str], status: int
) -> None:
    refused = fresh(sandbox, "coingecko", f"/api/v3{path}", **params)
    assert refused.status_code == status
    assert isinstance(refused.json()["error"], str)


def test_the_list_maps_ids_to_symbols_that_need_not_be_unique(sandbox: Sandbox) -> None:
    coins = {row["id"]: row["symbol"] for row in get(sandbox, "/coins/list")}
    assert coins["avalanche-2"] == "avax"
    assert len(coins) == 20
    assert get(sandbox, "/coins/avalanche-2")["market_data"]["current_price"]["usd"] > 0
