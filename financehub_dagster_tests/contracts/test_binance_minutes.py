"""Binance's minutes: what is over, by whose clock, and what the vendor has confirmed."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from financehub_dagster.gateway.errors import BadRequest, Malformed
from financehub_dagster.providers.base import IntradayBars
from financehub_dagster.sandbox.client import Sandbox
from financehub_dagster_tests.contracts.charts import http_date
from financehub_dagster_tests.contracts.klines import BTC, binance
from financehub_dagster_tests.contracts.scripted import Answer, ScriptedVendor, scripted_vendor

pytestmark = pytest.mark.usefixtures("books")

TEN = datetime(2026, 3, 2, 10, tzinfo=UTC)
AGES_AGO = {"Date": http_date(datetime(2026, 3, 3, tzinfo=UTC))}


@pytest.fixture
def vendor() -> Iterator[ScriptedVendor]:
    with scripted_vendor(Answer([])) as vendor:
        yield vendor


def minute(at: datetime, close: str = "1.5", minutes: int = 1, unit: int = 1000) -> list[Any]:
    opened, length = int(at.timestamp()) * unit, 60 * minutes * unit
    return [opened, "1.1", "2.2", "0.5", close, "10.25", opened + length - 1, "15.0", 3, "5.0", "7.5", "0"]


def ask(vendor: ScriptedVendor, *answers: Answer, minutes: int = 10, interval: int = 1) -> IntradayBars:
    vendor.will_answer(*answers)
    provider = binance(vendor.url, breaker_threshold=1000)
    return provider.intraday_bars(BTC, interval, TEN, TEN + timedelta(minutes=minutes))


def opened(answer: IntradayBars) -> list[int]:
    return [(at.replace(tzinfo=UTC) - TEN) // timedelta(minutes=1) for at in answer.bars["ts"].tolist()]


def test_a_thousand_minutes_take_one_request_and_one_more_the_next(sandbox: Sandbox) -> None:
    for minutes, requests in ((1000, 1), (1001, 2), (2000, 2)):
        sandbox.clear_calls()
        answer = binance().intraday_bars(BTC, 1, TEN, TEN + timedelta(minutes=minutes))
        assert (len(answer.bars), answer.calls, sandbox.calls()["total"]) == (minutes, requests, requests)
        assert answer.complete_to == TEN + timedelta(minutes=minutes)
    assert answer.bars["ts"].diff().dropna().eq(timedelta(minutes=1)).all()
    assert answer.bars.dtypes.astype(str).tolist() == ["datetime64[s]", *["float64"] * 5]


def test_longer_bars_come_from_the_vendor_by_name(sandbox: Sandbox) -> None:
    for interval in (5, 15, 60):
        answer = binance().intraday_bars(BTC, interval, TEN, TEN + timedelta(hours=6))
        assert (answer.interval, len(answer.bars)) == (interval, 360 // interval)
    with pytest.raises(BadRequest, match="has no bars of 7 minutes"):
        binance().intraday_bars(BTC, 7, TEN, TEN + timedelta(hours=6))


@pytest.mark.parametrize("second", [0, 1, 59])
def test_the_running_minute_is_left_out_and_what_is_before_it_is_confirmed(sandbox: Sandbox, second: int) -> None:
    sandbox.freeze(TEN.replace(minute=7, second=second))
    answer = binance().intraday_bars(BTC, 1, TEN, TEN + timedelta(minutes=30))
    assert opened(answer) == list(range(7))
    assert answer.complete_to == TEN.replace(minute=7)


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_is_an_hour_off_is_noticed_and_stores_nothing_wrong(
    vendor: ScriptedVendor, caplog: pytest.LogCaptureFixture, hours: int
) -> None:
    """Our clock is as it is: the vendor's differs, which is the same thing."""
    there = datetime.now(UTC) + timedelta(hours=hours)
    first = there.replace(second=0, microsecond=0) - timedelta(minutes=2)
    vendor.will_answer(
        Answer([minute(first + timedelta(minutes=n)) for n in range(3)], headers={"Date": http_date(there)})
    )
    answer = binance(vendor.url).intraday_bars(BTC, 1, first, first + timedelta(minutes=5))
    assert len(answer.bars) == 2
    assert answer.complete_to == first + timedelta(minutes=2)
    assert answer.clock_offset == pytest.approx(3600 * hours, abs=5)
    assert abs(answer.fetched_at - there) < timedelta(seconds=5)
    assert f"this machine's clock is {-60 * hours} min off" in caplog.text


def test_without_a_date_the_databases_clock_decides(vendor: ScriptedVendor) -> None:
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    first = now - timedelta(minutes=5)
    vendor.will_answer(Answer([minute(first + timedelta(minutes=n)) for n in range(8)]))
    answer = binance(vendor.url).intraday_bars(BTC, 1, first, first + timedelta(minutes=10))
    assert len(answer.bars) in (5, 6)  # the minute may turn meanwhile


def test_repeated_and_disordered_bars_are_stored_once_as_said_last(vendor: ScriptedVendor) -> None:
    rows = [minute(TEN), minute(TEN + timedelta(minutes=2)), minute(TEN + timedelta(minutes=1)), minute(TEN, "2.0")]
    answer = ask(vendor, Answer(rows, headers=AGES_AGO))
    assert opened(answer) == [0, 1, 2]
    assert answer.bars["close"].tolist() == [2.0, 1.5, 1.5]


def test_skipped_minutes_are_confirmed_by_the_later_ones(vendor: ScriptedVendor) -> None:
    rows = [minute(TEN), minute(TEN + timedelta(minutes=9))]
    answer = ask(vendor, Answer(rows, headers=AGES_AGO))
    assert (opened(answer), answer.complete_to) == ([0, 9], TEN + timedelta(minutes=10))


def test_microseconds_become_the_same_minutes(vendor: ScriptedVendor) -> None:
    rows = [minute(TEN + timedelta(minutes=n), unit=1_000_000) for n in range(3)]
    assert opened(ask(vendor, Answer(rows, headers=AGES_AGO))) == [0, 1, 2]


@pytest.mark.parametrize("spoiled", ["NaN", "Infinity", "", None])
def test_a_number_that_cannot_be_read_costs_its_own_bar_only(vendor: ScriptedVendor, spoiled: Any) -> None:
    rows = [minute(TEN), minute(TEN + timedelta(minutes=1), spoiled)]
    assert ask(vendor, Answer(rows, headers=AGES_AGO)).bars["close"].isna().tolist() == [False, True]


@pytest.mark.parametrize(
    "rows",
    [
        [minute(TEN, minutes=5)],
        [minute(TEN - timedelta(minutes=1))],
        [minute(TEN + timedelta(minutes=10))],
    ],
    ids=["of-five-minutes", "before-the-range", "after-the-range"],
)
def test_klines_of_another_question_are_refused_after_one_try(vendor: ScriptedVendor, rows: list[list[Any]]) -> None:
    with pytest.raises(Malformed, match="asked for klines"):
        ask(vendor, Answer(rows, headers=AGES_AGO))
    assert len(vendor.asked) == 1


def test_a_minute_that_maintenance_cut_short_is_one(vendor: ScriptedVendor) -> None:
    cut = minute(TEN)
    cut[6] = cut[0] + 14_838
    assert opened(ask(vendor, Answer([cut, minute(TEN + timedelta(minutes=9))], headers=AGES_AGO))) == [0, 9]


def test_no_bars_are_an_answer_that_is_complete(vendor: ScriptedVendor) -> None:
    answer = ask(vendor, Answer([], headers=AGES_AGO))
    assert answer.bars.empty
    assert list(answer.bars.columns) == ["ts", "open", "high", "low", "close", "volume"]
    assert answer.complete_to == TEN + timedelta(minutes=10)
