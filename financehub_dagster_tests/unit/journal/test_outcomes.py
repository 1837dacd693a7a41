"""What becomes of signals: entries followed to the next exit of their rule."""

from datetime import date, timedelta

from financehub_dagster.market.journal.outcomes import Signal, follow, records
from financehub_dagster.market.journal.series import Close
from financehub_dagster.market.journal.week import named

WEEK = named("2026-W48")
LAST = {"AAPL": Close(120.0, WEEK.end), "MSFT": None}


def fired(days_ago: int, direction: str, price: float, rule: str = "macd_zero", symbol: str = "AAPL") -> Signal:
    return Signal(symbol, WEEK.end - timedelta(days=days_ago), rule, direction, price)


def test_an_entry_ends_at_the_next_exit_of_its_rule_and_instrument():
    entry, other, exit_ = fired(20, "entry", 100.0), fired(15, "exit", 90.0, "rsi_14"), fired(10, "exit", 110.0)
    elsewhere = fired(18, "exit", 50.0, symbol="MSFT")
    [outcome] = follow([exit_, elsewhere, entry, other, fired(5, "exit", 80.0)], LAST, WEEK)
    assert outcome.exit == exit_
    assert round(outcome.change or 0, 10) == 0.1


def test_an_entry_without_an_exit_is_open_at_the_last_close():
    [outcome] = follow([fired(30, "exit", 1.0), fired(4, "entry", 100.0)], LAST, WEEK)
    assert (outcome.exit, round(outcome.change or 0, 10)) == (None, 0.2)
    [unpriced] = follow([fired(4, "entry", 100.0, symbol="MSFT")], LAST, WEEK)
    assert unpriced.change is None


def test_each_entry_is_followed_on_its_own():
    outcomes = follow([fired(20, "entry", 100.0), fired(15, "entry", 80.0), fired(10, "exit", 88.0)], LAST, WEEK)
    assert [round(outcome.change or 0, 10) for outcome in outcomes] == [-0.12, 0.1]


def test_an_exit_on_the_day_of_the_entry_is_an_earlier_ones():
    [outcome] = follow([fired(5, "entry", 100.0), fired(5, "exit", 90.0)], LAST, WEEK)
    assert outcome.exit is None


def test_what_fires_after_the_week_is_not_known_yet_and_candlesticks_are_not_followed():
    signals = [fired(3, "entry", 100.0), fired(-2, "exit", 1.0), fired(-1, "entry", 1.0), fired(3, "bullish", 1.0)]
    [outcome] = follow(signals, LAST, WEEK)
    assert outcome.exit is None


def test_records_count_hits_and_mean_returns():
    """Ended: +10 % and -20 %; open: 120 over 100."""
    signals = [
        fired(40, "entry", 100.0),
        fired(35, "exit", 110.0),
        fired(30, "entry", 100.0),
        fired(25, "exit", 80.0),
        fired(5, "entry", 100.0),
        fired(5, "entry", 60.0, "rsi_14"),
    ]
    rsi, macd = records(follow(signals, LAST, WEEK), ["rsi_14", "macd_zero", "bollinger"])
    assert (rsi.rule, rsi.entries, rsi.closed, rsi.hit_rate, rsi.closed_change, rsi.open_change) == (
        "rsi_14",
        1,
        0,
        None,
        None,
        1.0,
    )
    assert (macd.entries, macd.open, macd.closed, macd.hits, macd.hit_rate) == (3, 1, 2, 1, 0.5)
    assert round(macd.closed_change or 0, 10) == -0.05
    assert round(macd.open_change or 0, 10) == 0.2


def test_an_exit_at_the_price_of_the_entry_is_no_hit():
    [record] = records(follow([fired(9, "entry", 100.0), fired(8, "exit", 100.0)], LAST, WEEK), ["macd_zero"])
    assert (record.hits, record.closed) == (0, 1)
    assert date(2026, 11, 27) == WEEK.end
