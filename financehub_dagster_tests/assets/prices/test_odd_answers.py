"""One run over instruments whose answers are odd, each in its own way: what is stored, what is not, and which words.

The oddities are those of public reports: another granularity, a history that begins late, a null dividend and the like.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime, time
from typing import Any

import pytest

from financehub_dagster.definitions import build_definitions
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.providers.yahoo.provider import YahooProvider
from financehub_dagster.storage.queries.instruments import upsert_instruments
from financehub_dagster_tests.assets.conftest import Platform
from financehub_dagster_tests.contracts.charts import OPENS, at, chart, weekdays
from financehub_dagster_tests.contracts.scripted import Answer, Asked, scripted_vendor

MARCH = weekdays(date(2024, 3, 1), 20)
"""All sessions of New York in March 2024: Good Friday is the 29th."""
LATE = 10
"""Where a history that begins late does."""
FLAT: list[Any] = [11.0] * LATE


def with_meta(body: dict[str, Any], **changes: Any) -> dict[str, Any]:
    body["chart"]["result"][0]["meta"].update(changes)
    return body


def odd(symbol: str, days: list[date] = MARCH, *, first_trade: date | None = None, **parts: Any) -> dict[str, Any]:
    stamp = None if first_trade is None else at(first_trade, OPENS)
    return with_meta(chart(days, symbol=symbol, **parts), firstTradeDate=stamp)


def dividends(*amounts: Any) -> dict[str, Any]:
    stamps = [at(day, OPENS) for day in MARCH[5 : 5 + len(amounts)]]
    return {"dividends": {str(s): {"amount": each, "date": s} for s, each in zip(stamps, amounts, strict=True)}}


def splits(*ratios: tuple[Any, Any]) -> dict[str, Any]:
    stamps = [at(day, OPENS) for day in MARCH[5 : 5 + len(ratios)]]
    parts = zip(stamps, ratios, strict=True)
    return {"splits": {str(s): {"date": s, "numerator": n, "denominator": d} for s, (n, d) in parts}}


def without_currency(symbol: str) -> dict[str, Any]:
    body = with_meta(chart(MARCH, symbol=symbol), currency=None, exchangeName="YHD")
    del body["chart"]["result"][0]["timestamp"]
    body["chart"]["result"][0]["indicators"] = {"quote": [{}], "adjclose": [{}]}
    return body


def changed(values: dict[int, Any]) -> list[Any]:
    return [values.get(place, 11.0 + place) for place in range(len(MARCH))]


MIDNIGHTS = [int(datetime.combine(day, time(), UTC).timestamp()) for day in MARCH]
BEFORE_TRADES = {name: [*FLAT, *([12.0] * LATE)] for name in ("open", "high", "low", "close")}
CHARTS: dict[str, dict[str, Any]] = {
    "GOOD": odd("GOOD"),
    "GRANMO": with_meta(odd("GRANMO", MARCH[:1]), dataGranularity="1mo"),
    "MICRO": odd("MICRO", stamps=[stamp * 1_000_000 for stamp in MIDNIGHTS]),
    "MIDUTC": odd("MIDUTC", stamps=MIDNIGHTS),
    "TRUNC": odd("TRUNC", MARCH[LATE:], first_trade=date(2010, 6, 29)),
    "NEWCO": odd("NEWCO", MARCH[LATE:], first_trade=MARCH[LATE]),
    "FLATCO": odd("FLATCO", first_trade=MARCH[0], volume=[0] * LATE + [5] * LATE, **BEFORE_TRADES),
    "DIVNULL": odd("DIVNULL", events=dividends(0.5, None)),
    "DIVNEG": odd("DIVNEG", events=dividends(-0.5)),
    "ZEROSPLIT": odd("ZEROSPLIT", events=splits((1, 0), (2, 1))),
    "TEXT": odd("TEXT", close=changed({3: "eleven", 4: "15.5"})),
    "NANTOKEN": odd("NANTOKEN", close=changed({3: float("nan")})),
    "NEGADJ": odd("NEGADJ", adjclose=changed({0: -50.73, 1: 0.0})),
    "NULLCUR": without_currency("NULLCUR"),
    "OLDNAME": odd("METANEW"),
}
STOCKS = [Instrument(symbol, symbol, AssetType.STOCK, "XNYS", "USD", "America/New_York") for symbol in CHARTS]


@pytest.fixture(scope="module")
def found(filled: Callable[[Callable[[Platform], None]], str]) -> dict[str, Any]:
    """What one run over all of them left in the database, by question."""
    kept: dict[str, Any] = {}

    def fill(platform: Platform) -> None:
        with scripted_vendor(Answer({})) as vendor, platform.engine.begin() as connection:
            upsert_instruments(connection, STOCKS)
            connection.commit()
            vendor.rule = lambda asked: Answer(CHARTS[asked.path.rpartition("/")[2]])
            yahoo = YahooProvider(base_url=vendor.url, requests_per_second=1000, first_pause=0.001)
            platform.definitions = build_definitions(resource_overrides={**platform.overrides, "yahoo": yahoo})
            tables = ["stock_prices_daily", "corporate_actions"]
            outcome = platform.run(tables, "2024-03-01", symbols=list(CHARTS), checked=True)
            kept["success"] = outcome.success
            kept["requests"] = counted(vendor.asked)
            kept["schema"] = {table: platform.checks(outcome, table)["schema"].passed for table in tables}
        for name, query in QUESTIONS.items():
            kept[name] = platform.rows(query)

    filled(fill)
    return kept


def counted(asked: list[Asked]) -> dict[str, int]:
    names = [each.path.rpartition("/")[2] for each in asked]
    return {name: names.count(name) for name in names}


QUESTIONS = {
    "bars": "select symbol, date, close, adj_close from stock_prices_daily order by 1, 2",
    "actions": "select symbol, date, kind, value from corporate_actions order by 1, 2",
    "rejected": "select table_name, symbol, date, rule from rejected_rows order by 1, 2, 3, 4",
    "failures": "select symbol, exception from task_failures where symbol <> '' order by 1",
    "empty": "select symbol, day::date, next_ask_at is not null from empty_answers, unnest(sessions) as days,"
    " generate_series(lower(days), upper(days) - 1, interval '1 day') as day order by 1, 2",
    "gaps": "select symbol, day::date from coverage, unnest(gap * '{[2024-03-01,2024-04-01)}'::datemultirange) as days,"
    " generate_series(lower(days), upper(days) - 1, interval '1 day') as day"
    " where table_name = 'stock_prices_daily' order by 1, 2",
}


def rows(found: dict[str, Any], name: str, symbol: str, table: str | None = None) -> list[tuple[Any, ...]]:
    """The rows about one symbol, without it."""
    return [row[1 + bool(table) :] for row in found[name] if symbol in row[:2] and table in (None, row[0])]


@pytest.mark.parametrize(
    ("symbol", "days"),
    [
        *((name, MARCH) for name in ("GOOD", "MIDUTC", "DIVNULL", "DIVNEG", "ZEROSPLIT", "NEGADJ")),
        *((name, MARCH[LATE:]) for name in ("TRUNC", "NEWCO", "FLATCO")),
        *((name, MARCH[:3] + MARCH[4:]) for name in ("TEXT", "NANTOKEN")),
        *((name, []) for name in ("GRANMO", "MICRO", "NULLCUR", "OLDNAME")),
    ],
)
def test_each_stores_what_can_be_believed(found: dict[str, Any], symbol: str, days: list[date]) -> None:
    assert [row[0] for row in rows(found, "bars", symbol)] == days


def test_the_blocking_checks_of_what_is_stored_are_green(found: dict[str, Any]) -> None:
    assert found["success"]
    assert found["schema"] == {"stock_prices_daily": True, "corporate_actions": True}


@pytest.mark.parametrize(
    ("symbol", "requests", "reason"),
    [
        ("GRANMO", 1, "Malformed: yahoo: GRANMO: asked for bars of 1d, got bars of 1mo"),
        ("MICRO", 4, "Malformed: yahoo: MICRO: its timestamps are not in seconds"),
        (
            "NULLCUR",
            1,
            "UnknownSymbol: yahoo: NULLCUR: Yahoo has no data for this symbol any more (exchange YHD); if it",
        ),
        ("OLDNAME", 1, "UnknownSymbol: yahoo: OLDNAME: Yahoo calls it METANEW now: `financehub instruments rename"),
    ],
)
def test_each_failure_is_told_in_words_of_its_own(
    found: dict[str, Any], symbol: str, requests: int, reason: str
) -> None:
    ((told,),) = rows(found, "failures", symbol)
    assert told.startswith(reason)
    assert found["requests"][symbol] == requests


def test_nothing_else_failed(found: dict[str, Any]) -> None:
    assert [symbol for symbol, _ in found["failures"]] == ["GRANMO", "MICRO", "NULLCUR", "OLDNAME"]


def test_actions_are_stored_without_the_unreadable_ones(found: dict[str, Any]) -> None:
    assert found["actions"] == [
        ("DIVNULL", MARCH[5], "dividend", 0.5),
        ("ZEROSPLIT", MARCH[6], "split", 2.0),
    ]


def test_what_was_left_out_is_written_down_with_its_rule(found: dict[str, Any]) -> None:
    assert found["rejected"] == [
        ("corporate_actions", "DIVNEG", MARCH[5], "value_positive"),
        ("corporate_actions", "DIVNULL", MARCH[6], "value_positive"),
        ("corporate_actions", "ZEROSPLIT", MARCH[5], "value_positive"),
        ("stock_prices_daily", "NANTOKEN", MARCH[3], "finite"),
        ("stock_prices_daily", "NEGADJ", MARCH[0], "adj_close_positive"),
        ("stock_prices_daily", "NEGADJ", MARCH[1], "adj_close_positive"),
        ("stock_prices_daily", "TEXT", MARCH[3], "finite"),
    ]


def test_a_price_below_zero_is_no_adjusted_close(found: dict[str, Any]) -> None:
    assert [row[2] for row in rows(found, "bars", "NEGADJ")][:3] == [None, None, 13.0]


def test_sessions_that_a_late_answer_leaves_out_are_asked_for_again(found: dict[str, Any]) -> None:
    asked = dict(rows(found, "empty", "TRUNC"))
    assert [day for day in MARCH if asked.get(day)] == MARCH[:LATE]
    assert [day for day in MARCH if (day,) in rows(found, "gaps", "TRUNC")] == MARCH[:LATE]


@pytest.mark.parametrize("symbol", ["NEWCO", "FLATCO"])
def test_sessions_before_the_first_trade_are_confirmed_empty(found: dict[str, Any], symbol: str) -> None:
    asked = dict(rows(found, "empty", symbol))
    assert [day for day in MARCH if day in asked] == MARCH[:LATE]
    assert not any(asked.values())
    assert rows(found, "gaps", symbol) == []


def test_a_number_in_a_string_is_that_number(found: dict[str, Any]) -> None:
    assert [row[1] for row in rows(found, "bars", "TEXT")][3] == 15.5
