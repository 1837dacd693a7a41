"""The sandbox speaks Twelve Data's wire format: one bare, several by name, a credit each, errors among the answers."""

import time
from datetime import UTC, datetime
from typing import Any

import pytest

from financehub_dagster.sandbox.client import Sandbox
from financehub_dagster.sandbox.market.recordings import recorded_daily, recorded_intraday
from financehub_dagster_tests.contracts.sandbox.sandbox_calls import KEY, ask, fresh, fresh_key

RECORDED = datetime(2018, 2, 7, 23, 0, tzinfo=UTC)
IN_SESSION = datetime(2026, 6, 12, 16, 0, tzinfo=UTC)


def get(box: Sandbox, path: str, **params: Any) -> Any:
    return fresh(box, "twelve_data", path, **params).json()


def test_one_symbol_is_answered_bare_with_thirty_strings_of_bars_newest_first(sandbox: Sandbox) -> None:
    sandbox.freeze(RECORDED)
    answer = get(sandbox, "/time_series", symbol="IBM", interval="1day")
    recording = recorded_daily("IBM")
    assert answer["meta"] == {
        "symbol": "IBM",
        "interval": "1day",
        "currency": "USD",
        "exchange_timezone": "America/New_York",
        "exchange": "NYSE",
        "mic_code": "XNYS",
        "type": "Common Stock",
    }
    assert answer["status"] == "ok"
    assert [row["datetime"] for row in answer["values"]] == recording.date[-30:][::-1].astype(str).tolist()
    newest = answer["values"][0]
    assert newest["close"] == f"{recording.close[-1]:.5f}"
    assert newest["volume"] == str(int(recording.volume[-1]))


def test_several_are_answered_by_name_with_the_errors_among_them(sandbox: Sandbox) -> None:
    sandbox.freeze(RECORDED)
    answer = fresh(sandbox, "twelve_data", "/time_series", symbol="IBM,NOSUCH,KO", interval="1day", outputsize="1")
    assert answer.status_code == 200
    members = answer.json()
    assert list(members) == ["IBM", "NOSUCH", "KO"]
    assert [member["status"] for member in members.values()] == ["ok", "error", "ok"]
    assert members["NOSUCH"]["code"] == 400
    assert members["NOSUCH"]["message"].startswith("**symbol** not found: NOSUCH.")
    assert members["IBM"] == get(sandbox, "/time_series", symbol="IBM", interval="1day", outputsize="1")
    assert list(get(sandbox, "/quote", symbol="IBM,KO")) == ["IBM", "KO"]


def test_an_unknown_symbol_alone_is_an_error_of_its_own(sandbox: Sandbox) -> None:
    for path in ("/time_series", "/quote"):
        answer = fresh(sandbox, "twelve_data", path, symbol="NOSUCH", interval="1day")
        assert (answer.status_code, answer.json()["code"], answer.json()["status"]) == (404, 404, "error")
        assert "**symbol** or **figi** parameter is missing or invalid" in answer.json()["message"]


def test_dates_choose_both_ends_and_an_empty_span_is_an_error(sandbox: Sandbox) -> None:
    sandbox.freeze(IN_SESSION)
    span = {"start_date": "2017-07-03", "end_date": "2017-07-07"}
    values = get(sandbox, "/time_series", symbol="IBM", interval="1day", order="asc", **span)["values"]
    assert [row["datetime"] for row in values] == [f"2017-07-0{day}" for day in (3, 5, 6, 7)]
    winter = {"start_date": "2017-01-03", "end_date": "2017-01-04"}
    assert len(get(sandbox, "/time_series", symbol="IBM", interval="1day", **winter, timezone="UTC")["values"]) == 2
    weekend = {"start_date": "2017-07-08", "end_date": "2017-07-09"}
    answer = fresh(sandbox, "twelve_data", "/time_series", symbol="IBM", interval="1day", **weekend)
    assert (answer.status_code, answer.json()["code"]) == (400, 400)
    assert answer.json()["message"].startswith("No data is available on the specified dates.")


def test_with_dates_the_whole_span_comes_up_to_five_thousand(sandbox: Sandbox) -> None:
    values = get(sandbox, "/time_series", symbol="IBM", interval="1day", start_date="2013-02-08")["values"]
    assert len(values) > 3000
    assert len(get(sandbox, "/time_series", symbol="IBM", interval="1day", outputsize="5000")["values"]) == len(values)


def test_cryptos_are_pairs_without_volume_and_in_utc(sandbox: Sandbox) -> None:
    sandbox.freeze(datetime(2026, 3, 7, 1, tzinfo=UTC))
    answer = get(sandbox, "/time_series", symbol="BTC/USD", interval="1day", outputsize="2")
    assert answer["meta"]["type"] == "Digital Currency"
    assert [row["datetime"] for row in answer["values"]] == ["2026-03-07", "2026-03-06"]
    assert list(answer["values"][0]) == ["datetime", "open", "high", "low", "close"]
    assert float(answer["values"][1]["close"]) == recorded_daily("BTC").close[-1]
    assert get(sandbox, "/quote", symbol="BTC")["code"] == 404
    assert sandbox.calls()["by_symbol"] == {"BTC": 2}


def test_recorded_minutes_are_labelled_in_the_asked_zone(sandbox: Sandbox) -> None:
    recording = next(each for each in recorded_intraday() if each.symbol == "SPY")
    last = datetime.fromtimestamp(int(recording.open_time[-1]), UTC)
    sandbox.freeze(datetime(2020, 12, 18, 23, 0, tzinfo=UTC))
    asked = {"symbol": "SPY", "interval": "1min", "outputsize": "1"}
    (local,) = get(sandbox, "/time_series", **asked)["values"]
    (utc,) = get(sandbox, "/time_series", **asked, timezone="UTC")["values"]
    assert local["datetime"] == "2020-12-18 16:00:00"
    assert utc["datetime"] == f"{last:%Y-%m-%d %H:%M:%S}"
    assert local["close"] == utc["close"] == f"{recording.close[-1]:.5f}"
    unknown = fresh(sandbox, "twelve_data", "/time_series", symbol="IBM", interval="1week")
    assert (unknown.status_code, unknown.json()["code"]) == (501, 501)


def test_a_quote_is_the_last_bar_beside_the_one_before(sandbox: Sandbox) -> None:
    sandbox.freeze(IN_SESSION)
    bars = get(sandbox, "/time_series", symbol="AAPL", interval="1day", outputsize="2")["values"]
    quote = get(sandbox, "/quote", symbol="AAPL")
    assert {name: quote[name] for name in ("open", "high", "low", "close", "volume", "datetime")} == bars[0]
    assert quote["previous_close"] == bars[1]["close"]
    assert quote["is_market_open"] is True
    assert float(quote["fifty_two_week"]["low"]) <= float(quote["close"]) <= float(quote["fifty_two_week"]["high"])


def test_credits_are_counted_by_symbol_and_told_on_every_answer(sandbox: Sandbox) -> None:
    for _ in range(3):
        key, minute = fresh_key(), time.time() // 60
        answers = [
            ask(sandbox, "twelve_data", "/quote", key, symbol="IBM,KO,PG,NOSUCH"),
            ask(sandbox, "twelve_data", "/quote", key, symbol="IBM"),
            ask(sandbox, "twelve_data", "/api_usage", key),
            ask(sandbox, "twelve_data", "/quote", key, symbol="IBM,KO,PG"),
        ]
        if time.time() // 60 == minute:
            break
    told = [(answer.headers["api-credits-used"], answer.headers["api-credits-left"]) for answer in answers]
    assert told == [("4", "4"), ("5", "3"), ("6", "2"), ("9", "0")]
    usage = answers[2].json()
    assert (usage["current_usage"], usage["plan_limit"], usage["daily_usage"], usage["plan_daily_limit"]) == (
        6,
        8,
        6,
        800,
    )
    assert usage["plan_category"] == "basic"
    refused = answers[3].json()
    assert (answers[3].status_code, refused["code"]) == (429, 429)
    assert "9 API credits were used, with the current limit being 8" in refused["message"]


def test_a_batch_above_the_minutes_credits_never_succeeds(sandbox: Sandbox) -> None:
    assert fresh(sandbox, "twelve_data", "/quote", symbol="IBM,KO,PG,GE,BA,T,VZ,MCD,HD").status_code == 429
    sandbox.declare_key("twelve_data", KEY, plan="paid")
    assert ask(sandbox, "twelve_data", "/quote", symbol="IBM,KO,PG,GE,BA,T,VZ,MCD,HD").status_code == 200
    assert ask(sandbox, "twelve_data", "/quote", symbol=",".join(["IBM"] * 121)).json()["code"] == 414


def test_a_spent_day_says_so(sandbox: Sandbox) -> None:
    sandbox.limit("twelve_data", 0, 86_400)
    assert "run out of API credits for the day" in ask(sandbox, "twelve_data").json()["message"]


def test_statistics_are_for_customers_and_cost_fifty(sandbox: Sandbox) -> None:
    refused = ask(sandbox, "twelve_data", "/statistics", symbol="AAPL")
    assert (refused.status_code, refused.json()["code"]) == (403, 403)
    assert refused.headers["api-credits-used"] == "0"
    sandbox.declare_key("twelve_data", KEY, plan="paid")
    answer = ask(sandbox, "twelve_data", "/statistics", symbol="AAPL")
    figures = answer.json()["statistics"]
    assert answer.headers["api-credits-used"] == "50"
    price = float(get(sandbox, "/quote", symbol="AAPL")["close"])
    assert figures["valuations_metrics"]["market_capitalization"] == pytest.approx(
        price * figures["stock_statistics"]["shares_outstanding"], rel=1e-9
    )


@pytest.mark.parametrize(
    "params",
    [
        {"interval": "7min"},
        {"outputsize": "5001"},
        {"timezone": "Moon/Crater"},
        {"start_date": "yesterday"},
        {"symbol": ""},
    ],
)
def test_wrong_parameters_are_errors_with_a_message(sandbox: Sandbox, params: dict[str, str]) -> None:
    answer = fresh(sandbox, "twelve_data", "/time_series", **{"symbol": "IBM", "interval": "1day", **params})
    assert (answer.status_code, answer.json()["code"], answer.json()["status"]) == (400, 400, "error")
