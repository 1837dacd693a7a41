"""Binance's klines, page by page and digit by digit, through the real client over real HTTP."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from financehub_dagster.gateway.errors import (
    Malformed,
)
from financehub_dagster.providers.base import DailyBars
from financehub_dagster.sandbox.client import Sandbox
from financehub_dagster_tests.contracts.charts import http_date
from financehub_dagster_tests.contracts.klines import BTC, DAY, YEAR, binance, kline
from financehub_dagster_tests.contracts.scripted import Answer, ScriptedVendor, scripted_vendor
from financehub_dagster_tests.fixtures.database import Database

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
def database(shared_database: Database) -> Database:
    """One for the module: these tests write the gateway's state alone."""
    return shared_database


@pytest.fixture
def vendor() -> Iterator[ScriptedVendor]:
    with scripted_vendor(Answer([])) as vendor:
        yield vendor


def fetch(vendor: ScriptedVendor, *answers: Answer) -> DailyBars:
    vendor.will_answer(*answers)
    return binance(vendor.url).daily_bars(BTC, *YEAR)


@pytest.mark.parametrize(("sessions", "requests"), [(1, 1), (999, 1), (1000, 1), (1001, 2), (2000, 2), (2001, 3)])
def test_history_is_paged_at_a_thousand_bars_with_no_request_too_many(
    sandbox: Sandbox, sessions: int, requests: int
) -> None:
    start = date(2016, 1, 1)
    answer = binance().daily_bars(BTC, start, start + timedelta(days=sessions - 1))
    assert len(answer.bars) == sessions
    assert answer.bars["date"].diff().dropna().eq(timedelta(days=1)).all()
    assert sandbox.calls()["by_path"] == {"/api/v3/klines": requests}
    assert answer.calls == requests


def test_a_start_before_the_listing_begins_with_the_first_bar_there_is(sandbox: Sandbox) -> None:
    from_the_first = binance().daily_bars(BTC, date(2000, 1, 1), date(2026, 1, 1)).bars
    assert from_the_first["date"].is_unique
    assert from_the_first["date"].is_monotonic_increasing
    assert sandbox.calls()["total"] == -(-len(from_the_first) // 1000)


def test_gaps_in_the_history_are_paged_over(vendor: ScriptedVendor) -> None:
    first = [kline(date(2017, 1, 1) + timedelta(days=2 * n)) for n in range(1000)]
    rest = [kline(date(2023, 1, 1))]
    vendor.will_answer(Answer(first), Answer(rest))
    answer = binance(vendor.url).daily_bars(BTC, date(2017, 1, 1), date(2023, 12, 31))
    assert len(answer.bars) == 1001
    assert vendor.asked[1].query["startTime"] == str(first[-1][0] + DAY)


def microseconds(rows: list[list[Any]]) -> list[list[Any]]:
    """As Binance sends them to those who ask with X-MBX-TIME-UNIT: MICROSECOND."""
    return [[row[0] * 1000, *row[1:6], row[0] * 1000 + DAY * 1000 - 1, *row[7:]] for row in rows]


def weeks(rows: list[list[Any]]) -> list[list[Any]]:
    return [[row[0], *row[1:6], row[0] + 7 * DAY - 1, *row[7:]] for row in rows]


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        (microseconds([kline(date(2024, 5, 1))]), "got one that opens at 1714521600000000"),
        ([kline(date(2016, 1, 1) + timedelta(days=n)) for n in range(1000)], "got one that opens at 1451606400000"),
        ([kline(date(2024, 5, 1)), kline(date(2025, 1, 1))], "got one that opens at 1735689600000"),
        (weeks([kline(date(2024, 5, 6))]), "asked for daily klines, got one that opens"),
    ],
    ids=["microseconds", "before-the-range", "after-the-range", "weeks"],
)
def test_klines_that_answer_another_question_are_refused_after_one_try(
    vendor: ScriptedVendor, rows: list[list[Any]], problem: str
) -> None:
    with pytest.raises(Malformed, match=problem):
        fetch(vendor, Answer(rows))
    assert len(vendor.asked) == 1


@pytest.mark.parametrize("spoiled", ["NaN", "Infinity", "", "n/a"])
def test_a_number_that_cannot_be_read_is_unknown_and_harms_no_other_kline(vendor: ScriptedVendor, spoiled: str) -> None:
    rows = [kline(date(2024, 5, 1)), kline(date(2024, 5, 2), "1", "2", "0.5", spoiled, "1")]
    bars = fetch(vendor, Answer(rows)).bars
    assert len(bars) == 2
    assert bars["close"].isna().tolist() == [False, True]


def test_the_end_of_the_last_day_is_asked_for_but_not_the_next_day(vendor: ScriptedVendor) -> None:
    fetch(vendor, Answer([]))
    asked = vendor.asked[0].query
    assert asked["endTime"] == str(int(datetime(2025, 1, 1, tzinfo=UTC).timestamp()) * 1000 - 1)
    assert (asked["interval"], asked["limit"], asked["symbol"]) == ("1d", "1000", "BTCUSDT")


def test_strings_become_the_nearest_double_down_to_the_last_digit(vendor: ScriptedVendor) -> None:
    numbers = ("0.00000001", "96500.12345678", "0.00000001", "0.10000000", "148976.11427815")
    bars = fetch(vendor, Answer([kline(date(2024, 5, 1), *numbers)])).bars
    row = bars.iloc[0]
    assert [row.open, row.high, row.low, row.close, row.volume] == [float(number) for number in numbers]
    assert row.adj_close == row.close
    assert bars.dtypes.astype(str).tolist() == ["datetime64[s]", *["float64"] * 6]


def test_a_day_without_trades_is_a_bar(vendor: ScriptedVendor) -> None:
    bars = fetch(vendor, Answer([kline(date(2024, 5, 1), "1.0", "1.0", "1.0", "1.0", "0.00000000")])).bars
    assert bars["volume"].tolist() == [0.0]


def test_the_running_day_is_left_out_by_binances_clock(vendor: ScriptedVendor) -> None:
    rows = [kline(date(2024, 5, 1)), kline(date(2024, 5, 2))]
    midday = {"Date": http_date(datetime(2024, 5, 2, 12, tzinfo=UTC))}
    midnight = {"Date": http_date(datetime(2024, 5, 3, tzinfo=UTC))}
    assert len(fetch(vendor, Answer(rows, headers=midday)).bars) == 1
    assert len(fetch(vendor, Answer(rows, headers=midnight)).bars) == 2


def test_the_sandboxs_running_day_is_left_out(sandbox: Sandbox) -> None:
    today = datetime.now(UTC).date()
    bars = binance().daily_bars(BTC, today - timedelta(days=3), today).bars
    assert bars["date"].max().date() < datetime.now(UTC).date()
    assert len(bars) >= 3


def test_duplicates_and_disorder_are_cleared_up(vendor: ScriptedVendor) -> None:
    first, second = date(2024, 5, 1), date(2024, 5, 2)
    rows = [kline(second), kline(first), kline(second, "9", "9", "9", "9", "9")]
    bars = fetch(vendor, Answer(rows)).bars
    assert [day.date() for day in bars["date"]] == [first, second]
    assert bars["close"].tolist() == [1.5, 9.0]


@pytest.mark.parametrize(
    "body",
    [
        {},
        b"",
        b"<html>maintenance</html>",
        b'[[1714521600000, "1.1"',
        [[1714521600000, "1.1"]],
        [kline(date(2024, 5, 1), "1", "NaN", "1", "1", "1")],
        [kline(date(2024, 5, 1), "1", "Infinity", "1", "1", "1")],
        [kline(date(2024, 5, 1), "1", "", "1", "1", "1")],
        [[row + 1 if isinstance(row, int) else row for row in kline(date(2024, 5, 1))]],
    ],
)
def test_what_is_no_list_of_daily_klines_is_malformed_after_four_tries(vendor: ScriptedVendor, body: Any) -> None:
    with pytest.raises(Malformed):
        fetch(vendor, Answer(body))
    assert len(vendor.asked) == 4


def test_no_bars_is_an_answer_and_not_an_error(vendor: ScriptedVendor) -> None:
    answer = fetch(vendor, Answer([]))
    assert answer.bars.empty
    assert answer.actions.empty
    assert list(answer.bars.columns) == ["date", "open", "high", "low", "close", "adj_close", "volume"]
