"""TradingView's protocol, as its client asks: the configuration, an instrument, bars backwards in time, and marks."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.serving import guard, http
from financehub_dagster.storage.database.engine import transaction
from financehub_dagster.storage.queries.instruments import upsert_instruments
from financehub_dagster_tests.unit.serving import stored
from financehub_dagster_tests.unit.serving.test_guard import serving
from financehub_dagster_tests.unit.serving.test_rows import get

LAST = stored.FIRST + timedelta(days=stored.DAYS - 1)


@pytest.fixture(scope="module")
def port(before: datetime) -> Iterator[int]:
    """A server of the filled database, with instruments of other kinds and markets."""
    others = [
        Instrument("BTC", "Bitcoin", AssetType.CRYPTO, "XXXX"),
        Instrument("EURUSD", "Euro", AssetType.FX, "XXXX"),
        Instrument("7203", "Toyota Motor", AssetType.STOCK, "XTKS", "JPY", "Asia/Tokyo"),
    ]
    with transaction() as connection:
        upsert_instruments(connection, others)
    with serving(guard.Guard(http.create_app(looks=False), [])) as port:
        yield port


def ask(port: int, path: str, **parameters: object) -> Any:
    status, body, _ = get(port, f"/udf/{path}", **{name: str(value) for name, value in parameters.items()})
    assert status == 200
    return json.loads(body)


def seconds(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


def bars(port: int, first: date, before: date, **more: object) -> Any:
    asked = {"symbol": "AAPL", "resolution": "1D", "from": seconds(first), "to": seconds(before)}
    return ask(port, "history", **asked | more)


def test_the_configuration_names_what_can_be_asked(port: int) -> None:
    found = ask(port, "config")
    assert found["supported_resolutions"] == ["1", "5", "15", "60", "1D", "1W", "1M"]
    assert {"value": "crypto", "name": "crypto"} in found["symbols_types"]
    assert abs(ask(port, "time") - time.time()) < 60


def test_an_instrument_has_its_hours_currency_and_decimals(port: int) -> None:
    stock = ask(port, "symbols", symbol="XNAS:aapl")
    assert (stock["ticker"], stock["session"], stock["pricescale"], stock["currency_code"]) == (
        "AAPL",
        "0930-1600",
        100,
        "USD",
    )
    sessions = {name: ask(port, "symbols", symbol=name)["session"] for name in ("BTC", "EURUSD", "7203")}
    assert sessions == {"BTC": "24x7", "EURUSD": "24x5", "7203": "0900-1130,1230-1530"}
    assert ask(port, "symbols", symbol="7203")["timezone"] == "Asia/Tokyo"


def test_bars_lie_between_the_times_and_not_at_the_last(port: int) -> None:
    found = bars(port, date(2024, 1, 5), date(2024, 1, 8))
    assert found["t"] == [seconds(date(2024, 1, day)) for day in (5, 6, 7)]
    assert found["s"] == "ok"
    assert found["c"] == [104.25, 105.25, 106.25]
    assert [found[name][0] for name in "ohlv"] == [103.75, 105.25, 103.25, 1000]


def test_a_number_of_bars_reaches_as_far_back_as_it_has_to(port: int) -> None:
    later = LAST + timedelta(days=400)
    found = bars(port, later - timedelta(days=5), later, countback=10)
    assert found["t"] == [seconds(LAST - timedelta(days=9 - n)) for n in range(10)]
    everything = bars(port, later - timedelta(days=5), later, countback=1000)
    assert len(everything["t"]) == stored.DAYS
    assert len(bars(port, stored.FIRST, LAST, countback=3)["t"]) == 3


def test_where_there_is_no_bar_the_last_one_before_is_named(port: int) -> None:
    later = LAST + timedelta(days=100)
    assert bars(port, later, later + timedelta(days=5)) == {"s": "no_data", "nextTime": seconds(LAST)}
    assert bars(port, date(2020, 1, 1), date(2020, 2, 1)) == {"s": "no_data"}
    assert bars(port, date(2020, 1, 1), date(2020, 2, 1), countback=50) == {"s": "no_data"}
    assert bars(port, stored.FIRST, LAST, resolution="1") == {"s": "no_data"}


def test_nothing_lies_between_times_that_are_one_or_exchanged(port: int) -> None:
    day = stored.FIRST + timedelta(days=5)
    for first in (day, day + timedelta(days=3)):
        assert bars(port, first, day) == {"s": "no_data", "nextTime": seconds(day - timedelta(days=1))}
    assert bars(port, day, day + timedelta(days=2), countback=-1)["t"] == [seconds(day), seconds(day) + 86_400]


@pytest.mark.parametrize(("first", "to"), [(-(10**18), 10**18), (0, 10**11), (-(10**11), 0)])
def test_times_that_no_calendar_has_are_its_ends(port: int, first: int, to: int) -> None:
    asked = {"symbol": "AAPL", "resolution": "1D", "from": first, "to": to}
    assert len(ask(port, "history", **asked).get("t", [])) == (stored.DAYS if to else 0)


@pytest.mark.parametrize(
    ("path", "parameters", "told"),
    [
        ("symbols", {"symbol": "AAPPL"}, "did you mean AAPL"),
        ("history", {"symbol": "AAPL", "resolution": "7", "from": 0, "to": 1}, "unknown resolution 7"),
        ("history", {"symbol": "AAPL", "resolution": "1D", "from": "1.5", "to": 1}, "parameter from: "),
        ("history", {"symbol": "AAPL", "resolution": "1D"}, "parameter to: "),
        ("symbols", {}, "parameter symbol: "),
        ("search", {"limit": "all"}, "parameter limit: "),
    ],
)
def test_errors_are_told_as_the_protocol_has_it(port: int, path: str, parameters: dict, told: str) -> None:
    found = ask(port, path, **parameters)
    assert found["s"] == "error"
    assert told in found["errmsg"]


def test_a_search_finds_symbols_first_and_then_names(port: int) -> None:
    assert [each["symbol"] for each in ask(port, "search", query="b")][:2] in (["BTC", "BRK.B"], ["BRK.B", "BTC"])
    [toyota] = ask(port, "search", query="toyota")
    assert (toyota["full_name"], toyota["type"]) == ("XTKS:7203", "stock")
    assert [each["symbol"] for each in ask(port, "search", query="", type="crypto")] == ["BTC"]
    assert [each["symbol"] for each in ask(port, "search", query="", exchange="XTKS")] == ["7203"]
    assert len(ask(port, "search", query="", limit=2)) == 2
    assert ask(port, "search", query="%") == []


def test_dividends_and_splits_are_marks(port: int) -> None:
    asked = {"from": seconds(stored.FIRST), "to": seconds(LAST)}
    found = ask(port, "timescale_marks", symbol="AAPL", resolution="1D", **asked)
    assert [(each["label"], each["time"]) for each in found] == [
        ("D", seconds(stored.DIVIDEND)),
        ("S", seconds(stored.SPLIT)),
    ]
