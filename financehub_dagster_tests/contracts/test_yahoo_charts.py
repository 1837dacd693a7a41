"""What becomes of Yahoo's charts, recorded ones and ones with every known quirk, through yfinance over HTTP."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import numpy as np
import pytest

from financehub_dagster.gateway.errors import BadRequest, BurstLimit, Malformed, Transient, UnknownSymbol
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.providers.base import DailyBars
from financehub_dagster.providers.yahoo.provider import YahooProvider
from financehub_dagster_tests.contracts.charts import CLOSES, NEW_YORK, OPENS, at, chart, http_date, weekdays
from financehub_dagster_tests.contracts.scripted import RECORDED, Answer, ScriptedVendor, scripted_vendor

pytestmark = pytest.mark.usefixtures("shared_database")

SPAN = (date(2015, 1, 1), date(2015, 12, 31))
DAYS = weekdays(date(2024, 3, 4), 5)
AAPL = Instrument("AAPL", "Apple", AssetType.STOCK, "XNAS", "USD", "America/New_York")


@pytest.fixture
def vendor() -> Iterator[ScriptedVendor]:
    with scripted_vendor(Answer({})) as vendor:
        yield vendor


def provider(vendor: ScriptedVendor) -> YahooProvider:
    return YahooProvider(requests_per_second=1000, first_pause=0.001, base_url=vendor.url)


def fetch(vendor: ScriptedVendor, body: Any, instrument: Instrument = AAPL, **headers: str) -> DailyBars:
    vendor.will_answer(Answer(body, headers=headers))
    return provider(vendor).daily_bars(instrument, date(2000, 1, 1), date(2030, 1, 1))


def days(answer: DailyBars) -> list[date]:
    return [day.date() for day in answer.bars["date"]]


def test_recorded_charts_keep_every_digit_and_are_labelled_by_their_session(vendor: ScriptedVendor) -> None:
    answer = fetch(vendor, RECORDED["AAPL-2020-01-01-to-2020-01-03"])
    assert days(answer) == [date(2020, 1, 2)]
    assert answer.bars.iloc[0, 1:].tolist() == [74.06, 75.15, 73.7975, 75.0875, 72.71606, 135480400.0]


@pytest.mark.parametrize(
    ("name", "symbol", "timezone", "currency", "expected"),
    [
        ("BTC-USD-2020-01-01-to-2020-01-03", "BTC-USD", "UTC", "USD", ["2020-01-01", "2020-01-02", "2020-01-03"]),
        ("AZT.OL-2020-01-01-to-2020-01-03", "AZT.OL", "Europe/Oslo", "NOK", ["2020-01-02"]),
        (
            "EURUSD=X-2020-01-01-to-2020-01-03",
            "EURUSD=X",
            "Europe/London",
            "USD",
            ["2020-01-01", "2020-01-02", "2020-01-03"],
        ),
        ("GC=F-2020-01-01-to-2020-01-03", "GC=F", "America/New_York", "USD", ["2020-01-02"]),
        ("QQQ-2020-01-01-to-2020-01-03", "QQQ", "America/New_York", "USD", ["2020-01-02"]),
        ("WSKT.JK-2020-01-01-to-2020-01-03", "WSKT.JK", "Asia/Jakarta", "IDR", ["2020-01-02"]),
        ("0P0000XTS7-2024-09-12-to-2024-09-16", "0P0000XTS7", "America/New_York", "USD", ["2024-09-12", "2024-09-13"]),
    ],
)
def test_recorded_charts_of_every_kind_are_read(
    vendor: ScriptedVendor, name: str, symbol: str, timezone: str, currency: str, expected: list[str]
) -> None:
    instrument = Instrument(symbol, symbol, AssetType.INDEX, "XXXX", currency, timezone)
    answer = fetch(vendor, RECORDED[name], instrument)
    assert [day.isoformat() for day in days(answer)] == expected
    assert np.isfinite(answer.bars["close"]).all()


def test_a_year_of_recorded_bars_comes_with_its_dividends(vendor: ScriptedVendor) -> None:
    msft = Instrument("MSFT", "Microsoft", AssetType.STOCK, "XNAS", "USD", "America/New_York")
    answer = fetch(vendor, RECORDED["MSFT-dividends-2021-02-01-to-2022-01-31"], msft)
    assert len(answer.bars) == 252
    assert answer.bars.loc[0, "open"] == 235.06
    assert answer.actions["kind"].tolist() == ["dividend"] * 4
    assert answer.actions["value"].tolist() == [0.56, 0.56, 0.56, 0.62]
    assert [day.date().isoformat() for day in answer.actions["date"]] == [
        "2021-02-17", "2021-05-19", "2021-08-18", "2021-11-17",
    ]  # fmt: skip


def test_pence_become_pounds(vendor: ScriptedVendor) -> None:
    ocado = Instrument("OCDO", "Ocado", AssetType.STOCK, "XLON", "GBP", "Europe/London", aliases={"yahoo": "OCDO.L"})
    answer = fetch(vendor, RECORDED["OCDO.L-2020-01-01-to-2020-01-03"], ocado)
    recorded = RECORDED["OCDO.L-2020-01-01-to-2020-01-03"]["chart"]["result"][0]["indicators"]["quote"][0]
    assert answer.symbol == "OCDO"
    assert answer.bars.loc[0, "close"] == pytest.approx(recorded["close"][0] / 100)
    assert answer.bars.loc[0, "volume"] == recorded["volume"][0]


def test_a_symbol_quoted_in_another_currency_is_refused_with_the_remedy(vendor: ScriptedVendor) -> None:
    with pytest.raises(BadRequest, match="AAPL: is quoted in EUR, not in USD: correct the instrument's currency"):
        fetch(vendor, chart(DAYS, currency="EUR"))


def test_a_symbol_that_was_given_up_for_another_is_unknown_at_once_and_says_the_new_one(vendor: ScriptedVendor) -> None:
    with pytest.raises(
        UnknownSymbol, match="AAPL: Yahoo calls it METANEW now: `financehub instruments rename AAPL METANEW`"
    ):
        fetch(vendor, chart(DAYS, symbol="METANEW"))
    assert len(vendor.asked) == 1


@pytest.mark.parametrize("symbol", [None, "", 7])
def test_a_chart_that_does_not_say_its_symbol_is_no_renamed_instrument(vendor: ScriptedVendor, symbol: Any) -> None:
    with pytest.raises(Malformed, match="AAPL: its meta has no symbol"):
        fetch(vendor, chart(DAYS, symbol=symbol))


@pytest.mark.parametrize("empty", ["chart-AAPL-2025-02-01-to-2025-02-02-includePrePost-false-interval-1m"])
def test_no_bars_is_an_answer_and_not_an_error(vendor: ScriptedVendor, empty: str) -> None:
    answer = fetch(vendor, RECORDED[empty])
    assert answer.bars.empty
    assert answer.actions.empty
    assert answer.calls == 1
    assert list(answer.bars.columns) == ["date", "open", "high", "low", "close", "adj_close", "volume"]


def test_a_range_before_the_first_trade_is_empty_and_costs_one_request(vendor: ScriptedVendor) -> None:
    words = "Data doesn't exist for startDate = 1262322000, endDate = 1293858000"
    body = {"chart": {"result": None, "error": {"code": "Bad Request", "description": words}}}
    vendor.will_answer(Answer(body, 400))
    answer = provider(vendor).daily_bars(AAPL, date(2010, 1, 1), date(2010, 12, 31))
    assert answer.bars.empty
    assert len(vendor.asked) == answer.calls == 1


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (422, "Unprocessable Entity", "The requested range must be within the last 60 days."),
        (400, "Bad Request", "Invalid input - start date cannot be after end date."),
    ],
)
def test_an_impossible_question_is_refused_once_in_yahoos_words(
    vendor: ScriptedVendor, status: int, code: str, words: str
) -> None:
    vendor.will_answer(Answer({"chart": {"result": None, "error": {"code": code, "description": words}}}, status))
    with pytest.raises(BadRequest, match=f"AAPL: {code}: {words}"):
        provider(vendor).daily_bars(AAPL, *SPAN)
    assert len(vendor.asked) == 1


@pytest.mark.parametrize(
    ("status", "error"), [(404, Transient), (400, Transient), (999, BurstLimit)], ids=["404", "400", "999"]
)
def test_html_from_a_proxy_says_nothing_about_the_symbol(
    vendor: ScriptedVendor, status: int, error: type[Exception]
) -> None:
    vendor.will_answer(Answer(b"<html><h1>Not here</h1></html>", status))
    with pytest.raises(error):
        provider(vendor).daily_bars(AAPL, *SPAN)
    assert len(vendor.asked) == 4


def test_an_error_inside_a_200_is_an_error(vendor: ScriptedVendor) -> None:
    said = {"code": "Not Found", "description": "No data found, symbol may be delisted"}
    with pytest.raises(UnknownSymbol):
        fetch(vendor, {"chart": {"result": None, "error": said}})
    assert len(vendor.asked) == 1


@pytest.mark.parametrize("fake", ["chart-notimestamp-quotes-length.fake", "chart-notimestamp-weird-quote.fake"])
def test_prices_without_times_are_malformed(vendor: ScriptedVendor, fake: str) -> None:
    with pytest.raises(Malformed, match="prices without times"):
        fetch(vendor, RECORDED[fake])


def test_columns_of_different_length_are_malformed(vendor: ScriptedVendor) -> None:
    with pytest.raises(Malformed, match=r"different length \(5 timestamps\)"):
        fetch(vendor, chart(DAYS, close=[1.0, 2.0]))


@pytest.mark.parametrize("field", ["dataGranularity", "exchangeTimezoneName", "regularMarketTime"])
def test_a_chart_that_does_not_say_what_it_is_about_is_malformed(vendor: ScriptedVendor, field: str) -> None:
    body = chart(DAYS)
    body["chart"]["result"][0]["meta"][field] = None
    with pytest.raises(Malformed, match=f"its meta has no {field}"):
        fetch(vendor, body)


@pytest.mark.parametrize(
    "body", [{"chart": {"result": [], "error": None}}, {"chart": None}, [], {"quoteResponse": {}}, 7]
)
def test_json_that_is_no_chart_is_malformed(vendor: ScriptedVendor, body: Any) -> None:
    with pytest.raises(Malformed):
        fetch(vendor, body)


def test_rows_with_a_missing_price_are_left_out_and_the_others_stay(vendor: ScriptedVendor) -> None:
    answer = fetch(vendor, chart(DAYS, close=[11.0, None, 13.0, 14.0, 15.0], high=[12.0, 13.0, None, 15.0, 16.0]))
    assert days(answer) == [DAYS[0], DAYS[3], DAYS[4]]


def test_a_row_of_nothing_but_nulls_is_left_out(vendor: ScriptedVendor) -> None:
    nothing: dict[str, Any] = {
        name: [1.0, None, 1.0, 1.0, 1.0] for name in ("open", "high", "low", "close", "volume", "adjclose")
    }
    assert days(fetch(vendor, chart(DAYS, **nothing))) == [DAYS[0], *DAYS[2:]]


def test_a_missing_adjusted_close_does_not_cost_the_bar(vendor: ScriptedVendor) -> None:
    answer = fetch(vendor, chart(DAYS, adjclose=[1.0, None, 1.0, 1.0, 1.0]))
    assert days(answer) == DAYS
    assert answer.bars["adj_close"].isna().tolist() == [False, True, False, False, False]


def test_rows_out_of_order_are_put_in_order(vendor: ScriptedVendor) -> None:
    order = [3, 0, 4, 1, 2]
    answer = fetch(vendor, chart([DAYS[i] for i in order], period=(at(DAYS[-1], OPENS), at(DAYS[-1], CLOSES))))
    assert days(answer) == DAYS
    assert answer.bars["open"].tolist() == [10.0 + order.index(i) for i in range(5)]


def test_a_session_sent_twice_is_one_bar(vendor: ScriptedVendor) -> None:
    assert days(fetch(vendor, chart([DAYS[0], DAYS[1], DAYS[1], DAYS[2]]))) == DAYS[:3]


def test_the_live_row_of_a_closed_session_replaces_its_twin(vendor: ScriptedVendor) -> None:
    twice = [*DAYS, DAYS[-1]]
    stamps = [*(at(day, OPENS) for day in DAYS), at(DAYS[-1], time(16, 0, 1))]
    answer = fetch(vendor, chart(twice, stamps=stamps))
    assert days(answer) == DAYS
    assert answer.bars["close"].tolist()[-1] == 16.0


@pytest.mark.parametrize(
    ("clock", "last_trade", "kept"),
    [
        (time(15, 59), time(15, 58), False),
        (time(16, 10), time(15, 55), False),
        (time(16, 20), time(16, 0, 1), True),
        (time(17, 30), time(14, 12), True),
    ],
    ids=["running", "closed but delayed", "closed", "closed and thinly traded"],
)
def test_a_session_counts_only_once_it_is_over(
    vendor: ScriptedVendor, clock: time, last_trade: time, kept: bool
) -> None:
    today = DAYS[-1]
    body = chart(DAYS, last_trade=datetime.combine(today, last_trade, NEW_YORK))
    answer = fetch(vendor, body, Date=http_date(datetime.combine(today, clock, NEW_YORK)))
    assert days(answer) == (DAYS if kept else DAYS[:-1])


def test_an_early_close_is_believed(vendor: ScriptedVendor) -> None:
    today = DAYS[-1]
    early = (at(today, OPENS), at(today, time(13)))
    body = chart(DAYS, period=early, last_trade=datetime.combine(today, time(13, 0, 1), NEW_YORK))
    answer = fetch(vendor, body, Date=http_date(datetime.combine(today, time(13, 20), NEW_YORK)))
    assert days(answer) == DAYS


def test_before_the_open_yesterday_is_finished(vendor: ScriptedVendor) -> None:
    yesterday, today = DAYS[-2], DAYS[-1]
    body = chart(
        DAYS[:-1],
        period=(at(today, OPENS), at(today, CLOSES)),
        last_trade=datetime.combine(yesterday, time(16, 0, 1), NEW_YORK),
    )
    answer = fetch(vendor, body, Date=http_date(datetime.combine(today, time(8), NEW_YORK)))
    assert days(answer) == DAYS[:-1]


def test_dividends_splits_and_capital_gains_are_told_apart(vendor: ScriptedVendor) -> None:
    stamp = [at(day, OPENS) for day in DAYS]
    events = {
        "dividends": {str(stamp[1]): {"amount": 0.205, "date": stamp[1]}},
        "splits": {str(stamp[2]): {"date": stamp[2], "numerator": 3, "denominator": 2, "splitRatio": "3:2"}},
        "capitalGains": {str(stamp[3]): {"amount": 1.25, "date": stamp[3]}},
    }
    answer = fetch(vendor, chart(DAYS, events=events, instrument_type="ETF"))
    assert [day.date() for day in answer.actions["date"]] == DAYS[1:4]
    assert answer.actions["kind"].tolist() == ["dividend", "split", "capital_gain"]
    assert answer.actions["value"].tolist() == [0.205, 1.5, 1.25]
    assert days(answer) == DAYS


def test_an_action_on_a_day_without_a_session_is_that_of_the_next_one(vendor: ScriptedVendor) -> None:
    """Friday's price is still one before the split and the payment; what two days bring to one session is one."""
    fortnight = weekdays(DAYS[0], 10)
    monday = fortnight[5]
    saturday, sunday, later = (at(day, OPENS) for day in (date(2024, 3, 9), date(2024, 3, 10), date(2024, 3, 16)))
    events = {
        "dividends": {
            str(stamp): {"amount": amount, "date": stamp}
            for stamp, amount in ((sunday, 0.25), (at(monday, OPENS), 0.5), (later, 1.0))
        },
        "splits": {str(saturday): {"date": saturday, "numerator": 2, "denominator": 1, "splitRatio": "2:1"}},
    }
    told = fetch(vendor, chart(fortnight, events=events)).actions
    assert list(zip(told["date"].dt.date, told["kind"], told["value"], strict=True)) == [
        (monday, "dividend", 0.75),
        (monday, "split", 2.0),
        (date(2024, 3, 16), "dividend", 1.0),
    ]


def test_raw_and_adjusted_close_are_both_kept(vendor: ScriptedVendor) -> None:
    answer = fetch(vendor, chart(DAYS, adjclose=[10.5, 11.5, 12.5, 13.5, 14.5]))
    assert answer.bars["close"].tolist() == [11.0, 12.0, 13.0, 14.0, 15.0]
    assert answer.bars["adj_close"].tolist() == [10.5, 11.5, 12.5, 13.5, 14.5]


def test_float32_prices_come_back_as_the_decimals_they_were(vendor: ScriptedVendor) -> None:
    printed = [float(np.float32(price)) for price in (239.65, 13.237, 0.0001234, 4100.01, 1.1)]
    assert fetch(vendor, chart(DAYS, close=printed)).bars["close"].tolist() == [239.65, 13.237, 0.0001234, 4100.01, 1.1]


def test_prices_that_are_no_float32_are_left_alone(vendor: ScriptedVendor) -> None:
    exact = [239.65, 13.2371234567, 123456.789012, 4100.01, 1.1]
    assert fetch(vendor, chart(DAYS, close=exact)).bars["close"].tolist() == exact


def test_only_the_days_asked_for_come_back(vendor: ScriptedVendor) -> None:
    vendor.will_answer(Answer(chart(DAYS)))
    answer = provider(vendor).daily_bars(AAPL, DAYS[1], DAYS[2])
    assert days(answer) == DAYS[1:3]
    period = (vendor.asked[0].query["period1"], vendor.asked[0].query["period2"])
    assert period == (str(at(DAYS[1], time(0))), str(at(DAYS[2] + timedelta(days=1), time(0))))
    assert answer.fetched_at.tzinfo is UTC
