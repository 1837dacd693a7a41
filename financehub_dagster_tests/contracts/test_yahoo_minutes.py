"""Yahoo's charts of minutes: which rows are bars, which are Yahoo's own additions, and what is refused."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from financehub_dagster.gateway.errors import BadRequest, Malformed, UnknownSymbol
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.providers.base import IntradayBars
from financehub_dagster.providers.yahoo.provider import YahooProvider
from financehub_dagster_tests.contracts.charts import http_date
from financehub_dagster_tests.contracts.scripted import RECORDED, Answer, ScriptedVendor, scripted_vendor

pytestmark = pytest.mark.usefixtures("books")

AAPL = Instrument("AAPL", "Apple Inc.", AssetType.STOCK, "XNAS", "USD", "America/New_York")
TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
FRIDAY = TODAY - timedelta(days=(TODAY.weekday() - 4) % 7 or 7)
"""A day within the thirty that Yahoo keeps; whether it was a holiday does not matter to Yahoo's own words."""
NOON = FRIDAY.replace(hour=16)


@pytest.fixture
def vendor() -> Iterator[ScriptedVendor]:
    with scripted_vendor(Answer({})) as vendor:
        yield vendor


def chart(offsets: list[int], *, traded: int | None = None, **changes: Any) -> dict[str, Any]:
    """Bars so many seconds after noon, the n-th of which is 10+n, 12+n, 9+n, 11+n; the session ends an hour later."""
    n, at = range(len(offsets)), int(NOON.timestamp())
    quote = {
        "open": [10.0 + i for i in n],
        "high": [12.0 + i for i in n],
        "low": [9.0 + i for i in n],
        "close": [11.0 + i for i in n],
        "volume": [1000 + i for i in n],
    } | {name: value for name, value in changes.items() if name in ("open", "high", "low", "close", "volume")}
    period = {"timezone": "EST", "gmtoffset": -18000, "start": at - 9000, "end": at + 3600}
    meta = {
        "currency": "USD",
        "symbol": "AAPL",
        "instrumentType": "EQUITY",
        "exchangeTimezoneName": "America/New_York",
        "timezone": "EST",
        "gmtoffset": -18000,
        "regularMarketTime": at + (offsets[-1] if traded is None else traded),
        "dataGranularity": "1m",
        "currentTradingPeriod": dict.fromkeys(("pre", "regular", "post"), period),
        "tradingPeriods": [[period]],
    } | changes.get("meta", {})
    result = {"meta": meta, "timestamp": [at + offset for offset in offsets], "indicators": {"quote": [quote]}}
    return {"chart": {"result": [result], "error": None}}


def ask(vendor: ScriptedVendor, body: Any, now: int = 7200, of: Instrument = AAPL) -> IntradayBars:
    """What the minutes of the hour from noon on are, so many seconds after noon."""
    date = http_date(NOON + timedelta(seconds=now))
    vendor.will_answer(Answer(body, headers={"Date": date}))
    provider = YahooProvider(base_url=vendor.url, requests_per_second=1000, first_pause=0.001, breaker_threshold=1000)
    return provider.intraday_bars(of, 1, NOON, NOON + timedelta(hours=1))


def minutes(answer: IntradayBars) -> list[int]:
    return [(at.replace(tzinfo=UTC) - NOON) // timedelta(minutes=1) for at in answer.bars["ts"].tolist()]


def test_the_question_is_about_regular_hours_of_one_range(vendor: ScriptedVendor) -> None:
    ask(vendor, chart([0]))
    asked = vendor.asked[0].query
    at = int(NOON.timestamp())
    assert (asked["interval"], asked["includePrePost"]) == ("1m", "false")
    assert (asked["period1"], asked["period2"]) == (str(at), str(at + 3599))


def test_the_row_of_the_running_minute_is_no_bar_and_confirms_the_ones_before(vendor: ScriptedVendor) -> None:
    answer = ask(vendor, chart([0, 60, 147]), now=150)
    assert minutes(answer) == [0, 1]
    assert answer.complete_to == NOON + timedelta(minutes=2)


def test_a_row_at_a_trades_second_is_not_taken_for_its_minute_which_stays_unconfirmed(vendor: ScriptedVendor) -> None:
    answer = ask(vendor, chart([0, 60, 147]), now=200)
    assert minutes(answer) == [0, 1]
    assert answer.complete_to == NOON + timedelta(minutes=2)
    assert ask(vendor, chart([0, 60]), now=200 + 1200).complete_to == NOON + timedelta(minutes=3)


def test_the_last_trade_confirms_minutes_without_a_bar(vendor: ScriptedVendor) -> None:
    answer = ask(vendor, chart([0], traded=605), now=610)
    assert (minutes(answer), answer.complete_to) == ([0], NOON + timedelta(minutes=10))


def test_the_bar_at_the_close_by_yahoos_own_words_is_none(vendor: ScriptedVendor) -> None:
    end = int(NOON.timestamp()) + 1800
    early = {"start": end - 9000, "end": end}
    answer = ask(vendor, chart([0, 1740, 1800], meta={"tradingPeriods": [[early]]}))
    assert minutes(answer) == [0, 29]


def test_nulls_are_no_bar_and_nonsense_is_one_without_the_number(vendor: ScriptedVendor) -> None:
    answer = ask(vendor, chart([0, 60, 120], close=[None, 12.0, "n/a"], volume=[1, None, 3]))
    assert minutes(answer) == [1, 2]
    assert answer.bars["close"].isna().tolist() == [False, True]
    assert answer.bars["volume"].tolist()[0] == 0.0


def test_float32_prices_come_as_their_decimals_and_pence_as_pounds(vendor: ScriptedVendor) -> None:
    spoiled = [239.64999389648438]
    answer = ask(vendor, chart([0], open=spoiled, high=spoiled, low=spoiled, close=spoiled))
    assert answer.bars["close"].tolist() == [239.65]
    in_pence = replace(AAPL, currency="GBP")
    answer = ask(vendor, chart([0], close=spoiled, meta={"currency": "GBp"}), of=in_pence)
    assert answer.bars["close"].tolist() == [2.3965]


def test_repeated_and_disordered_rows_are_one_bar_each(vendor: ScriptedVendor) -> None:
    answer = ask(vendor, chart([60, 0, 60]))
    assert (minutes(answer), answer.bars["close"].tolist()) == ([0, 1], [12.0, 13.0])


def test_the_latest_price_appended_to_an_earlier_range_is_left_out(vendor: ScriptedVendor) -> None:
    assert minutes(ask(vendor, chart([0, 60, 7133], traded=7133), now=7140)) == [0, 1]


def test_an_answer_without_bars_is_one(vendor: ScriptedVendor) -> None:
    answer = ask(vendor, RECORDED["chart-AAPL-2025-02-01-to-2025-02-02-includePrePost-false-interval-1m"])
    assert answer.bars.empty
    assert answer.complete_to == NOON + timedelta(hours=1)


@pytest.mark.parametrize(
    ("body", "error", "tries"),
    [
        (chart([0], meta={"dataGranularity": "5m"}), Malformed, 1),
        (chart([0], meta={"symbol": "MSFT"}), UnknownSymbol, 1),
        (chart([0], meta={"currency": "EUR"}), BadRequest, 1),
        (chart([0], meta={"instrumentType": "CRYPTOCURRENCY"}), BadRequest, 1),
        (chart([0], meta={"exchangeTimezoneName": "Asia/Tokyo", "gmtoffset": 32400}), BadRequest, 1),
        (chart([-864000 + 60 * n for n in range(10)]), Malformed, 1),
        (chart([7 * n for n in range(30)]), Malformed, 1),
        (chart([0, 60], open=[1.0]), Malformed, 4),
        (chart([0], close=["NaN"]), Malformed, 4),
        (b"<html>", Malformed, 4),
    ],
    ids=["interval", "symbol", "currency", "kind", "zone", "range", "seconds", "ragged", "numbers", "html"],
)
def test_what_answers_another_question_is_refused(
    vendor: ScriptedVendor, body: Any, error: type[Exception], tries: int
) -> None:
    with pytest.raises(error):
        ask(vendor, body)
    assert len(vendor.asked) == tries


def test_a_recorded_chart_of_days_is_no_chart_of_minutes(vendor: ScriptedVendor) -> None:
    with pytest.raises(Malformed, match="asked for bars of 1m, got bars of 1d"):
        ask(vendor, RECORDED["AAPL-2020-01-01-to-2020-01-03"])
