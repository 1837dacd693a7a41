"""Minutes of long ago come from Binance's bulk files, and from the API whatever is wrong with one."""

import logging
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from financehub_dagster.gateway.errors import Malformed
from financehub_dagster.gateway.request_context import counting
from financehub_dagster.ingest.concurrency import at_once
from financehub_dagster.providers import intraday
from financehub_dagster.providers.base import IntradayBars
from financehub_dagster.providers.binance.provider import BinanceProvider
from financehub_dagster.sandbox.client import Sandbox
from financehub_dagster.settings import get_settings
from financehub_dagster.storage.database.engine import market_engine
from financehub_dagster.storage.rate_limits import usage
from financehub_dagster_tests.contracts.klines import BTC, binance
from financehub_dagster_tests.contracts.scripted import Answer, scripted_vendor

pytestmark = pytest.mark.usefixtures("books")

FEBRUARY = datetime(2024, 2, 1, tzinfo=UTC)
WEEK = 7 * 1440
ZIP = "/data/spot/monthly/klines/BTCUSDT/1m/BTCUSDT-1m-2024-02.zip"
FILE = {ZIP: 1, f"{ZIP}.CHECKSUM": 1}


def ask(provider: BinanceProvider, start: datetime = FEBRUARY, days: float = 7, interval: int = 1) -> IntradayBars:
    return provider.intraday_bars(BTC, interval, start, start + timedelta(days=days))


@pytest.fixture(autouse=True)
def _nothing_is_held_back(books: None) -> None:
    """No test meets the circuit breaker or the hold of another one."""
    with market_engine().begin() as connection:
        for table in ("breakers", "rate_limits"):
            connection.execute(sa.text(f"delete from {table}"))


@pytest.fixture
def told(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> IntradayBars:
    """What the API alone says of the first week of February."""
    with monkeypatch.context() as environment:
        environment.setenv("FINANCEHUB_BULK_FILES", "off")
        get_settings.cache_clear()
        answer = ask(binance())
    get_settings.cache_clear()
    assert (answer.calls, answer.from_bulk_files) == (11, 0)
    sandbox.clear_calls()
    return answer


def same(answer: IntradayBars, told: IntradayBars) -> None:
    """Bars, their source and what is confirmed, to the last digit."""
    assert answer.bars.equals(told.bars)
    assert (answer.source, answer.complete_to) == (told.source, told.complete_to)


def by_path(sandbox: Sandbox) -> dict[str, int]:
    return dict(sandbox.calls("binance")["by_path"])


def test_a_week_of_a_month_that_is_over_comes_from_its_file_with_the_bars_of_the_api(
    sandbox: Sandbox, told: IntradayBars
) -> None:
    answer = ask(binance())
    same(answer, told)
    assert (answer.calls, answer.from_bulk_files, by_path(sandbox)) == (2, WEEK, FILE)
    assert {call["weight"] for call in sandbox.calls("binance", detail=True)["calls"]} == {0}


@pytest.mark.parametrize("interval", [1, 5, 15, 60])
def test_a_month_in_microseconds_has_the_bars_of_the_api(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, interval: int
) -> None:
    start = datetime(2025, 2, 1, tzinfo=UTC)
    answer = ask(binance(), start, 28, interval)
    assert answer.from_bulk_files == (0 if interval == 60 else 28 * 1440 // interval)
    monkeypatch.setenv("FINANCEHUB_BULK_FILES", "off")
    get_settings.cache_clear()
    same(answer, ask(binance(), start, 28, interval))


def test_weeks_that_are_asked_for_at_once_take_one_file(sandbox: Sandbox) -> None:
    provider = binance()

    def week(number: int) -> IntradayBars:
        return ask(provider, FEBRUARY + timedelta(days=7 * number))

    with counting() as sent, closing(at_once(week, range(4))) as found:
        answers = list(found)
    assert sent.requests == 2
    assert [len(answer.bars) for answer in answers] == [WEEK] * 4
    assert sorted(answer.calls for answer in answers) == [0, 0, 0, 2]
    assert by_path(sandbox) == FILE
    with counting():
        assert ask(provider).calls == 2, "the next run asks anew"


@pytest.mark.parametrize("status", [400, 401, 403, 451])
def test_who_is_refused_one_file_asks_for_no_other_until_a_while_later(sandbox: Sandbox, status: int) -> None:
    sandbox.fault("status", vendor="binance", path="/data/spot", status=status)
    for month in (FEBRUARY, FEBRUARY - timedelta(days=29)):
        with counting():
            assert ask(binance(), month).from_bulk_files == 0
    assert by_path(sandbox) == {f"{ZIP}.CHECKSUM": 1, "/api/v3/klines": 22}


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        ("bad_checksum", {"path": "CHECKSUM"}, "BTCUSDT-1m-2024-02.zip does not have the checksum that stands beside"),
        ("corrupt_zip", {}, "BTCUSDT-1m-2024-02.zip cannot be unzipped"),
        ("status", {"status": 404}, "there is no BTCUSDT-1m-2024-02.zip"),
        ("status", {"status": 404, "path": "02.zip", "after": 1}, "there is no BTCUSDT-1m-2024-02.zip"),
        ("garbage", {"path": "CHECKSUM"}, "has no checksum that could be read"),
        ("empty", {}, "has no checksum that could be read"),
        ("html", {}, "has no checksum that could be read"),
        ("truncated", {"path": "02.zip", "after": 1}, "the answer broke off"),
        ("reset", {}, "the connection was closed"),
        ("status", {"status": 503}, "binance_bulk: BTC: HTTP 503"),
        ("status", {"status": 403}, "this address is refused"),
        ("status", {"status": 429, "retry_after": 600}, "HTTP 429"),
    ],
    ids=lambda each: each if isinstance(each, str) else None,
)
def test_whatever_is_wrong_with_a_file_the_api_is_asked_and_the_log_says_why(
    sandbox: Sandbox,
    told: IntradayBars,
    caplog: pytest.LogCaptureFixture,
    kind: str,
    options: dict[str, Any],
    said: str,
) -> None:
    caplog.set_level(logging.INFO, "financehub.providers")
    sandbox.fault(kind, vendor="binance", **{"path": "/data/spot", **options})
    provider = binance(breaker_threshold=1000)
    with counting():
        same(ask(provider), told)
        assert by_path(sandbox)["/api/v3/klines"] == 11
        assert said in caplog.text
        assert "asking the API" in caplog.text
        sandbox.clear_faults()
        sandbox.clear_calls()
        same(ask(provider), told)
        assert by_path(sandbox) == {"/api/v3/klines": 11}, "a run asks for a file once"


def test_minutes_that_a_file_lacks_come_from_the_api_in_one_request(sandbox: Sandbox, told: IntradayBars) -> None:
    sandbox.fault("bulk_gap", vendor="binance")
    answer = ask(binance())
    same(answer, told)
    assert (answer.from_bulk_files, by_path(sandbox)) == (WEEK - 60, {**FILE, "/api/v3/klines": 1})


def test_minutes_that_nobody_has_are_asked_for_at_the_api_too(sandbox: Sandbox) -> None:
    hole = FEBRUARY + timedelta(days=2, hours=2)
    sandbox.drop_minutes("BTC", hole, hole + timedelta(minutes=5))
    answer = ask(binance())
    assert (len(answer.bars), answer.calls) == (WEEK - 5, 3)
    assert answer.complete_to == FEBRUARY + timedelta(days=7)


def test_an_api_that_fails_fails_the_question_for_what_files_lack_only(sandbox: Sandbox, told: IntradayBars) -> None:
    sandbox.fault("garbage", vendor="binance", path="/api/v3")
    same(ask(binance(breaker_threshold=1000)), told)
    sandbox.fault("bulk_gap", vendor="binance", path="/data/spot")
    with pytest.raises(Malformed):
        ask(binance(breaker_threshold=1000))


def test_before_a_months_file_appears_its_days_files_are_read_and_the_last_days_asked_for(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime(2024, 3, 1, 12, tzinfo=UTC)
    monkeypatch.setattr(intraday, "our_clock", lambda: now)
    sandbox.freeze(now)
    answer = ask(binance(), now - timedelta(days=4, hours=12), 5)
    assert answer.complete_to == now
    assert (len(answer.bars), answer.from_bulk_files) == (int(4.5 * 1440), 3 * 1440)
    folder = "/data/spot/daily/klines/BTCUSDT/1m"
    days = [f"{folder}/BTCUSDT-1m-2024-02-{day}.zip" for day in (26, 27, 28)]
    assert by_path(sandbox) == {
        f"{ZIP}.CHECKSUM": 1,
        **{day + suffix: 1 for day in days for suffix in ("", ".CHECKSUM")},
        "/api/v3/klines": 3,
    }


def test_before_the_listing_a_months_file_and_one_request_show_that_there_is_nothing(sandbox: Sandbox) -> None:
    answer = ask(binance(), datetime(2009, 2, 1, tzinfo=UTC), 28)
    assert (len(answer.bars), answer.calls) == (0, 2)


def test_bars_of_files_are_stamped_by_the_clock_of_binance_where_ours_is_off(sandbox: Sandbox) -> None:
    sandbox.freeze(datetime.now(UTC) + timedelta(hours=3))
    provider = binance()
    with counting():
        for calls in (2, 0):
            answer = ask(provider)
            assert (len(answer.bars), answer.calls) == (WEEK, calls)
            assert answer.clock_offset == pytest.approx(3 * 3600, abs=30)
            assert answer.fetched_at - datetime.now(UTC) > timedelta(hours=2, minutes=59)


def test_short_and_running_ranges_ask_for_no_file(sandbox: Sandbox) -> None:
    now = datetime.now(UTC)
    ask(binance(), now - timedelta(hours=30), 1.25)
    ask(binance(), FEBRUARY + timedelta(hours=1), 0.95)
    binance().daily_bars(BTC, date(2020, 1, 1), date(2024, 12, 31))
    assert set(by_path(sandbox)) == {"/api/v3/klines"}


def test_an_api_elsewhere_has_no_files_unless_they_are_stated(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BINANCE_BULK_BASE_URL")
    get_settings.cache_clear()
    assert binance()._bulk_files() is None
    assert ask(binance()).calls == 11
    assert ask(binance(bulk_base_url=sandbox.binance_url)).calls == 2
    for address in ("https://data-api.binance.vision", "https://api1.binance.com"):
        files = binance(address)._bulk_files()
        assert files is not None
        assert files.address == "https://data.binance.vision"
    monkeypatch.delenv("BINANCE_BASE_URL")
    get_settings.cache_clear()
    assert binance()._bulk_files() is not None
    for address in ("https://api.binance.us", "https://testnet.binance.vision", "https://api.binance.com.example.org"):
        assert binance(address)._bulk_files() is None


def test_files_have_limits_and_counts_of_their_own(sandbox: Sandbox) -> None:
    before = counted()
    ask(binance())
    after = counted()
    assert after.get("binance_bulk", 0) - before.get("binance_bulk", 0) == 2
    assert after.get("binance", 0) == before.get("binance", 0)


def counted() -> dict[str, int]:
    """Calls so far, by provider."""
    found: dict[str, int] = {}
    for each in usage.read(market_engine(), date(2000, 1, 1)):
        found[each.provider] = found.get(each.provider, 0) + each.calls
    return found


def test_a_file_that_is_too_large_is_not_read_to_its_end(
    sandbox: Sandbox, told: IntradayBars, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "financehub.providers")
    with scripted_vendor(Answer(bytes(9 * 2**20))) as endless:
        endless.rule = lambda asked: Answer(b"" if asked.path.endswith("CHECKSUM") else bytes(9 * 2**20))
        same(ask(binance(bulk_base_url=endless.url)), told)
    assert "larger than 8,388,608 bytes" in caplog.text
