"""Notifications, delivered by apprise to a real HTTP server: each signal at most once, whatever happens on the way."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta

import pytest
import sqlalchemy as sa

from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.operations.notifications import deliver, rules_to_announce
from financehub_dagster.settings import SettingsError, get_settings
from financehub_dagster.storage.database.transactions import in_transaction
from financehub_dagster.storage.operations import notifications as stored
from financehub_dagster.storage.queries.instruments import upsert_instruments
from financehub_dagster_tests.fixtures.database import Database
from financehub_dagster_tests.fixtures.inbox import Inbox

TODAY = datetime.now(UTC).date()
SENDER = "import sys; from financehub_dagster.operations.notifications import deliver; deliver(sys.argv[1])"


class Signals:
    """Signals in the database, and what became of their notifications."""

    def __init__(self, database: Database) -> None:
        self.database = database
        apple = Instrument("AAPL", "Apple", AssetType.STOCK, "XNAS")
        in_transaction(lambda connection: upsert_instruments(connection, [apple]))

    def fire(self, rule: str, day: date = TODAY, direction: str = "entry", symbol: str = "AAPL") -> None:
        """The rule fires on that day."""
        self.execute(
            "insert into signals (symbol, date, rule, direction, value, level, price, computed_at)"
            " values (:symbol, :day, :rule, :direction, 2, 1, 123.45, now())",
            symbol=symbol,
            day=day,
            rule=rule,
            direction=direction,
        )

    def execute(self, statement: str, **values: object) -> None:
        with self.database.engine.begin() as connection:
            connection.execute(sa.text(statement), values)

    def rows(self, query: str) -> list[tuple]:
        with self.database.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.text(query))]

    @property
    def states(self) -> dict[str, str]:
        """The state of each rule's notification."""
        return dict(self.rows("select rule, state from notifications"))


@pytest.fixture
def signals(database: Database) -> Signals:
    return Signals(database)


def test_a_signal_is_told_once(signals: Signals, inbox: Inbox) -> None:
    signals.fire("sma_50_200")
    assert deliver("one").delivered == 1
    assert deliver("two").delivered == 0
    [message] = inbox.messages
    assert message["title"] == f"FinanceHub: AAPL {TODAY}: golden cross (sma_50_200 entry), close 123.45 USD"
    assert signals.states == {"sma_50_200": "delivered"}


def test_many_signals_are_a_few_messages(signals: Signals, inbox: Inbox) -> None:
    for number in range(25):
        in_transaction(
            lambda connection, number=number: upsert_instruments(  # type: ignore[misc]
                connection, [Instrument(f"S{number}", "Some", AssetType.STOCK, "XNAS")]
            )
        )
        signals.fire("macd_zero", symbol=f"S{number}")
    assert deliver("run").delivered == 25
    assert inbox.titles == ["FinanceHub: 20 signals", "FinanceHub: 5 signals"]
    assert len({line for message in inbox.messages for line in message["message"].splitlines()}) == 25


def test_a_signal_that_is_corrected_after_it_was_told_is_not_told_again(signals: Signals, inbox: Inbox) -> None:
    signals.fire("supertrend")
    deliver("one")
    signals.execute("update signals set direction = 'exit', computed_at = now()")
    deliver("two")
    assert inbox.tries == 1


def test_old_sessions_and_rules_that_nobody_asked_for_are_not_told(signals: Signals, inbox: Inbox) -> None:
    signals.fire("sma_20_50", TODAY - timedelta(days=5))
    signals.fire("cdl_doji", direction="neutral")
    assert deliver("run").queued == 0
    assert inbox.tries == 0


def test_rules_are_chosen_by_name_or_family(monkeypatch) -> None:
    for text, expected in {
        "sma_50_200, bollinger": ["sma_50_200", "bollinger"],
        "macd cdl_hammer": ["macd_signal", "macd_zero", "cdl_hammer"],
    }.items():
        monkeypatch.setenv("FINANCEHUB_NOTIFY", text)
        get_settings.cache_clear()
        assert rules_to_announce() == expected
    monkeypatch.setenv("FINANCEHUB_NOTIFY", "golden")
    get_settings.cache_clear()
    with pytest.raises(
        SettingsError, match=r"FINANCEHUB_NOTIFY: 'golden' is neither a rule .* nor one of averages, rsi"
    ):
        rules_to_announce()
    get_settings.cache_clear()


def test_without_an_address_a_dry_run_is_stored_and_stays_one(signals: Signals, inbox: Inbox, monkeypatch) -> None:
    monkeypatch.delenv("FINANCEHUB_ALERT_URLS")
    get_settings.cache_clear()
    signals.fire("sma_50_200")
    sent = deliver("dry")
    assert (sent.dry_run, sent.delivered) == (1, 0)
    assert "golden cross" in sent.messages[0]
    monkeypatch.setenv("FINANCEHUB_ALERT_URLS", inbox.url)
    get_settings.cache_clear()
    assert deliver("later").delivered == 0
    assert inbox.tries == 0
    assert signals.states == {"sma_50_200": "dry_run"}


def test_a_run_that_is_killed_after_its_message_left_tells_nobody_twice(signals: Signals, inbox: Inbox) -> None:
    signals.fire("sma_50_200")
    inbox.kill_sender = True
    sender = subprocess.Popen([sys.executable, "-c", SENDER, "killed"])
    inbox.sender = sender
    assert sender.wait(timeout=60) == -9
    assert signals.states == {"sma_50_200": "sending"}
    inbox.kill_sender = False
    assert deliver("at once").delivered == 0, "its claim may still be alive"
    signals.execute("update notifications set claimed_at = now() - interval '11 minutes'")
    assert deliver("later").abandoned == 1
    assert signals.rows("select state, error from notifications") == [
        ("unknown", "run killed ended while it was sending: the message may have been delivered")
    ]
    deliver("much later")
    assert inbox.tries == 1


def test_runs_beside_each_other_send_each_signal_once(signals: Signals, inbox: Inbox) -> None:
    for rule in ("sma_50_200", "sma_20_50", "macd_zero", "macd_signal", "supertrend", "rsi_14", "bollinger"):
        for ago in range(4):
            signals.fire(rule, TODAY - timedelta(days=ago))
    with ThreadPoolExecutor(4) as pool:
        sent = list(pool.map(deliver, ["a", "b", "c", "d"]))
    assert sum(each.delivered for each in sent) == 28
    lines = [line for message in inbox.messages for line in message["message"].splitlines()]
    assert len(lines) == len(set(lines)) == 28


def letters(signals: Signals) -> list[tuple]:
    return signals.rows("select task_name, symbol, status, attempts, exception from task_failures")


def test_a_failed_delivery_is_a_dead_letter_until_a_retry_delivers_it(signals: Signals, inbox: Inbox) -> None:
    signals.fire("sma_50_200")
    inbox.status = 500
    assert set(deliver("one").failed) == {"AAPL"}
    [(task, symbol, status, attempts, reason)] = letters(signals)
    assert (task, symbol, status, attempts) == ("notifications", "AAPL", "open", 1)
    assert "no address in FINANCEHUB_ALERT_URLS took it" in reason
    assert inbox.password not in reason
    inbox.status = 200
    assert deliver("a new tick").delivered == 0, "what has failed waits for its retry"
    assert deliver("the retry", ["AAPL"]).delivered == 1
    assert signals.states == {"sma_50_200": "delivered"}
    assert [letter[2] for letter in letters(signals)] == ["resolved"]


def test_a_dead_address_stops_the_run_and_the_others_wait(signals: Signals, inbox: Inbox) -> None:
    for rule in ("sma_50_200", "sma_20_50", "macd_zero", "macd_signal", "supertrend", "rsi_14"):
        for ago in range(4):
            signals.fire(rule, TODAY - timedelta(days=ago))
    inbox.status = 500
    deliver("run")
    assert inbox.tries == 1
    assert sorted(signals.states.values()).count("failed") > 0
    assert signals.rows("select state, count(*) from notifications group by state order by state") == [
        ("failed", 20),
        ("waiting", 4),
    ]


def test_what_waits_is_counted_before_it_is_queued(signals: Signals) -> None:
    def waiting() -> int:
        return in_transaction(lambda connection: stored.count_waiting(connection, rules_to_announce()))

    assert waiting() == 0
    signals.fire("sma_50_200")
    signals.fire("cdl_doji", direction="neutral")
    assert waiting() == 1
    deliver("run")
    assert waiting() == 0
