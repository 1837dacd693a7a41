"""The sandbox speaks Yahoo's wire format: the real yfinance gets the recorded prices back to the last digit."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import curl_cffi.requests
import numpy as np
import pandas as pd
import pytest
import requests
import yfinance as yf
from yfinance.data import YfData
from yfinance.exceptions import YFRateLimitError

from financehub_dagster.market.instrument_files import default_universe
from financehub_dagster.sandbox.client import Sandbox
from financehub_dagster.sandbox.market.recordings import DailyRecording, recorded_daily, recorded_symbols

STOCKS = [symbol for symbol in recorded_symbols() if symbol != "BTC"]
YAHOO_NAMES = {each.symbol: each.symbol_at("yahoo") for each in default_universe()}


class LoopbackSession(curl_cffi.requests.Session[Any]):
    """Sends what is meant for https://*.yahoo.com to the sandbox."""

    def __init__(self, base: str) -> None:
        super().__init__()
        self.base = base

    def request(self, method: Any, url: str, **options: Any) -> Any:  # type: ignore[override]
        asked = urlsplit(url)
        assert asked.hostname
        assert asked.hostname.endswith("yahoo.com")
        return super().request(method, self.base + (asked.path or "/"), **options)


@pytest.fixture
def yahoo(sandbox: Sandbox, tmp_path: Path) -> Iterator[LoopbackSession]:
    hidden = yf.config.debug.hide_exceptions
    yf.config.debug.hide_exceptions = False
    yf.set_tz_cache_location(str(tmp_path))
    YfData.cache_get.cache_clear()
    with LoopbackSession(sandbox.yahoo_url) as session:
        YfData(session=session)
        yield session
    YfData.cache_get.cache_clear()
    yf.config.debug.hide_exceptions = hidden


def history(session: LoopbackSession, name: str, start: str, end: str) -> pd.DataFrame:
    return yf.Ticker(name, session=session).history(start=start, end=end, auto_adjust=False, actions=True)


def chart(box: Sandbox, name: str, **query: Any) -> requests.Response:
    return requests.get(f"{box.yahoo_url}/v8/finance/chart/{name}", params=query, timeout=10)


def result(answer: requests.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    return dict(answer.json()["chart"]["result"][0])


def days(frame: pd.DataFrame) -> list[str]:
    return [str(stamp)[:10] for stamp in frame.index]


def seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def shortest(values: Any) -> list[float]:
    return [float(str(np.float32(value))) for value in values]


def assert_equal_to_recording(frame: pd.DataFrame, recording: DailyRecording) -> None:
    assert days(frame) == recording.date.astype(str).tolist()
    for column in ("open", "high", "low", "close"):
        assert shortest(frame[column.capitalize()]) == getattr(recording, column).tolist(), column
    assert frame["Volume"].tolist() == recording.volume.tolist()


@pytest.mark.parametrize("symbol", STOCKS)
def test_yfinance_gets_every_recorded_stock_price_to_the_last_digit(yahoo: LoopbackSession, symbol: str) -> None:
    assert_equal_to_recording(history(yahoo, YAHOO_NAMES[symbol], "2013-02-01", "2018-02-08"), recorded_daily(symbol))


def test_recorded_gaps_stay_gaps(yahoo: LoopbackSession) -> None:
    traded = days(history(yahoo, "ORCL", "2013-07-11", "2013-07-20"))
    assert traded == ["2013-07-11", "2013-07-12", "2013-07-17", "2013-07-18", "2013-07-19"]


def test_five_years_in_one_call_equal_the_same_years_asked_quarter_by_quarter(yahoo: LoopbackSession) -> None:
    whole = history(yahoo, "AAPL", "2016-01-01", "2021-01-01")
    starts = pd.date_range("2016-01-01", "2021-01-01", freq="QS")
    quarters = [history(yahoo, "AAPL", str(start.date()), str(end.date())) for start, end in pairwise(starts)]
    assert len(whole) == 1259
    pd.testing.assert_frame_equal(pd.concat(quarters), whole)


def test_dividends_lower_the_adjusted_close_before_their_ex_date_and_never_the_close(yahoo: LoopbackSession) -> None:
    frame = history(yahoo, "AAPL", "2018-01-01", "2020-01-01")
    paid = np.flatnonzero(frame["Dividends"])
    assert len(paid) == 8
    last = paid[-1]
    kept = 1 - frame["Dividends"].iloc[last] / frame["Close"].iloc[last - 1]
    ratio = frame["Adj Close"] / frame["Close"]
    assert ratio.iloc[last - 1] / ratio.iloc[last] == pytest.approx(kept, abs=1e-6)
    assert ratio.iloc[last:].nunique() <= 2 or ratio.iloc[last:].std() < 1e-6
    assert (frame["Adj Close"].iloc[:last] < frame["Close"].iloc[:last]).all()


def test_some_stock_has_split_since_the_recording_ended_without_a_jump_in_its_prices(yahoo: LoopbackSession) -> None:
    frame = history(yahoo, "GOOGL", "2018-02-08", "2026-01-01")
    split = np.flatnonzero(frame["Stock Splits"])
    assert len(split) == 1
    moves = frame["Close"].pct_change().abs()
    assert moves.iloc[split[0]] < 0.1


def test_a_declared_split_divides_the_earlier_prices_and_appears_as_an_event(
    sandbox: Sandbox, yahoo: LoopbackSession
) -> None:
    before = history(yahoo, "KO", "2017-01-03", "2017-02-01")
    sandbox.split("KO", date(2017, 1, 17), 4)
    YfData.cache_get.cache_clear()
    after = history(yahoo, "KO", "2017-01-03", "2017-02-01")
    earlier = np.array(days(before)) < "2017-01-17"
    divisor = np.where(earlier, 4.0, 1.0)
    for column in ("Open", "High", "Low", "Close", "Adj Close"):
        np.testing.assert_allclose(after[column], before[column] / divisor, rtol=1e-6)
    assert after["Volume"].tolist() == (before["Volume"] * divisor).tolist()
    assert after["Stock Splits"][after["Stock Splits"] != 0].to_dict() == {
        pd.Timestamp("2017-01-17", tz="America/New_York"): 4.0
    }


def test_bars_are_labelled_by_the_session_open_in_summer_and_winter(sandbox: Sandbox) -> None:
    stamps = result(chart(sandbox, "IBM", period1=seconds("2015-03-06"), period2=seconds("2015-03-10")))["timestamp"]
    assert stamps == [seconds("2015-03-06T14:30:00"), seconds("2015-03-09T13:30:00")]


def test_numbers_are_float32_written_out_as_doubles(sandbox: Sandbox) -> None:
    quote = result(chart(sandbox, "AAPL", period1=seconds("2013-02-08"), period2=seconds("2013-02-09")))["indicators"]
    assert quote["quote"][0]["close"] == [67.85420227050781]
    assert quote["quote"][0]["volume"] == [158168416]


def test_the_answer_says_whether_its_bars_were_recorded(sandbox: Sandbox) -> None:
    spans = {
        "recorded": ("2015-01-01", "2016-01-01"),
        "mixed": ("2018-02-01", "2018-03-01"),
        "generated": ("2019-01-01", "2019-02-01"),
    }
    for origin, (start, end) in spans.items():
        answer = chart(sandbox, "AAPL", period1=seconds(start), period2=seconds(end))
        assert answer.headers["X-FinanceHub-Sandbox"] == origin


def test_a_window_without_sessions_has_neither_timestamps_nor_columns(sandbox: Sandbox) -> None:
    found = result(chart(sandbox, "AAPL", period1=seconds("2015-01-03"), period2=seconds("2015-01-05")))
    assert "timestamp" not in found
    assert found["indicators"] == {"quote": [{}]}


def test_a_window_before_the_first_bar_is_refused_as_yahoo_does(sandbox: Sandbox) -> None:
    answer = chart(sandbox, "GOOG", period1=1360000000, period2=1370000000)
    error = answer.json()["chart"]["error"]
    assert answer.status_code == 400
    assert error["description"] == "Data doesn't exist for startDate = 1360000000, endDate = 1370000000"


def test_an_unknown_symbol_is_not_found(yahoo: LoopbackSession, sandbox: Sandbox) -> None:
    answer = chart(sandbox, "NOSUCH", range="5d")
    assert answer.status_code == 404
    error = {"code": "Not Found", "description": "No data found, symbol may be delisted"}
    assert answer.json() == {"chart": {"result": None, "error": error}}
    # yfinance looks for the symbol's timezone first, and there meets the 404 of another endpoint.
    with pytest.raises(curl_cffi.requests.exceptions.HTTPError, match="404"):
        yf.Ticker("NOSUCH", session=yahoo).history(period="5d")


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ({"period1": 1360000000, "period2": 1370000000, "interval": "1m"}, 422, "Only 8 days worth of 1m granularity"),
        ({"period1": 1360000000, "period2": 1360086400, "interval": "5m"}, 400, "Data doesn't exist"),
        ({"period1": 1400000000, "period2": 1400086400, "interval": "5m"}, 422, "must be within the last 60 days"),
        ({"period1": 2, "period2": 1}, 400, "start date cannot be after end date"),
        ({"range": "9d"}, 422, "range=9d is not supported"),
        ({"range": "1mo", "interval": "7m"}, 400, "interval=7m is not supported"),
        ({"range": "1y", "interval": "1wk"}, 501, "the sandbox has no 1wk bars"),
    ],
)
def test_a_bad_window_is_refused_with_the_reason(
    sandbox: Sandbox, query: dict[str, Any], status: int, words: str
) -> None:
    answer = chart(sandbox, "AAPL", **query)
    assert answer.status_code == status
    assert words in answer.json()["chart"]["error"]["description"]


def test_ranges_end_today_and_are_as_long_as_they_say(sandbox: Sandbox) -> None:
    sandbox.freeze(datetime(2024, 7, 3, 23, 0, tzinfo=UTC))
    rows = {span: len(result(chart(sandbox, "MSFT", range=span))["timestamp"]) for span in ("1d", "5d", "1mo", "1y")}
    assert rows["1d"] == 1
    assert rows["5d"] == 5
    assert 20 <= rows["1mo"] <= 23
    assert 250 <= rows["1y"] <= 253
    everything = result(chart(sandbox, "MSFT", range="max"))
    assert everything["timestamp"][0] == everything["meta"]["firstTradeDate"] == seconds("2013-02-08T14:30:00")
    this_year = result(chart(sandbox, "MSFT", range="ytd"))
    assert this_year["timestamp"][0] == seconds("2024-01-02T14:30:00")


def test_the_running_session_is_served_unfinished_and_labelled_by_its_last_trade(sandbox: Sandbox) -> None:
    window = {"period1": seconds("2024-07-01"), "period2": seconds("2024-07-10")}
    sandbox.freeze(datetime(2024, 7, 2, 15, 0, tzinfo=UTC))
    running = result(chart(sandbox, "MSFT", **window))
    assert running["timestamp"] == [seconds("2024-07-01T13:30:00"), seconds("2024-07-02T15:00:00")]
    sandbox.freeze(datetime(2024, 7, 2, 20, 0, tzinfo=UTC))
    finished = result(chart(sandbox, "MSFT", **window))
    assert finished["timestamp"] == [seconds("2024-07-01T13:30:00"), seconds("2024-07-02T13:30:00")]
    running_volume, finished_volume = (each["indicators"]["quote"][0]["volume"][-1] for each in (running, finished))
    assert 0 < running_volume < finished_volume


def test_missing_values_are_null(sandbox: Sandbox) -> None:
    sandbox.set_bar("PG", date(2016, 5, 4), open=None, high=None, low=None, close=None, volume=None)
    sandbox.set_bar("PG", date(2016, 5, 5), high=1.5, low=-2.0)
    sandbox.drop_bar("PG", date(2016, 5, 6))
    found = result(chart(sandbox, "PG", period1=seconds("2016-05-04"), period2=seconds("2016-05-07")))
    quote = found["indicators"]["quote"][0]
    assert len(found["timestamp"]) == 2
    assert [quote[name][0] for name in ("open", "high", "low", "close", "volume")] == [None] * 5
    assert (quote["high"][1], quote["low"][1]) == (1.5, -2.0)


def test_the_description_of_an_instrument_has_the_fields_of_a_recorded_answer(sandbox: Sandbox) -> None:
    meta = result(chart(sandbox, "BRK-B", range="5d"))["meta"]
    recorded = (
        "currency symbol exchangeName fullExchangeName instrumentType firstTradeDate regularMarketTime"
        " hasPrePostMarketData gmtoffset timezone exchangeTimezoneName regularMarketPrice fiftyTwoWeekHigh"
        " fiftyTwoWeekLow regularMarketDayHigh regularMarketDayLow regularMarketVolume longName shortName"
        " chartPreviousClose priceHint currentTradingPeriod dataGranularity range validRanges"
    )
    assert sorted(meta) == sorted(recorded.split())
    assert (meta["symbol"], meta["instrumentType"], meta["fullExchangeName"]) == ("BRK-B", "EQUITY", "NYSE")
    assert result(chart(sandbox, "BTC-USD", range="5d"))["meta"]["instrumentType"] == "CRYPTOCURRENCY"


def test_recorded_minutes_are_served_while_yahoo_would_still_keep_them(sandbox: Sandbox) -> None:
    sandbox.freeze(datetime(2020, 12, 18, 23, 0, tzinfo=UTC))
    query = {"interval": "1m", "period1": seconds("2020-12-15"), "period2": seconds("2020-12-19")}
    found = result(chart(sandbox, "SPY", **query))
    assert len(found["timestamp"]) == 1564
    assert found["timestamp"][0] == seconds("2020-12-15T14:30:00")
    assert shortest(found["indicators"]["quote"][0]["close"][:3]) == [367.46, 367.19, 367.35]
    assert len(found["meta"]["tradingPeriods"]) == 4
    assert len(result(chart(sandbox, "SPY", **query | {"interval": "60m"}))["timestamp"]) == 28


def test_quotes_need_the_crumb_and_leave_out_unknown_symbols(sandbox: Sandbox, yahoo: LoopbackSession) -> None:
    address = f"{sandbox.yahoo_url}/v7/finance/quote"
    refused = requests.get(address, params={"symbols": "AAPL"}, timeout=10)
    assert (refused.status_code, refused.json()["finance"]["error"]["description"]) == (401, "Invalid Crumb")
    answer = YfData(session=yahoo).get_raw_json(
        "https://query1.finance.yahoo.com/v7/finance/quote", params={"symbols": "AAPL,NOSUCH,BTC-USD"}
    )
    quotes = answer["quoteResponse"]["result"]
    assert [quote["symbol"] for quote in quotes] == ["AAPL", "BTC-USD"]
    assert all(quote["regularMarketPrice"] > 0 for quote in quotes)


def test_a_set_limit_is_enforced_with_yahoos_words(sandbox: Sandbox, yahoo: LoopbackSession) -> None:
    sandbox.limit("yahoo", calls=2, window_seconds=600)
    answers = [chart(sandbox, "AAPL", range="1d") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[-1].text == "Too Many Requests\r\n"
    with pytest.raises(YFRateLimitError):
        yf.Ticker("AAPL", session=yahoo).history(period="5d")


def test_invented_stocks_can_be_listed_and_taken_off_again(sandbox: Sandbox, yahoo: LoopbackSession) -> None:
    listed = sandbox.list_synthetic(500)
    assert [listed[0]["symbol"], listed[-1]["symbol"]] == ["SIM0001", "SIM0500"]
    frame = history(yahoo, "SIM0500", "2020-01-01", "2021-01-01")
    assert len(frame) == 253
    sandbox.delist("SIM0500")
    assert chart(sandbox, "SIM0500", range="5d").status_code == 404
    sandbox.reset()
    assert chart(sandbox, "SIM0001", range="5d").status_code == 404
