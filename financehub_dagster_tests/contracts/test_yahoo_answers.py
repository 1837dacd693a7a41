"""What Yahoo says about its own answer is checked before a row is believed, and each row and action is judged alone."""

import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, time
from typing import Any

import pytest

from financehub_dagster.gateway.errors import BadRequest, Malformed, ProviderError, UnknownSymbol
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.providers.base import DailyBars
from financehub_dagster.providers.yahoo.provider import YahooProvider
from financehub_dagster_tests.contracts.charts import OPENS, at, chart, weekdays
from financehub_dagster_tests.contracts.scripted import Answer, ScriptedVendor, scripted_vendor

pytestmark = pytest.mark.usefixtures("shared_database")

DAYS = weekdays(date(2024, 3, 4), 5)
SPAN = (date(2024, 3, 1), date(2024, 3, 31))
AAPL = Instrument("AAPL", "Apple", AssetType.STOCK, "XNAS", "USD", "America/New_York")
PENCE = Instrument("PENCE.L", "Pence", AssetType.STOCK, "XLON", "GBP", "Europe/London")


@pytest.fixture(scope="module")
def vendor() -> Iterator[ScriptedVendor]:
    with scripted_vendor(Answer({})) as vendor:
        yield vendor


def fetch(vendor: ScriptedVendor, body: Any, instrument: Instrument = AAPL) -> DailyBars:
    vendor.will_answer(Answer(body))
    provider = YahooProvider(requests_per_second=1000, first_pause=0.001, breaker_threshold=1000, base_url=vendor.url)
    return provider.daily_bars(instrument, *SPAN)


def days(answer: DailyBars) -> list[date]:
    return [day.date() for day in answer.bars["date"]]


def told(answer: DailyBars) -> list[tuple[date, str, str]]:
    actions = answer.actions
    rows = zip(actions["date"], actions["kind"], actions["value"], strict=True)
    return [(day.date(), kind, repr(float(value))) for day, kind, value in rows]


def meta(body: dict[str, Any], **changes: Any) -> dict[str, Any]:
    body["chart"]["result"][0]["meta"].update(changes)
    return body


def without_rows(**changes: Any) -> dict[str, Any]:
    body = meta(chart(DAYS), **changes)
    del body["chart"]["result"][0]["timestamp"]
    body["chart"]["result"][0]["indicators"] = {"quote": [{"open": [], "close": []}], "adjclose": [{"adjclose": []}]}
    return body


MICRO = [at(day, OPENS) * 1_000_000 for day in DAYS]


@pytest.mark.parametrize(
    ("body", "error", "words", "requests"),
    [
        (meta(chart(DAYS), dataGranularity="1mo"), Malformed, "asked for bars of 1d, got bars of 1mo", 1),
        (meta(chart(DAYS), dataGranularity="1wk"), Malformed, "asked for bars of 1d, got bars of 1wk", 1),
        (meta(chart(DAYS), gmtoffset=3600), Malformed, "3600 s ahead of UTC, which America/New_York never is", 4),
        (chart(DAYS, stamps=MICRO), Malformed, "its timestamps are not in seconds", 4),
        (chart(DAYS, stamps=[stamp // 1000 for stamp in MICRO]), Malformed, "its timestamps are not in seconds", 4),
        (chart(weekdays(date(2014, 3, 3), 5)), Malformed, "asked for another range than that of its 5 bars", 1),
        (chart(DAYS, open=["?"] * 5), Malformed, "no row of its prices can be read", 4),
        (
            meta(chart(DAYS), exchangeTimezoneName="Asia/Tokyo", gmtoffset=32400),
            BadRequest,
            "is traded in Asia/Tokyo there, not in America/New_York: correct the instrument's exchange",
            1,
        ),
        (meta(chart(DAYS), currency=None), BadRequest, "Yahoo does not say in which currency it is quoted", 1),
        (
            without_rows(currency=None, exchangeName="YHD"),
            UnknownSymbol,
            r"Yahoo has no data for this symbol any more \(exchange YHD\); if .*instruments delist AAPL --on DATE`",
            1,
        ),
        ({"chart": {"result": None, "error": "Invalid cookie"}}, BadRequest, "Invalid cookie", 1),
    ],
)
def test_an_answer_to_another_question_is_refused_in_words_of_its_own(
    vendor: ScriptedVendor, body: Any, error: type[ProviderError], words: str, requests: int
) -> None:
    with pytest.raises(error, match=f"^yahoo: AAPL: .*{words}"):
        fetch(vendor, body)
    assert len(vendor.asked) == requests


def test_bars_stamped_at_midnight_in_utc_are_those_days(vendor: ScriptedVendor) -> None:
    stamps = [int(datetime.combine(day, time(), UTC).timestamp()) for day in DAYS]
    events = {"dividends": {str(stamps[2]): {"amount": 0.5, "date": stamps[2]}}}
    answer = fetch(vendor, chart(DAYS, stamps=stamps, events=events))
    assert days(answer) == DAYS
    assert told(answer) == [(DAYS[2], "dividend", "0.5")]


@pytest.mark.parametrize(
    ("column", "bad", "read"),
    [
        ("close", "12.5", 12.5), ("close", "twelve", None), ("open", True, None), ("high", [12.5], None),
        ("low", float("nan"), None), ("close", float("inf"), None), ("volume", "many", None), ("volume", "1e3", 1e3),
        ("adjclose", "n/a", None), ("volume", None, 0.0), ("volume", 1234.5678, 1234.5678),
    ],
)  # fmt: skip
def test_a_value_that_is_no_number_costs_its_row_alone(
    vendor: ScriptedVendor, column: str, bad: Any, read: float | None
) -> None:
    values: list[Any] = [11.0, 11.0, 11.0, 11.0, 11.0]
    values[2] = bad
    columns: dict[str, Any] = {column: values}
    answer = fetch(vendor, chart(DAYS, **columns))
    assert days(answer) == DAYS
    name = "adj_close" if column == "adjclose" else column
    found = answer.bars[name].tolist()
    assert found[:2] + found[3:] == [11.0] * 4
    assert found[2] == read if read is not None else not math.isfinite(found[2])


@pytest.mark.parametrize("bad", [None, "soon", 1.5, True, 10**17])
def test_a_row_without_a_time_is_left_out(vendor: ScriptedVendor, bad: Any) -> None:
    stamps: list[Any] = [at(day, OPENS) for day in DAYS]
    stamps[1] = bad
    assert days(fetch(vendor, chart(DAYS, stamps=stamps))) == [DAYS[0], *DAYS[2:]]


NAN = "nan"


@pytest.mark.parametrize(
    ("kind", "event", "value"),
    [
        ("dividends", {"amount": None}, NAN), ("dividends", {"amount": -0.5}, "-0.5"), ("dividends", {}, NAN),
        ("dividends", {"amount": "0.25"}, "0.25"), ("dividends", {"amount": 0}, "0.0"), ("dividends", None, NAN),
        ("splits", {"numerator": 1, "denominator": 0}, NAN), ("splits", {"numerator": 0, "denominator": 1}, NAN),
        ("splits", {"numerator": None, "denominator": 2}, NAN), ("splits", {"numerator": "3", "denominator": 2}, "1.5"),
    ],
)  # fmt: skip
def test_an_action_that_cannot_be_read_costs_no_other(
    vendor: ScriptedVendor, kind: str, event: Any, value: str
) -> None:
    first, second = at(DAYS[1], OPENS), at(DAYS[3], OPENS)
    events: dict[str, Any] = {
        "dividends": {str(second): {"amount": 0.5, "date": second}},
        "splits": {str(second): {"date": second, "numerator": 2, "denominator": 1}},
    }
    events[kind] |= {str(first): event if event is None else {"date": first, **event}}
    answer = fetch(vendor, chart(DAYS, events=events))
    assert days(answer) == DAYS
    good = [(DAYS[3], "dividend", "0.5"), (DAYS[3], "split", "2.0")]
    assert told(answer) == [(DAYS[1], kind.removesuffix("s"), value), *good]


def test_an_action_without_a_date_has_that_of_its_label_or_is_left_out(vendor: ScriptedVendor) -> None:
    stamp = at(DAYS[1], OPENS)
    events = {"dividends": {str(stamp): {"amount": 0.5, "date": None}, "x": {"amount": 1.0, "date": "soon"}}}
    assert told(fetch(vendor, chart(DAYS, events=events))) == [(DAYS[1], "dividend", "0.5")]


def test_pence_become_pounds_to_the_last_digit(vendor: ScriptedVendor) -> None:
    close = [602.55, 0.07, 123456789.0123, 1e-5, 602.5]
    stamps = [at(day, time(3)) for day in DAYS]
    when = {name: str(stamp) for name, stamp in zip("abc", stamps, strict=False)}
    events: dict[str, Any] = {
        "dividends": {
            when["a"]: {"amount": 12.35, "date": stamps[0]},
            when["b"]: {"amount": 0.1235, "date": stamps[1], "currency": "GBP"},
            when["c"]: {"amount": 0.16, "date": stamps[2], "currency": "USD"},
        }
    }
    body = meta(
        chart(DAYS, symbol="PENCE.L", currency="GBp", close=close, stamps=stamps, events=events),
        exchangeTimezoneName="Europe/London",
        gmtoffset=0,
    )
    answer = fetch(vendor, body, PENCE)
    assert answer.bars["close"].tolist() == [6.0255, 0.0007, 1234567.890123, 1e-7, 6.025]
    assert told(answer) == [
        (DAYS[0], "dividend", "0.1235"),
        (DAYS[1], "dividend", "0.1235"),
        (DAYS[2], "dividend in USD", "0.0016"),
    ]


def dividend(on: date) -> dict[str, Any]:
    return {"dividends": {str(at(on, OPENS)): {"amount": 0.5, "date": at(on, OPENS)}}}


@pytest.mark.parametrize(
    ("columns", "events", "unknown"),
    [
        ({}, dividend(DAYS[3]), [True, True, True, False, False]),
        ({"adjclose": [10.0, 11.0, 12.0, 14.0, 15.0]}, dividend(DAYS[3]), [False] * 5),
        ({}, None, [False] * 5),
    ],
)
def test_a_close_that_no_dividend_moved_is_no_adjusted_close(
    vendor: ScriptedVendor, columns: dict[str, Any], events: Any, unknown: list[bool]
) -> None:
    assert fetch(vendor, chart(DAYS, events=events, **columns)).bars["adj_close"].isna().tolist() == unknown


def test_an_adjusted_close_that_yahoo_does_not_send_is_unknown(vendor: ScriptedVendor) -> None:
    body = chart(DAYS)
    del body["chart"]["result"][0]["indicators"]["adjclose"]
    answer = fetch(vendor, body)
    assert answer.bars["adj_close"].isna().all()
    assert len(answer.bars) == 5


FLAT: dict[str, Any] = {name: [11.0, 11.0, 11.0, 11.0, 12.0] for name in ("open", "high", "low", "close")}


@pytest.mark.parametrize(
    ("kind", "first_trade", "volume", "kept"),
    [
        ("EQUITY", DAYS[0], [0, 0, 0, 7, 0], DAYS[3:]),
        ("EQUITY", None, [0, 0, 0, 7, 0], DAYS[3:]),
        ("ETF", DAYS[2], [0, 0, 0, 0, 0], DAYS[2:]),
        ("EQUITY", date(2010, 6, 29), [0, 0, 0, 7, 0], DAYS),
        ("EQUITY", None, [0, 0, 0, 0, 0], DAYS),
        ("INDEX", DAYS[0], [0, 0, 0, 7, 0], DAYS),
    ],
    ids=["reaches-back", "not-said", "before-the-first-trade", "long-listed", "never-a-volume", "no-share"],
)
def test_flat_rows_without_volume_before_the_first_trade_are_no_bars(
    vendor: ScriptedVendor, kind: str, first_trade: date | None, volume: list[int], kept: list[date]
) -> None:
    stamp = None if first_trade is None else at(first_trade, OPENS)
    body = meta(chart(DAYS, instrument_type=kind, volume=volume, **FLAT), firstTradeDate=stamp)
    index = replace(AAPL, asset_type=AssetType.INDEX)
    assert days(fetch(vendor, body, index if kind == "INDEX" else AAPL)) == kept


@pytest.mark.parametrize(
    ("first_trade", "since"),
    [(date(2010, 6, 29), date(2010, 6, 29)), (DAYS[2], DAYS[0]), (None, None), (DAYS[0], DAYS[0])],
)
def test_a_history_begins_where_yahoo_says_or_sends_earlier(
    vendor: ScriptedVendor, first_trade: date | None, since: date | None
) -> None:
    stamp = 0 if first_trade is None else at(first_trade, OPENS)
    assert fetch(vendor, meta(chart(DAYS), firstTradeDate=stamp)).listed_since == since


BITCOIN = Instrument("BTC", "Bitcoin", AssetType.CRYPTO, "XXXX", aliases={"yahoo": "BTC"})


@pytest.mark.parametrize(
    ("instrument", "kind", "words"),
    [
        (BITCOIN, "ETF", "BTC: BTC is of type ETF there, not crypto: correct its yahoo alias"),
        (AAPL, "CRYPTOCURRENCY", "AAPL: AAPL is of type CRYPTOCURRENCY there, not stock: correct its yahoo alias"),
        (AAPL, "FUTURE", "AAPL: AAPL is of type FUTURE there, not stock"),
    ],
)
def test_another_kind_of_thing_under_the_same_letters_is_refused(
    vendor: ScriptedVendor, instrument: Instrument, kind: str, words: str
) -> None:
    with pytest.raises(BadRequest, match=words):
        fetch(vendor, chart(DAYS, symbol=instrument.symbol, instrument_type=kind), instrument)
    assert len(vendor.asked) == 1


def test_the_clocks_of_one_country_are_the_same_listing(vendor: ScriptedVendor) -> None:
    body = meta(chart(DAYS), exchangeTimezoneName="America/Chicago", gmtoffset=-21600)
    assert days(fetch(vendor, body)) == DAYS
    no_market = replace(AAPL, exchange="XXXX", timezone="UTC")
    assert days(fetch(vendor, chart(DAYS), no_market)) == DAYS
