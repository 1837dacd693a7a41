"""Telling people of signals: at most one message for each rule, instrument and session.

Belongs here: which signals people are told of, the texts, and the order of claiming, sending and settling. Does not
belong here: statements (storage.operations.notifications), and how a message leaves (`alerts.send`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from financehub_dagster.market.signals.rules import FAMILIES, RULES, title
from financehub_dagster.operations import alerts
from financehub_dagster.settings import SettingsError, get_settings
from financehub_dagster.wording import counted

if TYPE_CHECKING:
    from financehub_dagster.storage.database.engine import Connection
    from financehub_dagster.storage.operations.notifications import Claimed

MOST_LINES = 20
"""Signals in one message."""
TASK = "notifications"
"""The name under which failed deliveries are dead letters: that of the asset."""


@dataclass
class Sent:
    """What became of the notifications of a run, in rows; failed names instruments with the reason."""

    queued: int = 0
    delivered: int = 0
    dry_run: int = 0
    abandoned: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)


def rules_to_announce() -> list[str]:
    """The rules that FINANCEHUB_NOTIFY names, by name or by family; raises SettingsError for an unknown word."""
    words = get_settings().notify_words()
    unknown = [word for word in words if word not in FAMILIES and all(word != rule.name for rule in RULES)]
    if unknown:
        families = ", ".join(FAMILIES)
        raise SettingsError(
            f"FINANCEHUB_NOTIFY: {unknown[0]!r} is neither a rule (docs/signals.md) nor one of {families}"
        )
    return [rule.name for rule in RULES if rule.name in words or rule.family in words]


def deliver(run_id: str, symbols: Sequence[str] | None = None) -> Sent:
    """Send what waits, message by message; with `symbols`, also what failed of them before.

    Each batch is claimed and committed before it is sent. The first message that no address takes ends the run: its
    signals become dead letters, and those behind it wait for the next one. Raises DatabaseError, SettingsError.
    """
    from financehub_dagster.storage.database.transactions import in_transaction
    from financehub_dagster.storage.operations import notifications as stored

    rules, sent = rules_to_announce(), Sent()

    def prepare(connection: "Connection") -> tuple[int, int]:
        if symbols is not None:
            stored.revive(connection, symbols)
        return stored.abandon(connection), stored.queue(connection, rules)

    sent.abandoned, sent.queued = in_transaction(prepare)
    while not sent.failed:
        claimed = in_transaction(lambda connection: stored.claim(connection, run_id, MOST_LINES))
        if not claimed:
            break
        _send(run_id, claimed, sent)
    return sent


def _send(run_id: str, claimed: "Sequence[Claimed]", sent: Sent) -> None:
    from financehub_dagster.storage.database.transactions import in_transaction
    from financehub_dagster.storage.operations import notifications as stored

    title, body = text(claimed)
    sent.messages.append(body)
    if not get_settings().alert_urls():
        in_transaction(lambda connection: stored.settle(connection, run_id, claimed, "dry_run"))
        sent.dry_run += len(claimed)
        return
    try:
        alerts.send(title, body)
    except alerts.DeliveryFailed as error:
        reason = str(error)
        in_transaction(lambda connection: _failed(connection, run_id, claimed, reason))
        sent.failed |= {each.symbol: reason for each in claimed}
        return
    in_transaction(lambda connection: stored.settle(connection, run_id, claimed, "delivered"))
    sent.delivered += len(claimed)
    done = sorted({each.symbol for each in claimed})
    in_transaction(lambda connection: _resolve(connection, done))


def _failed(connection: "Connection", run_id: str, claimed: "Sequence[Claimed]", reason: str) -> None:
    """Failed messages are dead letters of their instruments, which retry them with growing waits and then park them."""
    from financehub_dagster.storage.dead_letters.dead_letters import Failure, record_failures
    from financehub_dagster.storage.operations import notifications as stored

    stored.settle(connection, run_id, claimed, "failed", reason)
    symbols = sorted({each.symbol for each in claimed})
    letters = [
        Failure(TASK, f"DeliveryFailed: {reason}", "", symbol, kwargs={"symbols": [symbol]}, run_id=run_id)
        for symbol in symbols
    ]
    record_failures(connection, letters)


def _resolve(connection: "Connection", symbols: Sequence[str]) -> None:
    """Close the dead letters of instruments of which no message is left that failed."""
    from financehub_dagster.storage.dead_letters.dead_letters import resolve_failures
    from financehub_dagster.storage.operations import notifications as stored

    left = stored.symbols_with_failed(connection, symbols)
    done = [symbol for symbol in symbols if symbol not in left]
    if done:
        resolve_failures(connection, task_name=TASK, partition_key="", symbols=done)


def text(claimed: "Sequence[Claimed]") -> tuple[str, str]:
    """Title and body of the message about these signals."""
    lines = [line(each) for each in claimed]
    if len(claimed) > 1:
        return f"FinanceHub: {counted(len(claimed), 'signal')}", "\n".join(lines)
    return f"FinanceHub: {lines[0]}"[:200], lines[0]


def line(claimed: "Claimed") -> str:
    """`AAPL 2026-11-27: golden cross (sma_50_200 entry), close 123.45 USD`."""
    what = title(claimed.rule, claimed.direction)
    price = f"{claimed.price:,.6g} {claimed.currency}"
    return f"{claimed.symbol} {claimed.date}: {what} ({claimed.rule} {claimed.direction}), close {price}"
