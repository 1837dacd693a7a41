"""The sandbox speaks CoinMarketCap's wire format: a status in every answer, credits, lists of quotes."""

import time
from datetime import UTC, datetime
from typing import Any

import pytest

from financehub_dagster.sandbox.client import Sandbox
from financehub_dagster_tests.contracts.sandbox.sandbox_calls import ask, fresh, fresh_key

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


def test_coins_and_their_quotes_are_lists(noon: Sandbox) -> None:
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


def test_one_unknown_coin_fails_the_call_unless_it_may_be_skipped(noon: Sandbox) -> None:
    assert fresh(noon, "coinmarketcap", QUOTES, id="1,999999").status_code == 400
    rows = get(noon, QUOTES, id="1,999999", skip_invalid="true")["data"]
    assert [row["symbol"] for row in rows] == ["BTC"]
    assert fresh(noon, "coinmarketcap", QUOTES).status_code == 400
    assert fresh(noon, "coinmarketcap", QUOTES, id="1", convert="XYZ").status_code == 400


@pytest.mark.parametrize(("coins", "cost"), [(1, 1), (100, 1), (101, 2)])
def test_a_credit_pays_for_a_hundred_coins(sandbox: Sandbox, coins: int, cost: int) -> None:
    key = fresh_key()
    answer = ask(sandbox, "coinmarketcap", QUOTES, key, id=",".join(["1"] * coins))
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
