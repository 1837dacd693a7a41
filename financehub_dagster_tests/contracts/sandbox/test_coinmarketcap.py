"""The sandbox speaks CoinMarketCap's wire format: a status in every answer, credits, three generations of shapes."""

import time
from datetime import UTC, datetime
from typing import Any

import pytest

from financehub_dagster.sandbox.client import Sandbox
from financehub_dagster.sandbox.market.recordings import recorded_daily
from financehub_dagster_tests.contracts.sandbox.sandbox_calls import KEY, ask, fresh, fresh_key

NOON = datetime(2026, 3, 6, 12, 0, 30, tzinfo=UTC)
QUOTES = "/v3/cryptocurrency/quotes/latest"
MONTH = 2_592_000


def get(box: Sandbox, path: str, **params: Any) -> Any:
    answer = fresh(box, "coinmarketcap", path, **params)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.fixture
def noon(sandbox: Sandbox) -> Sandbox:
    sandbox.freeze(NOON)
    return sandbox


def test_every_answer_has_a_status(noon: Sandbox) -> None:
    assert get(noon, QUOTES, id="1")["status"] == {
        "timestamp": "2026-03-06T12:00:30.000Z",
        "error_code": 0,
        "error_message": None,
        "elapsed": 10,
        "credit_count": 1,
        "notice": None,
    }
    refused = fresh(noon, "coinmarketcap", QUOTES, id="1,999999")
    assert refused.status_code == 400
    assert "data" not in refused.json()
    assert refused.json()["status"]["error_message"] == 'Invalid value for "id": "999999"'
    assert refused.json()["status"]["credit_count"] == 0


def test_the_third_generation_lists_coins_and_their_quotes(noon: Sandbox) -> None:
    rows = get(noon, QUOTES, id="1027,1", convert="USD")["data"]
    assert {row["id"] for row in rows} == {1, 1027}
    bitcoin = next(row for row in rows if row["id"] == 1)
    assert (bitcoin["symbol"], bitcoin["slug"], bitcoin["last_updated"]) == (
        "BTC",
        "bitcoin",
        "2026-03-06T12:00:00.000Z",
    )
    (quote,) = bitcoin["quote"]
    assert quote["symbol"] == "USD"
    assert quote["market_cap"] == pytest.approx(quote["price"] * bitcoin["circulating_supply"])
    gecko = fresh(
        noon, "coingecko", "/api/v3/simple/price", ids="bitcoin", vs_currencies="usd", precision="full"
    ).json()
    assert quote["price"] == gecko["bitcoin"]["usd"]


def test_the_older_generations_key_coins_and_quotes(noon: Sandbox) -> None:
    new = get(noon, QUOTES, id="1")["data"][0]["quote"][0]
    first = get(noon, "/v1/cryptocurrency/quotes/latest", id="1,1027")["data"]
    assert set(first) == {"1", "1027"}
    assert first["1"]["quote"]["USD"]["price"] == new["price"]
    second = get(noon, "/v2/cryptocurrency/quotes/latest", symbol="BTC")["data"]
    assert second["BTC"][0]["quote"]["USD"]["price"] == new["price"]
    listed = get(noon, "/v1/cryptocurrency/listings/latest", limit="3")["data"]
    assert "USD" in listed[0]["quote"]


def test_one_unknown_coin_fails_the_call_unless_it_may_be_skipped(noon: Sandbox) -> None:
    assert fresh(noon, "coinmarketcap", QUOTES, symbol="BTC,NOSUCH").status_code == 400
    rows = get(noon, QUOTES, symbol="BTC,NOSUCH", skip_invalid="true")["data"]
    assert [row["symbol"] for row in rows] == ["BTC"]
    assert fresh(noon, "coinmarketcap", QUOTES).status_code == 400
    assert [row["slug"] for row in get(noon, QUOTES, slug="bitcoin-cash")["data"]] == ["bitcoin-cash"]


def test_listings_are_ranked_and_cut(noon: Sandbox) -> None:
    rows = get(noon, "/v3/cryptocurrency/listings/latest", limit="5", start="3")["data"]
    assert [row["cmc_rank"] for row in rows] == [3, 4, 5, 6, 7]
    caps = [row["quote"][0]["market_cap"] for row in rows]
    assert caps == sorted(caps, reverse=True)
    assert fresh(noon, "coinmarketcap", "/v3/cryptocurrency/listings/latest", limit="5001").status_code == 400


def test_quotes_come_in_several_currencies_for_a_credit_each(noon: Sandbox) -> None:
    answer = get(noon, QUOTES, id="1027", convert="USD,BTC")
    dollars, bitcoins = answer["data"][0]["quote"]
    assert answer["status"]["credit_count"] == 2
    assert bitcoins["symbol"] == "BTC"
    assert 0 < bitcoins["price"] < 1 < dollars["price"]
    assert fresh(noon, "coinmarketcap", QUOTES, id="1", convert="XYZ").status_code == 400


@pytest.mark.parametrize(
    ("path", "params", "cost"),
    [
        (QUOTES, {"id": ",".join(["1"] * 100)}, 1),
        (QUOTES, {"id": ",".join(["1"] * 101)}, 2),
        ("/v3/cryptocurrency/listings/latest", {"limit": "200"}, 1),
        ("/v3/cryptocurrency/listings/latest", {"limit": "5000"}, 25),
        ("/v1/cryptocurrency/map", {}, 0),
        ("/v3/cryptocurrency/quotes/historical", {"id": "1", "count": "365"}, 4),
    ],
)
def test_credits_are_what_the_documentation_says(
    sandbox: Sandbox, path: str, params: dict[str, Any], cost: int
) -> None:
    key = fresh_key()
    answer = ask(sandbox, "coinmarketcap", path, key, **params)
    assert answer.json()["status"]["credit_count"] == cost
    usage = ask(sandbox, "coinmarketcap", "/v1/key/info", key).json()["data"]["usage"]
    assert usage["current_month"] == {"credits_used": cost, "credits_left": 15_000 - cost}
    assert usage["current_day"]["credits_used"] == cost


def test_usage_is_true_and_what_failed_is_not_charged(sandbox: Sandbox) -> None:
    for _ in range(3):
        key, minute = fresh_key(), time.time() // 60
        ask(sandbox, "coinmarketcap", QUOTES, key, id="1")
        ask(sandbox, "coinmarketcap", QUOTES, key, id="999999")
        data = ask(sandbox, "coinmarketcap", "/v1/key/info", key).json()["data"]
        if time.time() // 60 == minute:
            break
    assert data["usage"]["current_minute"] == {"requests_made": 3, "requests_left": 27}
    assert data["usage"]["current_month"]["credits_used"] == 1
    assert (data["plan"]["credit_limit_monthly"], data["plan"]["rate_limit_minute"]) == (15_000, 30)
    reset = datetime.fromisoformat(data["plan"]["credit_limit_monthly_reset_timestamp"])
    assert (reset.day, reset.hour) == (1, 0)
    assert reset > datetime.now(UTC)


@pytest.mark.parametrize(("seconds", "code"), [(60, 1008), (MONTH, 1010)])
def test_breaches_have_codes_of_their_own(sandbox: Sandbox, seconds: float, code: int) -> None:
    sandbox.limit("coinmarketcap", 0, seconds)
    refused = ask(sandbox, "coinmarketcap")
    assert (refused.status_code, refused.json()["status"]["error_code"]) == (429, code)


def test_a_missing_key_is_not_an_invalid_one_and_not_needed_in_public(sandbox: Sandbox) -> None:
    assert ask(sandbox, "coinmarketcap", key=None).json()["status"]["error_code"] == 1002
    public = ask(sandbox, "coinmarketcap", f"/public-api{QUOTES}", key=None, id="1")
    assert public.json()["data"][0]["symbol"] == "BTC"
    sandbox.limit("coinmarketcap", 0)
    refused = ask(sandbox, "coinmarketcap", f"/public-api{QUOTES}", key=None, id="1")
    assert refused.json()["status"]["error_code"] == 1011


def test_history_has_the_first_price_of_each_day_for_one_year(noon: Sandbox) -> None:
    path, recording = "/v3/cryptocurrency/quotes/historical", recorded_daily("BTC")
    span = {"time_start": "2026-01-01", "time_end": "2026-01-05T00:00:00Z", "interval": "daily"}
    points = get(noon, path, id="1", **span)["data"]["1"]["quotes"]
    assert [point["timestamp"][:10] for point in points] == [f"2026-01-0{day}" for day in range(1, 6)]
    recorded = dict(zip(recording.date.astype(str).tolist(), recording.open.tolist(), strict=True))
    assert [point["quote"]["USD"]["price"] for point in points] == [
        recorded[point["timestamp"][:10]] for point in points
    ]
    assert fresh(noon, "coinmarketcap", path, id="1", time_start="2020-01-01").json()["status"]["error_code"] == 1006
    assert fresh(noon, "coinmarketcap", path, id="1", interval="5m").status_code == 501


def test_bars_are_for_customers_and_start_after_the_start(noon: Sandbox) -> None:
    path = "/v2/cryptocurrency/ohlcv/historical"
    span: dict[str, Any] = {"id": "1", "time_start": "2026-01-01", "time_end": "2026-01-03"}
    refused = ask(noon, "coinmarketcap", path, **span)
    assert (refused.status_code, refused.json()["status"]["error_code"]) == (403, 1006)
    noon.declare_key("coinmarketcap", KEY, plan="paid")
    bars = ask(noon, "coinmarketcap", path, **span).json()["data"]["1"]["quotes"]
    assert [bar["time_open"][:10] for bar in bars] == ["2026-01-01", "2026-01-02"]
    assert bars[0]["time_close"] == "2026-01-01T23:59:59.999Z"
    assert set(bars[0]["quote"]["USD"]) >= {"open", "high", "low", "close", "volume", "market_cap"}


def test_the_map_names_every_coin_by_its_number(sandbox: Sandbox) -> None:
    rows = get(sandbox, "/v1/cryptocurrency/map")["data"]
    assert [row["id"] for row in rows] == sorted(row["id"] for row in rows)
    assert {row["symbol"]: row["id"] for row in rows}["SOL"] == 5426
    assert [row["symbol"] for row in get(sandbox, "/v1/cryptocurrency/map", symbol="ETH")["data"]] == ["ETH"]
