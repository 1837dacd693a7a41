"""The sandbox speaks Alpha Vantage's wire format: strings, newest first, and errors that are successes."""

from datetime import UTC, date, datetime
from typing import Any

import pytest
import requests

from financehub_dagster.sandbox.client import Sandbox
from financehub_dagster.sandbox.market.recordings import recorded_daily, recorded_intraday
from financehub_dagster_tests.contracts.sandbox.sandbox_calls import KEY, ask, fresh

IN_SESSION = datetime(2026, 6, 12, 16, 0, tzinfo=UTC)
FRESHLY_RECORDED = datetime(2018, 2, 7, 23, 0, tzinfo=UTC)


SOME_STOCKS = ("ADBE", "AMD", "AMGN", "AVGO", "CAT", "COST", "CRM", "LLY", "MRK", "QCOM", "TXN", "UNH")


def splits(box: Sandbox, symbol: str) -> Any:
    return paid_query(box, "SPLITS", symbol=symbol)["data"]


def query(box: Sandbox, function: str, **params: Any) -> Any:
    answer = fresh(box, "alpha_vantage", "/query", function=function, **params)
    assert answer.status_code == 200
    return answer.json()


@pytest.fixture
def paid(sandbox: Sandbox) -> Sandbox:
    sandbox.declare_key("alpha_vantage", KEY, plan="paid")
    return sandbox


def paid_query(box: Sandbox, function: str, **params: Any) -> Any:
    return ask(box, "alpha_vantage", "/query", function=function, **params).json()


def test_daily_bars_are_the_last_hundred_recorded_ones_newest_first(sandbox: Sandbox) -> None:
    sandbox.freeze(FRESHLY_RECORDED)
    document = query(sandbox, "TIME_SERIES_DAILY", symbol="IBM")
    recording = recorded_daily("IBM")
    assert document["Meta Data"] == {
        "1. Information": "Daily Prices (open, high, low, close) and Volumes",
        "2. Symbol": "IBM",
        "3. Last Refreshed": "2018-02-07",
        "4. Output Size": "Compact",
        "5. Time Zone": "US/Eastern",
    }
    rows = document["Time Series (Daily)"]
    assert list(rows) == recording.date[-100:][::-1].astype(str).tolist()
    newest = rows["2018-02-07"]
    assert list(newest) == ["1. open", "2. high", "3. low", "4. close", "5. volume"]
    assert newest["4. close"] == f"{recording.close[-1]:.4f}"
    assert newest["5. volume"] == str(int(recording.volume[-1]))
    assert [float(row["1. open"]) for row in rows.values()] == recording.open[-100:][::-1].tolist()


def test_the_whole_history_is_for_customers_and_as_traded(paid: Sandbox) -> None:
    paid.freeze(datetime(2026, 6, 12, tzinfo=UTC))
    assert (
        "outputsize=full parameter value is a premium"
        in query(paid, "TIME_SERIES_DAILY", symbol="IBM", outputsize="full")["Information"]
    )
    symbol, split = next((name, found[0]) for name in SOME_STOCKS if (found := splits(paid, name)))
    day, ratio = split["effective_date"], float(split["split_factor"])
    adjusted = paid_query(paid, "TIME_SERIES_DAILY_ADJUSTED", symbol=symbol, outputsize="full")["Time Series (Daily)"]
    traded = paid_query(paid, "TIME_SERIES_DAILY", symbol=symbol, outputsize="full")["Time Series (Daily)"]
    before = max(each for each in traded if each < day)

    def taken_out(day: str) -> float:
        return float(traded[day]["4. close"]) / float(adjusted[day]["5. adjusted close"])

    assert taken_out(before) / taken_out(day) == pytest.approx(ratio, rel=1e-4)
    newest = max(traded)
    assert traded[newest]["4. close"] == adjusted[newest]["5. adjusted close"]
    paid_on = max(each for each in adjusted if float(adjusted[each]["7. dividend amount"]))
    before = max(each for each in traded if each < paid_on)
    kept = 1 - float(adjusted[paid_on]["7. dividend amount"]) / float(traded[before]["4. close"])
    assert taken_out(paid_on) / taken_out(before) == pytest.approx(kept, rel=1e-4)
    assert adjusted[day]["8. split coefficient"] == f"{ratio:.1f}"
    assert len(traded) > 3000


def test_recorded_minutes_come_back_by_their_start_at_the_exchange(sandbox: Sandbox) -> None:
    sandbox.freeze(datetime(2020, 12, 18, 23, 0, tzinfo=UTC))
    asked = {"function": "TIME_SERIES_INTRADAY", "symbol": "SPY", "interval": "1min"}
    with_evening = next(iter(query(sandbox, **asked)["Time Series (1min)"]))
    assert with_evening == "2020-12-18 18:00:00"
    document = query(sandbox, **asked, extended_hours="false")
    recording = next(each for each in recorded_intraday() if each.symbol == "SPY")
    rows = document["Time Series (1min)"]
    assert document["Meta Data"]["6. Time Zone"] == "US/Eastern"
    assert next(iter(rows)) == "2020-12-18 16:00:00"
    assert len(rows) == 100
    assert float(rows["2020-12-18 16:00:00"]["4. close"]) == recording.close[-1]


def test_a_quote_is_the_last_bar(sandbox: Sandbox) -> None:
    sandbox.freeze(IN_SESSION)
    bars = query(sandbox, "TIME_SERIES_DAILY", symbol="BRK.B")["Time Series (Daily)"]
    (today, bar), (_, before) = list(bars.items())[:2]
    quote = query(sandbox, "GLOBAL_QUOTE", symbol="BRK.B")["Global Quote"]
    assert (today, quote["07. latest trading day"]) == ("2026-06-12", "2026-06-12")
    assert quote["05. price"] == bar["4. close"]
    assert quote["06. volume"] == bar["5. volume"]
    assert quote["08. previous close"] == before["4. close"]
    assert quote["10. change percent"].endswith("%")


def test_an_overview_is_all_strings_with_none_and_dash_for_nothing(sandbox: Sandbox) -> None:
    sandbox.freeze(IN_SESSION)
    overviews = [query(sandbox, "OVERVIEW", symbol=symbol) for symbol in ("AAPL", "MSFT", "KO", "PG", "AMZN", "IBM")]
    assert {type(value) for each in overviews for value in each.values()} == {str}
    assert "None" in {each["DividendPerShare"] for each in overviews}
    assert any(float(each["DividendYield"]) > 0 for each in overviews if each["DividendYield"] != "None")
    assert {each["EVToEBITDA"] for each in overviews} == {"-"}
    price = query(sandbox, "GLOBAL_QUOTE", symbol="AAPL")["Global Quote"]["05. price"]
    shares, cap = int(overviews[0]["SharesOutstanding"]), int(overviews[0]["MarketCapitalization"])
    assert cap == pytest.approx(shares * float(price), rel=1e-9)
    assert overviews[0]["LatestQuarter"] == "2026-03-31"


@pytest.mark.parametrize(("function", "empty"), [("GLOBAL_QUOTE", {"Global Quote": {}}), ("OVERVIEW", {})])
def test_the_unknown_is_answered_with_nothing(sandbox: Sandbox, function: str, empty: dict[str, Any]) -> None:
    assert query(sandbox, function, symbol="NOSUCH") == empty


@pytest.mark.parametrize(
    "params",
    [
        {"function": "TIME_SERIES_DAILY", "symbol": "NOSUCH"},
        {"function": "TIME_SERIES_DAILY"},
        {"function": "TIME_SERIES_DAILY", "symbol": "BTC"},
        {"function": "TIME_SERIES_DAILY", "symbol": "IBM", "outputsize": "huge"},
        {"function": "TIME_SERIES_INTRADAY", "symbol": "IBM", "interval": "7min"},
        {"function": "SPLITS", "symbol": "NOSUCH"},
        {"function": "NEWS_SENTIMENT", "time_from": "20269999T9999"},
    ],
)
def test_unknown_symbols_and_wrong_parameters_cannot_be_told_apart(sandbox: Sandbox, params: dict[str, str]) -> None:
    words = query(sandbox, **params)["Error Message"]
    assert words.startswith("Invalid API call. Please retry or visit the documentation")
    assert words.endswith(f" for {params['function']}.")


def test_a_function_that_does_not_exist_is_said_not_to(sandbox: Sandbox) -> None:
    assert query(sandbox, "TIME_SERIES_HOURLY") == {
        "Error Message": "This API function (TIME_SERIES_HOURLY) does not exist."
    }


def test_the_texts_of_a_burst_and_of_a_spent_day_both_speak_of_the_day(sandbox: Sandbox) -> None:
    sandbox.limit("alpha_vantage", 0, 1)
    burst = ask(sandbox, "alpha_vantage").json()["Information"]
    assert "(1 request per second)" in burst
    assert "(25 requests per day)" in burst
    sandbox.limit("alpha_vantage", None)
    sandbox.limit("alpha_vantage", 0)
    day = ask(sandbox, "alpha_vantage").json()["Information"]
    assert day.startswith(
        f"We have detected your API key as {KEY} and our standard API rate limit is 0 requests per day"
    )
    assert "premium" in burst
    assert "premium" in day


def test_news_name_their_tickers_and_are_the_same_for_everybody(sandbox: Sandbox) -> None:
    sandbox.freeze(IN_SESSION)
    feed = query(sandbox, "NEWS_SENTIMENT", tickers="AAPL", limit="200")["feed"]
    assert feed
    assert all("AAPL" in [each["ticker"] for each in item["ticker_sentiment"]] for item in feed)
    assert [item["time_published"] for item in feed] == sorted((item["time_published"] for item in feed), reverse=True)
    assert feed == query(sandbox, "NEWS_SENTIMENT", tickers="AAPL", limit="200")["feed"]
    finnhub = fresh(
        sandbox, "finnhub", "/api/v1/company-news", **{"symbol": "AAPL", "from": "2026-06-05", "to": "2026-06-12"}
    )
    assert {item["url"] for item in feed} <= {item["url"] for item in finnhub.json()}
    assert query(sandbox, "NEWS_SENTIMENT", tickers="CRYPTO:BTC")["feed"]
    assert "Invalid inputs" in query(sandbox, "NEWS_SENTIMENT", tickers="NOSUCH")["Information"]


def test_a_bar_that_a_test_spoils_is_served_spoilt(sandbox: Sandbox) -> None:
    sandbox.freeze(FRESHLY_RECORDED)
    sandbox.set_bar("IBM", date(2018, 2, 6), close=None, high=1.0)
    row = query(sandbox, "TIME_SERIES_DAILY", symbol="IBM")["Time Series (Daily)"]["2018-02-06"]
    assert (row["4. close"], row["2. high"]) == ("nan", "1.0000")


def test_what_one_vendor_has_otherwise_no_other_has(sandbox: Sandbox) -> None:
    sandbox.freeze(FRESHLY_RECORDED)
    saturday = date(2018, 2, 3)
    sandbox.set_bar("IBM", date(2018, 2, 6), vendor="alpha_vantage", high=999.0)
    sandbox.set_bar("IBM", saturday, vendor="alpha_vantage", open=1.0, high=3.0, low=1.0, close=2.0, volume=4.0)
    sandbox.drop_bar("IBM", date(2018, 2, 5), vendor="alpha_vantage")
    rows = query(sandbox, "TIME_SERIES_DAILY", symbol="IBM")["Time Series (Daily)"]
    assert rows["2018-02-06"]["2. high"] == "999.0000"
    assert (rows["2018-02-03"]["4. close"], rows["2018-02-03"]["5. volume"]) == ("2.0000", "4")
    assert "2018-02-05" not in rows
    question = {"symbol": "IBM", "interval": "1day", "start_date": "2018-02-02", "end_date": "2018-02-06"}
    others = fresh(sandbox, "twelve_data", "/time_series", **question).json()["values"]
    days = [each["datetime"] for each in others]
    assert days == ["2018-02-06", "2018-02-05", "2018-02-02"]
    assert float(others[0]["high"]) != 999.0


def test_market_status_follows_the_clock(sandbox: Sandbox) -> None:
    for now, status in ((IN_SESSION, "open"), (datetime(2026, 6, 13, 16, 0, tzinfo=UTC), "closed")):
        sandbox.freeze(now)
        assert query(sandbox, "MARKET_STATUS")["markets"][0]["current_status"] == status


def test_where_the_numbers_come_from_is_said(sandbox: Sandbox) -> None:
    def origin() -> str:
        answer: requests.Response = fresh(
            sandbox, "alpha_vantage", "/query", function="TIME_SERIES_DAILY", symbol="IBM"
        )
        return answer.headers["X-FinanceHub-Sandbox"]

    assert origin() == "generated"
    sandbox.freeze(datetime(2018, 3, 1, tzinfo=UTC))
    assert origin() == "mixed"
    sandbox.freeze(FRESHLY_RECORDED)
    assert origin() == "recorded"
