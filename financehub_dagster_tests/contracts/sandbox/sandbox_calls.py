"""How the sandbox's vendors with keys are asked in tests: one good request each, by header or by query."""

from dataclasses import dataclass, field
from itertools import count
from typing import Any

import requests

from financehub_dagster.sandbox.client import Sandbox

KEY = "key-of-a-test-0001"
OTHER_KEY = "key-of-a-test-0002"
_NUMBERS = count(1)


@dataclass(frozen=True)
class Example:
    """A request that any plan answers; `symbol` is ours.

    parameter and header carry the key, there after the scheme; burst and bad_key are the vendor's words for these;
    statuses has the HTTP status of every situation it knows.
    """

    path: str
    params: dict[str, str]
    symbol: str
    parameter: str
    header: str | None = None
    scheme: str = ""
    burst: str = ""
    bad_key: str = ""
    statuses: dict[str, int] = field(default_factory=dict)


EXAMPLES = {
    "alpha_vantage": Example(
        "/query", {"function": "GLOBAL_QUOTE", "symbol": "IBM"}, "IBM", "apikey",
        burst="more sparingly (1 request per second)", bad_key="the parameter apikey is invalid or missing",
        statuses={"bad_key": 200, "burst": 200, "day_quota": 200, "not_in_plan": 200, "unknown_symbol": 200},
    ),
    "coingecko": Example(
        "/api/v3/coins/markets", {"vs_currency": "usd", "ids": "bitcoin"}, "BTC", "x_cg_demo_api_key",
        "x-cg-demo-api-key", burst="You've exceeded the Rate Limit", bad_key="API Key Missing",
        statuses={"bad_key": 401, "burst": 429, "month_quota": 429, "not_in_plan": 401, "unknown_symbol": 404},
    ),
    "coinmarketcap": Example(
        "/v3/cryptocurrency/quotes/latest", {"id": "1"}, "BTC", "CMC_PRO_API_KEY", "X-CMC_PRO_API_KEY",
        burst="Rate limits reset every minute", bad_key="This API Key is invalid",
        statuses={
            "bad_key": 401, "burst": 429, "day_quota": 429, "month_quota": 429, "not_in_plan": 403, "banned": 429,
            "unknown_symbol": 400,
        },
    ),
    "finnhub": Example(
        "/api/v1/quote", {"symbol": "IBM"}, "IBM", "token", "X-Finnhub-Token",
        burst="API limit reached", bad_key="Invalid API key",
        statuses={"bad_key": 401, "burst": 429, "not_in_plan": 403, "unknown_symbol": 200},
    ),
    "twelve_data": Example(
        "/quote", {"symbol": "IBM"}, "IBM", "apikey", "Authorization", "apikey ",
        burst="run out of API credits for the current minute", bad_key="**apikey** parameter is incorrect",
        statuses={"bad_key": 401, "burst": 429, "day_quota": 429, "not_in_plan": 403, "unknown_symbol": 404},
    ),
    "newsapi": Example(
        "/v2/everything", {"q": "IBM"}, "IBM", "apiKey", "X-Api-Key",
        burst="You have made too many requests recently", bad_key="Your API key is invalid or incorrect",
        statuses={"bad_key": 401, "burst": 429, "day_quota": 429, "month_quota": 429, "not_in_plan": 426},
    ),
}  # fmt: skip


def ask(
    box: Sandbox, vendor: str, path: str | None = None, key: str | None = KEY, timeout: float = 10, **params: Any
) -> requests.Response:
    """The answer to a request with its key where the vendor prefers it; without a path, to the example."""
    example = EXAMPLES[vendor]
    query = params if path is not None else {**example.params, **params}
    headers = {}
    if key is not None and example.header is not None:
        headers[example.header] = f"{example.scheme}{key}"
    elif key is not None:
        query[example.parameter] = key
    address = f"{box.base_url(vendor)}{example.path if path is None else path}"
    return requests.get(address, params=query, headers=headers, timeout=timeout)


def fresh_key() -> str:
    """A key that no other request of this process has, and so with its whole budget."""
    return f"key-of-a-test-{next(_NUMBERS):04d}x"


def fresh(box: Sandbox, vendor: str, path: str | None = None, **params: Any) -> requests.Response:
    """As `ask`, with a key of its own."""
    return ask(box, vendor, path, fresh_key(), **params)
