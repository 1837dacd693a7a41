"""The sample market gives the same answer to the same question, whoever asks, whenever and in whatever pieces."""

import hashlib
import subprocess
import sys
from datetime import UTC, date, datetime

import numpy as np
import pytest

from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.sandbox.market.history import History
from financehub_dagster.sandbox.market.listings import synthetic
from financehub_dagster.sandbox.market.market import Market
from financehub_dagster.sandbox.market.recordings import recorded_daily, recorded_intraday, recorded_symbols
from financehub_dagster.sandbox.market.sessions import sessions_of

NOON = datetime(2026, 6, 12, 16, 0, tzinfo=UTC).timestamp()
#: Prints a digest of some histories, so that another process can be compared with this one.
DIGEST = """
import hashlib
from financehub_dagster.sandbox.market.market import Market
market = Market(now=lambda: {now})
for symbol in ("AAPL", "TSLA", "BTC", "DOGE"):
    history = market.daily(market.listed.get(symbol))
    columns = (history.open, history.high, history.low, history.close, history.volume, history.dividend)
    print(symbol, hashlib.sha256(b"".join(each.tobytes() for each in columns)).hexdigest())
"""


def digest(history: History) -> str:
    columns = (history.open, history.high, history.low, history.close, history.volume, history.dividend)
    return hashlib.sha256(b"".join(each.tobytes() for each in columns)).hexdigest()


@pytest.fixture(scope="module")
def market() -> Market:
    return Market(now=lambda: NOON)


def listed(market: Market, symbol: str) -> Instrument:
    instrument = market.listed.get(symbol)
    assert instrument is not None
    return instrument


def test_another_process_sees_the_same_numbers(market: Market) -> None:
    command = [sys.executable, "-c", DIGEST.format(now=NOON)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()
    assert lines == [
        f"{symbol} {digest(market.daily(listed(market, symbol)))}" for symbol in ("AAPL", "TSLA", "BTC", "DOGE")
    ]


@pytest.mark.parametrize("symbol", ["AAPL", "TSLA", "BTC", "SOL"])
def test_a_later_day_adds_bars_and_changes_none(market: Market, symbol: str) -> None:
    later = Market(now=lambda: NOON + 400 * 86_400)
    before, after = market.daily(listed(market, symbol)), later.daily(listed(later, symbol))
    # The last bar of the earlier view may still have been running.
    finished = len(before) - 1
    assert len(after) > len(before)
    assert digest(after[:finished]) == digest(before[:finished])


def test_every_bar_of_every_listing_is_possible(market: Market) -> None:
    for instrument in market.listed:
        history = market.daily(instrument)
        bodies = np.minimum(history.open, history.close), np.maximum(history.open, history.close)
        assert (history.low > 0).all(), instrument
        assert (history.low <= bodies[0]).all(), instrument
        assert (history.high >= bodies[1]).all(), instrument
        assert (history.volume >= 0).all(), instrument
        assert (np.diff(history.date).astype(int) > 0).all(), instrument


@pytest.mark.parametrize("symbol", recorded_symbols())
def test_the_recording_is_served_unchanged_and_continued_from_its_last_close(market: Market, symbol: str) -> None:
    recording, history = recorded_daily(symbol), market.daily(listed(market, symbol))
    n = len(recording.date)
    assert history.recorded.tolist() == [True] * n + [False] * (len(history) - n)
    for column in ("date", "open", "high", "low", "close", "volume"):
        assert (getattr(history, column)[:n] == getattr(recording, column)).all()
    assert abs(history.open[n] / recording.close[-1] - 1) < 0.1
    sessions = sessions_of(listed(market, symbol).exchange)
    expected = sessions.date[(sessions.date > recording.date[-1]) & (sessions.opens <= NOON)]
    assert history.date[n:].tolist() == expected.tolist()


def test_what_was_recorded_by_the_minute_is_met_by_the_invented_days_before(market: Market) -> None:
    for recording in recorded_intraday():
        history = market.daily(listed(market, recording.symbol))
        before = int(np.searchsorted(history.closes, recording.open_time[0], side="right")) - 1
        assert history.close[before] == pytest.approx(recording.open[0], rel=0.01)


def test_a_market_that_has_not_opened_today_has_no_bar_today() -> None:
    friday = datetime(2026, 6, 12, tzinfo=UTC)
    for hour, minute, last in ((13, 29, "2026-06-11"), (13, 30, "2026-06-12"), (23, 0, "2026-06-12")):
        market = Market(now=lambda: friday.replace(hour=hour, minute=minute).timestamp())  # noqa: B023 - asked at once
        assert str(market.daily(listed(market, "AAPL")).date[-1]) == last
        assert str(market.daily(listed(market, "BTC")).date[-1]) == "2026-06-12"


def test_an_unfinished_bar_is_possible_and_grows_into_the_finished_one() -> None:
    market = Market(now=lambda: NOON)
    volumes = []
    for hour in range(14, 21):
        market.frozen_at = datetime(2026, 6, 12, hour, tzinfo=UTC).timestamp()
        bar = market.daily(listed(market, "NVDA"))[-1:]
        assert bar.low[0] <= min(bar.open[0], bar.close[0])
        assert bar.high[0] >= max(bar.open[0], bar.close[0])
        volumes.append(bar.volume[0])
    assert volumes == sorted(set(volumes))


def test_some_stocks_pay_dividends_some_split_and_cryptos_do_neither(market: Market) -> None:
    stocks = [market.daily(each) for each in market.listed if each.asset_type is AssetType.STOCK]
    others = [market.daily(each) for each in market.listed if each.asset_type is not AssetType.STOCK]
    assert 0 < sum(bool(history.dividend.any()) for history in stocks) < len(stocks)
    assert 0 < sum(bool((history.split != 1).any()) for history in stocks) < len(stocks)
    assert not any(history.dividend.any() or (history.split != 1).any() for history in others)
    assert not any((history.dividend[history.recorded] != 0).any() for history in stocks)


def test_an_action_declared_for_a_day_without_a_session_shows_in_the_next_one() -> None:
    market, saturday, monday = Market(now=lambda: NOON), date(2016, 1, 9), np.datetime64("2016-01-11")
    market.amendments.declare_dividend("AAPL", saturday, 0.5)
    market.amendments.declare_split("AAPL", saturday, 3)
    days = market.daily(listed(market, "AAPL"))
    row = days.date == monday
    assert (days.dividend[row].tolist(), days.split[row].tolist()) == ([0.5], [3.0])


def test_invented_symbols_differ_from_each_other(market: Market) -> None:
    closes = {float(market.daily(each).close[-1]) for each in synthetic(50)}
    assert len(closes) > 45
