"""Telling people: one message when something goes wrong, one when it is over.

Belongs here: what counts as an incident, and delivering through apprise. Does not belong here: which messages are due
(storage.operations.alerts). All that is due goes out as one message, once a minute at most, and an address that takes
none is tried less and less often: neither a bad day nor a dead address makes a storm.
"""

import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from financehub_dagster.operations.health import ESSENTIAL, FOR_A_PERSON
from financehub_dagster.settings import get_settings
from financehub_dagster.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from financehub_dagster.storage.database.engine import Connection
    from financehub_dagster.storage.operations.alerts import Due
    from financehub_dagster.storage.operations.health_checks import StatusRow
    from financehub_dagster.storage.operations.sla_breaches import OpenBreach

_logger = logging.getLogger("financehub.alerts")

SOON, LATER = timedelta(seconds=45), timedelta(minutes=10)
"""How long a component has to be bad before it is an incident: an essential one that failed, which takes two looks, and
any other. What only a person can put right is one at once."""
CATCHING_UP = timedelta(minutes=10)
"""How long a table has to be late before it is an incident: after a night asleep the next ticks make it fresh."""
STALE = timedelta(minutes=5)
"""A component that was not checked for longer is no part of the platform any more."""
MOST_LINES = 20
"""Incidents named in one message."""


class DeliveryFailed(Exception):
    """No address took a message; the text names none of them."""


def incidents(rows: "Iterable[StatusRow]", breaches: "Iterable[OpenBreach]") -> dict[str, str]:
    """What people are told of now: each incident by name, with one line of text."""
    known = list(rows)
    now = max((row.checked_at for row in known), default=datetime.now(UTC))
    found = {}
    for row in known:
        lasted = row.checked_at - row.since
        if row.status != "ok" and now - row.checked_at < STALE and lasted >= _patience(row):
            found[f"health/{row.component}"] = f"{row.component} is {row.status}: {row.detail}"
    late: dict[str, list[str]] = {}
    for breach in breaches:
        if breach.kind == "freshness" and breach.checked_at - breach.began_at < CATCHING_UP:
            continue
        late.setdefault(f"{breach.kind}/{breach.table}", []).append(breach.detail)
    for name, details in late.items():
        kind, table = name.split("/")
        what = "is late" if kind == "freshness" else "takes too long"
        more = f" and {len(details) - 3} more" if len(details) > 3 else ""
        found[name] = f"{table} {what}: {'; '.join(details[:3])}{more}"
    return found


def _patience(row: "StatusRow") -> timedelta:
    """How long a component has to be as it is before people are told."""
    if row.component in FOR_A_PERSON:
        return timedelta()
    return SOON if row.status == "failed" and row.component in ESSENTIAL else LATER


def follow(connection: "Connection") -> None:
    """Bring the incidents in line with health and SLA breaches as they are recorded now."""
    from financehub_dagster.storage.operations import alerts, health_checks, sla_breaches

    alerts.follow(connection, incidents(health_checks.newest(connection), sla_breaches.open_breaches(connection)))


def deliver() -> int:
    """Deliver what is due in one message; returns how many incidents it was about, 0 also where delivery failed."""
    from financehub_dagster.storage.database.transactions import in_transaction
    from financehub_dagster.storage.operations import alerts

    due = in_transaction(lambda connection: alerts.take_due(connection, 10 * MOST_LINES))
    if not due:
        return 0
    title, body = text(due)
    try:
        send(title, body)
    except DeliveryFailed as error:
        reason = str(error)
        _logger.warning("an alert was not delivered (%s): %s", reason, title)
        in_transaction(lambda connection: alerts.failed(connection, due, reason))
        return 0
    in_transaction(lambda connection: alerts.delivered(connection, due))
    return len(due)


def text(due: "Sequence[Due]") -> tuple[str, str]:
    """Title and body of the message about these incidents."""
    begun = [each for each in due if each.ended_at is None]
    lines = [_line(each) for each in (*begun, *(each for each in due if each.ended_at is not None))]
    more = [f"... and {len(lines) - MOST_LINES} more: `financehub health`"] if len(lines) > MOST_LINES else []
    numbers = f"{counted(len(begun), 'new problem')}, {len(lines) - len(begun)} over"
    title = f"FinanceHub: {lines[0] if len(lines) == 1 else numbers}"
    return title[:200], "\n".join([*lines[:MOST_LINES], *more])


def _line(due: "Due") -> str:
    if due.ended_at is None:
        again = f" (again, {due.recurrence + 1} times of late)" if due.recurrence else ""
        return f"{due.message}{again}"
    lasted = (due.ended_at - due.opened_at).total_seconds() / 60
    return f"over after {counted(round(lasted), 'minute')}: {due.message}"


def send(title: str, body: str) -> None:
    """Send one message to every address; only log it where there is none. Raises DeliveryFailed if none took it."""
    urls = get_settings().alert_urls()
    if not urls:
        _logger.warning("%s\n%s", title, body)
        return
    taken = [_sent(number, url, title, body) for number, url in enumerate(urls, 1)]
    if not any(taken):
        raise DeliveryFailed("no address in FINANCEHUB_ALERT_URLS took it")


def _sent(number: int, url: str, title: str, body: str) -> bool:
    """Whether the address took the message. apprise logs what it sends where; an address may hold a password."""
    import apprise

    logging.getLogger("apprise").setLevel(logging.CRITICAL)
    address = apprise.Apprise()
    if not address.add(url):
        _logger.warning("FINANCEHUB_ALERT_URLS: address %d is none that apprise knows", number)
        return False
    try:
        taken = bool(address.notify(title=title, body=body))
    except Exception as error:  # noqa: BLE001 - a plugin of apprise must not end supervision; its text may hold the address
        _logger.warning("FINANCEHUB_ALERT_URLS: address %d raised %s", number, type(error).__name__)
        return False
    if not taken:
        _logger.warning("FINANCEHUB_ALERT_URLS: address %d did not take a message", number)
    return taken
