"""Every vendor's bars within days against the sandbox: the same minutes from each, whatever habits it has."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pandas as pd
import pytest

from financehub_dagster.gateway.errors import BadRequest, NotInPlan, ProviderError, UnknownSymbol
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.providers import all_providers
from financehub_dagster.providers.base import IntradayBars
from financehub_dagster.sandbox.client import Sandbox
from financehub_dagster_tests.contracts.test_provider_sandbox import GENEROUS, UNIVERSE, make_generous

pytestmark = pytest.mark.usefixtures("books", "keys")

VENDORS = ("yahoo", "twelve_data", "alpha_vantage", "finnhub")
NOW = datetime(2026, 11, 25, 18, 7, 30, tzinfo=UTC)
OPEN = datetime(2026, 11, 25, 14, 30, tzinfo=UTC)
"""Of New York's session that runs at NOW."""
APPLE = UNIVERSE["AAPL"]


@pytest.fixture(autouse=True)
def _frozen(sandbox: Sandbox) -> None:
    for vendor in VENDORS[1:]:
        make_generous(sandbox, vendor)
    sandbox.freeze(NOW)


def provider(vendor: str, **fields: Any) -> Any:
    generous = GENEROUS.get(vendor, {"requests_per_second": 1000})
    return type(all_providers()[vendor])(**{"first_pause": 0.001, "breaker_threshold": 1000, **generous, **fields})


def ask(vendor: str, of: Instrument = APPLE, start: datetime = OPEN, end: datetime = NOW, minutes: int = 1) -> Any:
    found: IntradayBars = provider(vendor).intraday_bars(of, minutes, start, end)
    assert (found.symbol, found.source, found.interval) == (of.symbol, vendor, minutes)
    return found


def opened(answer: IntradayBars) -> list[datetime]:
    return [at.replace(tzinfo=UTC) for at in answer.bars["ts"].tolist()]


@pytest.mark.parametrize("minutes", [1, 5, 15])
def test_all_vendors_have_the_same_bars_of_the_running_session_without_the_running_one(minutes: int) -> None:
    answers = [ask(vendor, minutes=minutes) for vendor in VENDORS]
    last = NOW.replace(minute=7 - 7 % minutes, second=0) - timedelta(minutes=minutes)
    for answer in answers:
        assert (opened(answer)[0], opened(answer)[-1]) == (OPEN, last)
        assert answer.bars.dtypes.astype(str).tolist() == ["datetime64[s]", *["float64"] * 5]
        pd.testing.assert_frame_equal(answer.bars, answers[0].bars)
        assert last + timedelta(minutes=minutes) == answer.complete_to or minutes > 1


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_finished_session_is_complete_and_has_nothing_beside_it(vendor: str) -> None:
    half_day = datetime(2025, 11, 28, 14, 30, tzinfo=UTC)
    if vendor == "yahoo":  # which keeps minutes for 30 days
        half_day = datetime(2026, 11, 24, 14, 30, tzinfo=UTC)
    answer = ask(vendor, start=half_day - timedelta(hours=8), end=half_day + timedelta(hours=14))
    hours = 6.5 if vendor == "yahoo" else 3.5
    assert (opened(answer)[0], opened(answer)[-1]) == (half_day, half_day + timedelta(hours=hours, minutes=-1))
    assert answer.complete_to == half_day + timedelta(hours=14)


@pytest.mark.parametrize(
    ("vendor", "quirk"),
    [
        ("yahoo", "closing_bar"),
        ("yahoo", "extended_hours"),
        ("alpha_vantage", "extended_hours"),
        ("twelve_data", "exchange_time"),
        *((vendor, kind) for vendor in VENDORS for kind in ("duplicated", "strings")),
        *((vendor, "shuffled") for vendor in VENDORS),
    ],
)
def test_a_vendors_habits_and_disorder_change_nothing(sandbox: Sandbox, vendor: str, quirk: str) -> None:
    start = OPEN - timedelta(days=1)
    clean = ask(vendor, start=start)
    sandbox.fault(quirk, vendor=vendor)
    if (vendor, quirk) == ("yahoo", "strings"):  # whose numbers are never text: an answer of another shape
        with pytest.raises(ProviderError):
            ask(vendor, start=start)
        return
    pd.testing.assert_frame_equal(ask(vendor, start=start).bars, clean.bars)
    assert sandbox.faults()[0]["served"] > 0


def test_minutes_that_yahoo_lists_without_prices_are_no_bars(sandbox: Sandbox) -> None:
    clean = ask("yahoo")
    sandbox.fault("null_rows", vendor="yahoo")
    answer = ask("yahoo")
    assert 0 < len(answer.bars) < len(clean.bars)
    assert not answer.bars.isna().any(axis=None)
    merged = answer.bars.merge(clean.bars)
    assert len(merged) == len(answer.bars)


@pytest.mark.parametrize("vendor", VENDORS)
def test_another_symbol_or_no_number_is_an_error_or_no_bar(sandbox: Sandbox, vendor: str) -> None:
    for kind in ("wrong_symbol", "nan", "garbage"):
        sandbox.clear_faults()
        sandbox.fault(kind, vendor=vendor)
        try:
            answer = ask(vendor)
        except ProviderError as error:
            assert error.provider == vendor  # noqa: PT017 - an answer without a number in it would do as well
        else:
            # Finnhub's candles name no symbol.
            assert answer.bars["close"].isna().all() or (vendor, kind) == ("finnhub", "wrong_symbol")


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_changed_minute_is_answered_as_it_is_now_and_a_silent_stretch_has_no_bars(
    sandbox: Sandbox, vendor: str
) -> None:
    before = ask(vendor)
    sandbox.set_minute("AAPL", OPEN, open=500.0, high=500.0, low=500.0, close=500.0)
    sandbox.drop_minutes("AAPL", OPEN + timedelta(minutes=10), OPEN + timedelta(minutes=21), vendor)
    after = ask(vendor)
    assert after.bars["close"].iloc[0] == 500.0
    assert set(opened(before)) - set(opened(after)) <= {OPEN + timedelta(minutes=n) for n in range(10, 21)}
    assert len(opened(after)) < len(opened(before))


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("minutes", [-61, 61])
def test_a_machine_whose_clock_is_off_gets_only_bars_that_are_over_at_the_vendor(
    sandbox: Sandbox, vendor: str, minutes: int
) -> None:
    """The tick asks for what is due by this machine's clock; the vendor's is so many minutes ahead of it."""
    sandbox.freeze(None)
    there = datetime.now(UTC) + timedelta(minutes=minutes)
    sandbox.set_clock(there)
    for symbol in ("AAPL", "EURUSD"):
        if vendor in ("alpha_vantage", "finnhub") and symbol == "EURUSD":
            continue
        answer = ask(vendor, UNIVERSE[symbol], there - timedelta(hours=2), datetime.now(UTC) + timedelta(hours=1))
        now = datetime.now(UTC) + timedelta(minutes=minutes)
        assert all(at + timedelta(minutes=1) <= now for at in opened(answer))
        assert answer.complete_to <= now
        assert answer.clock_offset == pytest.approx(60 * minutes, abs=10)
        assert abs(answer.fetched_at - now) < timedelta(seconds=10)


@pytest.mark.parametrize("vendor", VENDORS)
def test_before_the_open_nothing_is_there_and_after_a_while_that_is_confirmed(sandbox: Sandbox, vendor: str) -> None:
    sandbox.freeze(OPEN + timedelta(seconds=30))
    answer = ask(vendor, start=OPEN, end=OPEN + timedelta(minutes=5))
    assert answer.bars.empty
    assert answer.complete_to <= OPEN


def test_yahoos_minutes_come_by_the_week_for_thirty_days(sandbox: Sandbox) -> None:
    sandbox.freeze(None)
    now = datetime.now(UTC)
    answer = ask("yahoo", start=now - timedelta(days=45), end=now)
    assert now - timedelta(days=30) < answer.told_since < now - timedelta(days=28)
    assert opened(answer)[0] >= answer.told_since
    assert (answer.calls, sandbox.calls()["by_path"]) == (5, {"/v8/finance/chart/AAPL": 5})
    with pytest.raises(NotInPlan, match="keeps bars of 1 min for 30 days only"):
        ask("yahoo", start=now - timedelta(days=45), end=now - timedelta(days=35))
    hours = ask("yahoo", start=now - timedelta(days=45), end=now - timedelta(days=35), minutes=60)
    assert hours.calls == 1
    assert {at.minute for at in opened(hours)} == {30}


def test_hours_that_begin_elsewhere_are_not_asked_for(sandbox: Sandbox) -> None:
    for vendor in ("alpha_vantage", "finnhub"):
        with pytest.raises(BadRequest, match="its hours begin at full hours, not with the session"):
            ask(vendor, minutes=60)
    assert sandbox.calls()["total"] == 0
    pd.testing.assert_frame_equal(ask("twelve_data", minutes=60).bars, ask("yahoo", minutes=60).bars)


def test_without_a_premium_key_alpha_vantage_is_not_asked(sandbox: Sandbox) -> None:
    with pytest.raises(NotInPlan, match="only premium keys get intraday bars"):
        provider("alpha_vantage", premium=False).intraday_bars(APPLE, 1, OPEN, NOW)
    assert sandbox.calls()["total"] == 0
    sandbox.reset()
    with pytest.raises(NotInPlan):
        ask("finnhub")


def test_a_tick_of_todays_minutes_is_one_request_and_earlier_days_take_the_splits(sandbox: Sandbox) -> None:
    sandbox.freeze(None)
    sandbox.set_clock(NOW)
    assert provider("alpha_vantage").intraday_bars(APPLE, 1, OPEN, NOW).calls == 1
    earlier = provider("alpha_vantage").intraday_bars(APPLE, 1, OPEN - timedelta(days=30), NOW)
    assert earlier.calls == 3  # October, November, and the splits
    assert sandbox.calls()["by_vendor"] == {"alpha_vantage": 4}


def test_minutes_before_a_split_are_on_the_basis_after_it(sandbox: Sandbox) -> None:
    day = timedelta(days=1)
    before = ask("twelve_data", start=OPEN - 2 * day).bars
    sandbox.split("AAPL", OPEN.date(), 4)
    for vendor in ("twelve_data", "alpha_vantage"):
        after = ask(vendor, start=OPEN - 2 * day).bars
        early = before["ts"] < pd.Timestamp(OPEN.replace(tzinfo=None))
        assert after["close"][early].to_numpy() == pytest.approx(before["close"][early].to_numpy() / 4, rel=2e-3)
        assert after["close"][~early].tolist() == before["close"][~early].tolist()


def test_twelve_data_answers_several_symbols_at_once_for_a_credit_each(sandbox: Sandbox) -> None:
    asked = [UNIVERSE[symbol] for symbol in ("AAPL", "MSFT", "BTC", "ETH")]
    nobody = Instrument("NOSUCH", "Nobody", AssetType.STOCK, "XNYS", "USD", "America/New_York")
    together = provider("twelve_data").intraday_batch([*asked, nobody], 1, OPEN, NOW)
    assert sandbox.calls("twelve_data")["total"] == 1
    assert {type(error) for error in together.failed.values()} == {UnknownSymbol}
    assert sum(answer.calls for answer in together.answers.values()) == 1
    for each in asked:
        pd.testing.assert_frame_equal(together.answers[each.symbol].bars, ask("twelve_data", each).bars)


def test_a_batch_is_as_large_as_the_minutes_credits_and_long_ranges_are_paged(sandbox: Sandbox) -> None:
    asked = [UNIVERSE[symbol] for symbol in ("AAPL", "MSFT", "IBM")]
    assert provider("twelve_data", credits_per_minute=2).batch_size() == 2
    month = provider("twelve_data").intraday_batch(asked[:2], 1, OPEN - timedelta(days=25), NOW)
    assert sandbox.calls("twelve_data")["total"] == 3
    for each in asked[:2]:
        bars = month.answers[each.symbol].bars
        assert len(bars) > 5000
        assert bars["ts"].is_unique
        assert bars["ts"].is_monotonic_increasing


@pytest.mark.parametrize("vendor", ["yahoo", "twelve_data", "alpha_vantage"])
def test_currencies_have_daily_bars_that_are_over_when_new_york_has_closed(sandbox: Sandbox, vendor: str) -> None:
    # Yahoo's are made of hours; the others are cut at midnight UTC, too, and change until then.
    evening = 24 if vendor == "yahoo" else 23
    moments = ((24, 21, 59, 23), (24, 22, 30, evening), (25, 1, 0, 24), (28, 2, 0, 27), (29, 23, 30, 27))
    for day, hour, minute, last in moments:
        sandbox.freeze(datetime(2026, 11, day, hour, minute, tzinfo=UTC))
        bars = provider(vendor).daily_bars(UNIVERSE["EURUSD"], date(2026, 11, 9), date(2026, 11, 30)).bars
        assert (bars["date"].min().date(), bars["date"].max().date()) == (date(2026, 11, 9), date(2026, 11, last))
        assert {at.weekday() for at in bars["date"]} == {0, 1, 2, 3, 4}
        assert bars["volume"].eq(0).all()


def test_yahoos_currencies_end_in_new_york_for_two_years_and_in_london_before(sandbox: Sandbox) -> None:
    sandbox.freeze(None)
    pair, today = UNIVERSE["GBPUSD"], datetime.now(UTC).date()
    found = provider("yahoo").daily_bars(pair, today - timedelta(days=800), today - timedelta(days=3))
    assert found.calls == 2
    assert found.bars["date"].is_unique
    assert found.bars["date"].is_monotonic_increasing
    one = provider("twelve_data").daily_bars(pair, today - timedelta(days=800), today - timedelta(days=3)).bars
    assert found.bars["date"].tolist() == one["date"].tolist()
    for column in ("open", "high", "low", "close"):
        assert found.bars[column].to_numpy() == pytest.approx(one[column].to_numpy(), abs=1e-5)


@pytest.mark.parametrize("vendor", ["yahoo", "twelve_data"])
@pytest.mark.parametrize("symbol", ["DAX", "NDX", "DJI", "EURUSD", "GBPUSD", "BTC"])
def test_indices_currencies_and_cryptos_have_every_minute_of_their_sessions(vendor: str, symbol: str) -> None:
    answer = ask(vendor, UNIVERSE[symbol], start=OPEN - timedelta(hours=12))
    first = {"DAX": datetime(2026, 11, 25, 8, tzinfo=UTC), "NDX": OPEN, "DJI": OPEN}
    last = {"DAX": datetime(2026, 11, 25, 16, 30, tzinfo=UTC)}
    begins, ends = first.get(symbol, OPEN - timedelta(hours=12)), last.get(symbol, NOW.replace(second=0))
    assert opened(answer) == [begins + timedelta(minutes=n) for n in range(int((ends - begins).total_seconds()) // 60)]
    assert (answer.bars["low"] <= answer.bars["high"]).all()
