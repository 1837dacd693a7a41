"""Our reading of Yahoo's charts against yfinance's own, which it must equal to the last digit."""

import copy
import warnings
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import orjson
import pandas as pd
import pytest
from curl_cffi.requests import Response, Session
from hypothesis import given, settings
from hypothesis import strategies as st

from financehub_dagster.providers.yahoo import charts as yahoo_chart
from financehub_dagster_tests.contracts.charts import NEW_YORK, OPENS, at, chart, weekdays
from financehub_dagster_tests.contracts.scripted import RECORDED

pytestmark = pytest.mark.filterwarnings("ignore")

START, END = date(1990, 1, 1), date(2030, 1, 1)
LATER = datetime(2031, 1, 1, tzinfo=UTC)
PRICES = {"Open": "open", "High": "high", "Low": "low", "Close": "close", "Adj Close": "adj_close"}
ACTIONS = {"Capital Gains": "capital_gain", "Dividends": "dividend", "Stock Splits": "split"}


class Written(Session[Response]):
    """A session that has one answer, whatever it is asked."""

    def __init__(self, document: Any) -> None:
        super().__init__()
        self.content = orjson.dumps(document)

    def request(self, method: Any, url: str, **kwargs: Any) -> Response:  # type: ignore[override]
        response = Response()
        response.url, response.status_code, response.content = url, 200, self.content
        return response


def by_yfinance(document: Any, end: date) -> pd.DataFrame:
    """The frame that yfinance makes of the chart."""
    import yfinance as yf
    from yfinance.data import YfData
    from yfinance.scrapers.history import PriceHistory

    meta = document["chart"]["result"][0]["meta"]
    client = YfData(session=Written(document))
    client.cache_get.cache_clear()
    yf.config.debug.hide_exceptions = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            history = PriceHistory(client, meta["symbol"], meta["exchangeTimezoneName"])
            return history.history(start=START, end=end, interval="1d", auto_adjust=False, actions=True)
    finally:
        client.cache_get.cache_clear()


def assert_the_same(document: Any, end: date = END) -> None:
    meta = document["chart"]["result"][0]["meta"]
    zone = ZoneInfo(meta["exchangeTimezoneName"])
    frame = by_yfinance(copy.deepcopy(document), end)
    ours = yahoo_chart.read(document, int(datetime.combine(end, time(), zone).timestamp()))
    assert ours is not None
    days = np.array([day.date().toordinal() - date(1970, 1, 1).toordinal() for day in frame.index], np.int64)

    whole = frame[["Open", "High", "Low", "Close"]].notna().all(axis=1).to_numpy()
    kept = ~np.isnan(ours.prices[:4]).any(axis=0)
    assert ours.days[kept].tolist() == days[whole].tolist()
    for position, name in enumerate(PRICES):
        np.testing.assert_array_equal(ours.prices[position, kept], frame[name].to_numpy(np.float64)[whole])
    assert ours.volume[kept].tolist() == frame["Volume"].to_numpy(np.float64)[whole].tolist()

    told = [
        (int(day), kind, float(value))
        for name, kind in ACTIONS.items()
        if name in frame
        for day, value in zip(days, frame[name], strict=True)
        if value != 0 and not np.isnan(value)
    ]
    assert list(ours.actions) == sorted(told)


@pytest.mark.parametrize(
    "name", [name for name, body in RECORDED.items() if ((body["chart"]["result"] or [{}])[0]).get("timestamp")]
)
def test_recorded_charts_are_read_as_yfinance_reads_them(name: str) -> None:
    document = RECORDED[name]
    if not isinstance(document["chart"]["result"][0]["meta"].get("currentTradingPeriod"), dict):
        pytest.skip("not a chart that says when its session is")
    assert_the_same(document)


PRICE = st.one_of(st.none(), st.floats(0, 1e6, width=32), st.integers(0, 1000))


@st.composite
def charts(draw: st.DrawFn) -> Any:
    days = weekdays(date(2024, 3, 1), draw(st.integers(1, 12)))
    twin = draw(st.booleans())
    stamps = [at(day, OPENS) for day in days] + ([at(days[-1], time(16, 0, 1))] if twin else [])
    rows = len(stamps)
    names = ("open", "high", "low", "close", "adjclose", "volume")
    columns = {name: draw(st.lists(PRICE, min_size=rows, max_size=rows)) for name in names}
    columns["volume"] = draw(st.lists(st.one_of(st.none(), st.integers(0, 10**10)), min_size=rows, max_size=rows))
    events: dict[str, Any] = {}
    # Actions between sessions are taken for another one on purpose (test_yahoo_charts). Of several days after the last
    # session yfinance makes one, and after a twin it would take a later one for the last row and keep both.
    later = days[-1] if twin else days[-1] + timedelta(days=draw(st.integers(0, 6)))
    when = st.sampled_from([days[0] - timedelta(days=3), *days, later])
    for name in ("dividends", "splits", "capitalGains"):
        moments = [at(day, OPENS, NEW_YORK) for day in draw(st.lists(when, max_size=3, unique=True))]
        if name == "splits":
            parts = st.integers(1, 10)
            events[name] = {
                str(moment): {"date": moment, "numerator": draw(parts), "denominator": draw(parts)}
                for moment in moments
            }
        else:
            events[name] = {str(moment): {"date": moment, "amount": draw(st.floats(0.01, 100))} for moment in moments}
    order = draw(st.permutations(range(rows))) if not twin else range(rows)
    shuffled: dict[str, Any] = {name: [values[i] for i in order] for name, values in columns.items()}
    kind = draw(st.sampled_from(["EQUITY", "ETF", "MUTUALFUND"]))
    return chart(
        [days[min(i, len(days) - 1)] for i in order],
        stamps=[stamps[i] for i in order],
        events=events,
        instrument_type=kind,
        **shuffled,
    )


@settings(max_examples=60)
@given(charts(), st.sampled_from([END, date(2024, 3, 8)]))
def test_any_chart_is_read_as_yfinance_reads_it(document: Any, end: date) -> None:
    assert_the_same(document, end)
