"""The sandbox speaks Finnhub's wire format: zeros for nobody, candles for customers, budgets in the headers."""

import time
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from financehub_dagster.sandbox.client import Sandbox
from financehub_dagster.sandbox.market.recordings import recorded_daily
from financehub_dagster_tests.contracts.sandbox.sandbox_calls import KEY, ask, fresh, fresh_key

IN_SESSION = datetime(2026, 6, 12, 16, 0, tzinfo=UTC)


def get(box: Sandbox, path: str, **params: Any) -> Any:
    answer = fresh(box, "finnhub", f"/api/v1{path}", **params)
    assert answer.status_code == 200
    return answer.json()


def candles(box: Sandbox, first: datetime, last: datetime, **params: Any) -> Any:
    span: dict[str, Any] = {"from": str(int(first.timestamp())), "to": str(int(last.timestamp()))}
    return ask(box, "finnhub", "/api/v1/stock/candle", **{"symbol": "IBM", "resolution": "D", **span, **params})


def test_a_quote_has_the_last_session_and_the_close_before(sandbox: Sandbox) -> None:
    sandbox.freeze(datetime(2018, 2, 7, 23, 0, tzinfo=UTC))
    recording = recorded_daily("IBM")
    quote = get(sandbox, "/quote", symbol="IBM")
    assert list(quote) == ["c", "d", "dp", "h", "l", "o", "pc", "t"]
    assert (quote["c"], quote["h"], quote["l"], quote["o"]) == (
        recording.close[-1], recording.high[-1], recording.low[-1], recording.open[-1],
    )  # fmt: skip
    assert quote["pc"] == recording.close[-2]
    assert quote["d"] == pytest.approx(quote["c"] - quote["pc"], abs=1e-4)
    assert quote["t"] == datetime(2018, 2, 7, 21, 0, tzinfo=UTC).timestamp()


def test_while_the_market_is_open_a_quote_is_of_now(sandbox: Sandbox) -> None:
    sandbox.freeze(IN_SESSION)
    assert get(sandbox, "/quote", symbol="META")["t"] == IN_SESSION.timestamp()
    assert get(sandbox, "/stock/market-status", exchange="US")["isOpen"] is True


@pytest.mark.parametrize("symbol", ["NOSUCH", "BTC", "FB"])
def test_nobody_has_a_quote_of_zeros_and_empty_figures(sandbox: Sandbox, symbol: str) -> None:
    assert get(sandbox, "/quote", symbol=symbol) == {
        "c": 0, "d": None, "dp": None, "h": 0, "l": 0, "o": 0, "pc": 0, "t": 0,
    }  # fmt: skip
    assert get(sandbox, "/stock/metric", symbol=symbol, metric="all")["metric"] == {}
    assert get(sandbox, "/company-news", **{"symbol": symbol, "from": "2026-06-01", "to": "2026-06-02"}) == []


def test_candles_are_for_customers(sandbox: Sandbox) -> None:
    first, last = datetime(2018, 2, 1, tzinfo=UTC), datetime(2018, 2, 8, tzinfo=UTC)
    refused = candles(sandbox, first, last)
    assert (refused.status_code, refused.json()) == (403, {"error": "You don't have access to this resource."})
    sandbox.declare_key("finnhub", KEY, plan="paid")
    bars = candles(sandbox, first, last).json()
    recording = recorded_daily("IBM")
    assert bars["s"] == "ok"
    assert bars["c"] == recording.close[-5:].tolist()
    assert bars["v"] == recording.volume[-5:].tolist()
    newest = datetime.fromtimestamp(bars["t"][-1], ZoneInfo("America/New_York"))
    assert newest.isoformat() == "2018-02-07T00:00:00-05:00"
    assert candles(sandbox, last, first).json() == {"s": "no_data"}
    assert candles(sandbox, first, last, symbol="NOSUCH").json() == {"s": "no_data"}
    assert candles(sandbox, first, last, resolution="W").status_code == 501


def test_figures_follow_the_price_and_are_in_millions(sandbox: Sandbox) -> None:
    sandbox.freeze(IN_SESSION)
    quote, metric = get(sandbox, "/quote", symbol="AAPL"), get(sandbox, "/stock/metric", symbol="AAPL", metric="all")
    overview = fresh(sandbox, "alpha_vantage", "/query", function="OVERVIEW", symbol="AAPL").json()
    value = int(overview["SharesOutstanding"]) * quote["c"] / 1e6
    assert metric["metric"]["marketCapitalization"] == pytest.approx(value, rel=1e-6)
    assert metric["metric"]["52WeekHigh"] >= quote["h"]
    assert metric["series"]["annual"]["netMargin"][0]["period"] == "2026-03-31"
    assert float(overview["EPS"]) == metric["metric"]["epsTTM"]


def test_company_news_come_at_once_newest_first_and_some_twice(sandbox: Sandbox) -> None:
    sandbox.freeze(IN_SESSION)
    rows = get(sandbox, "/company-news", **{"symbol": "META", "from": "2026-01-01", "to": "2026-06-12"})
    assert [row["datetime"] for row in rows] == sorted((row["datetime"] for row in rows), reverse=True)
    assert {row["related"] for row in rows} == {"META"}
    addresses = [row["url"] for row in rows]
    assert 0 < len(addresses) - len(set(addresses)) < len(addresses) / 5
    assert "" in {row["image"] for row in rows}
    assert max(row["datetime"] for row in rows) <= IN_SESSION.timestamp()


def test_a_free_key_sees_one_year_of_news(sandbox: Sandbox) -> None:
    sandbox.freeze(IN_SESSION)
    span: dict[str, Any] = {"symbol": "IBM", "from": "2024-01-01", "to": "2026-06-12"}
    oldest = get(sandbox, "/company-news", **span)[-1]["datetime"]
    assert oldest >= IN_SESSION.timestamp() - 365 * 86_400
    sandbox.declare_key("finnhub", KEY, plan="paid")
    assert ask(sandbox, "finnhub", "/api/v1/company-news", **span).json()[-1]["datetime"] < oldest


def test_every_answer_tells_the_minutes_budget(sandbox: Sandbox) -> None:
    for _ in range(3):
        key, minute = fresh_key(), time.time() // 60
        answers = [ask(sandbox, "finnhub", key=key) for _ in range(4)]
        if time.time() // 60 == minute:
            break
    assert [answer.headers["X-Ratelimit-Remaining"] for answer in answers] == ["59", "58", "57", "56"]
    assert {answer.headers["X-Ratelimit-Limit"] for answer in answers} == {"60"}
    assert {answer.headers["X-Ratelimit-Reset"] for answer in answers} == {str(int(minute + 1) * 60)}


def test_missing_and_wrong_parameters_are_refused(sandbox: Sandbox) -> None:
    for path, params in (
        ("/quote", {}),
        ("/company-news", {"symbol": "IBM", "from": "soon", "to": "2026-01-01"}),
        ("/stock/market-status", {"exchange": "MARS"}),
    ):
        assert fresh(sandbox, "finnhub", f"/api/v1{path}", **params).status_code == 422
