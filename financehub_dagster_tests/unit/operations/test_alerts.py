"""Alerts, delivered by apprise to a real HTTP server: one message for a beginning, one for an end, and no storms."""

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from financehub_dagster.operations import alerts
from financehub_dagster.operations.watch import OUTAGE_SECONDS, Watcher
from financehub_dagster.settings import get_settings
from financehub_dagster.storage.database.errors import DatabaseUnreachable
from financehub_dagster.storage.operations import alerts as stored
from financehub_dagster.storage.operations.health_checks import StatusRow
from financehub_dagster.storage.operations.sla_breaches import OpenBreach
from financehub_dagster_tests.fixtures.database import Database

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


class Incidents:
    """Incidents in the database, and time that passes for them."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def now(self, **current: str) -> None:
        """These are the incidents now; what is due is delivered."""
        with self.database.engine.begin() as connection:
            stored.follow(connection, current)
        alerts.deliver()

    def later(self, minutes: float) -> None:
        """So many minutes pass."""
        columns = "opened_at ended_at announced_at end_announced_at next_attempt_at".split()
        moved = ", ".join(f"{name} = {name} - make_interval(secs => :seconds)" for name in columns)
        with self.database.engine.begin() as connection:
            connection.execute(sa.text(f"update alerts set {moved}"), {"seconds": 60 * minutes})

    def rows(self, columns: str) -> list[tuple]:
        with self.database.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.text(f"select {columns} from alerts order by id"))]


@pytest.fixture
def incidents(database) -> Incidents:
    return Incidents(database)


def test_an_incident_is_told_once_when_it_begins_and_once_when_it_is_over(incidents, inbox):
    for _ in range(5):
        incidents.now(disk="disk is failed: full")
        incidents.later(1)
    assert inbox.titles == ["FinanceHub: disk is failed: full"]
    incidents.now()
    assert len(inbox.titles) == 1
    incidents.later(1.1)
    for _ in range(3):
        incidents.now()
    assert inbox.titles[1:] == ["FinanceHub: over after 5 minutes: disk is failed: full"]


def test_many_incidents_at_once_are_one_message(incidents, inbox):
    incidents.now(**{f"freshness-{number:05}": f"table {number} is late" for number in range(150)})
    assert inbox.titles == ["FinanceHub: 150 new problems, 0 over"]
    assert len(inbox.messages[0]["message"].splitlines()) == alerts.MOST_LINES + 1
    incidents.later(5)
    incidents.now()
    incidents.later(5)
    incidents.now()
    assert inbox.titles[1:] == ["FinanceHub: 0 new problems, 150 over"]


def test_a_flapping_component_is_told_a_few_times_an_hour_at_most(incidents, inbox):
    """A day in which it fails for a minute and works for a minute, all the time."""
    for _ in range(720):
        incidents.now(yahoo="vendor:yahoo is degraded")
        incidents.later(1)
        incidents.now()
        incidents.later(1)
    assert len(inbox.messages) <= 2
    assert len(incidents.rows("id")) == 1


def test_a_component_that_fails_every_ten_minutes_is_told_ever_less_often(incidents, inbox):
    for _ in range(144):
        incidents.now(yahoo="vendor:yahoo is degraded")
        for _ in range(5):
            incidents.later(2)
            incidents.now()
    assert len(inbox.messages) <= 10
    assert len(incidents.rows("id")) <= 5


def test_an_address_that_is_down_is_tried_ever_less_often_and_gets_one_message_in_the_end(incidents, inbox, caplog):
    inbox.status = 503
    for _ in range(24 * 60):
        incidents.now(disk="disk is failed: full")
        incidents.later(1)
    assert 20 <= inbox.tries <= 40
    [(attempts, error)] = incidents.rows("attempts, error")
    assert attempts == inbox.tries
    assert error == "no address in FINANCEHUB_ALERT_URLS took it"
    assert inbox.password not in caplog.text
    inbox.status = 200
    for _ in range(61):
        incidents.later(1)
        incidents.now(disk="disk is failed: full")
    assert inbox.titles == ["FinanceHub: disk is failed: full"]


def test_what_was_over_before_it_could_be_told_is_one_message(incidents, inbox):
    inbox.status = 503
    incidents.now(disk="disk is failed: full")
    incidents.later(10)
    incidents.now()
    inbox.status = 200
    for _ in range(3):
        incidents.later(5)
        incidents.now()
    assert inbox.titles == ["FinanceHub: over after 10 minutes: disk is failed: full"]


def test_a_second_address_takes_what_the_first_does_not(incidents, inbox, monkeypatch):
    monkeypatch.setenv("FINANCEHUB_ALERT_URLS", f"nonsense://x, json://127.0.0.1:1/, {inbox.url}")
    get_settings.cache_clear()
    incidents.now(disk="disk is failed: full")
    assert len(inbox.messages) == 1
    assert incidents.rows("announced_at is not null, error") == [(True, None)]


def test_without_an_address_alerts_are_logged(incidents, monkeypatch, caplog):
    monkeypatch.delenv("FINANCEHUB_ALERT_URLS", raising=False)
    get_settings.cache_clear()
    for _ in range(3):
        incidents.now(disk="disk is failed: full")
    assert caplog.text.count("FinanceHub: disk is failed: full") == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ()),
        ("json://a/x", ("json://a/x",)),
        (
            "json://a/x, mailto://u:p@b.example?to=c@d.example,e@f.example  slack://t",
            ("json://a/x", "mailto://u:p@b.example?to=c@d.example,e@f.example", "slack://t"),
        ),
    ],
)
def test_addresses_are_separated_by_commas_and_spaces(monkeypatch, text, expected):
    monkeypatch.setenv("FINANCEHUB_ALERT_URLS", text)
    get_settings.cache_clear()
    assert get_settings().alert_urls() == expected


def row(component: str, status: str, minutes: float, age: float = 0.0) -> StatusRow:
    """A component that has had a status for so many minutes, checked `age` minutes ago."""
    checked = NOW - timedelta(minutes=age)
    return StatusRow(component, checked - timedelta(minutes=minutes), checked, status, "as found")  # type: ignore[arg-type]


def test_only_what_lasts_is_an_incident():
    rows = [
        row("database", "ok", 0),
        row("daemon", "failed", 2),
        row("disk", "failed", 0.5),
        row("vendor:yahoo", "degraded", 11),
        row("vendor:binance", "degraded", 9),
        row("sandbox", "failed", 600, age=30),
    ]
    assert set(alerts.incidents(rows, [])) == {"health/daemon", "health/vendor:yahoo"}


def test_what_only_a_person_can_put_right_is_an_incident_at_once():
    rows = [row("keys", "degraded", 0), row("dead-letters", "degraded", 0), row("vendor:yahoo", "degraded", 0)]
    assert set(alerts.incidents(rows, [])) == {"health/keys", "health/dead-letters"}


def test_late_exchanges_of_a_table_are_one_incident():
    later = NOW + alerts.CATCHING_UP
    breaches = [OpenBreach("quotes", "freshness", NOW, later, f"{name}: late") for name in "ABCDE"]
    breaches.append(OpenBreach("fundamentals", "freshness", NOW + timedelta(minutes=1), later, "catches up"))
    assert alerts.incidents([], breaches) == {
        "freshness/quotes": "quotes is late: A: late; B: late; C: late and 2 more"
    }


def test_a_database_that_is_away_is_told_by_who_cannot_record_it_once(caplog):
    sent: list[str] = []
    clock = [0.0]
    answers = [False] * 10 + [True] * 3

    def look() -> None:
        if not answers.pop(0):
            raise DatabaseUnreachable("database 'market' does not answer")

    watcher = Watcher(look, lambda title, _body: sent.append(title), lambda: clock[0])
    for _ in range(13):
        watcher.once()
        clock[0] += OUTAGE_SECONDS / 1.5
    assert sent == ["FinanceHub: the database does not work", "FinanceHub: the database works again"]


def test_a_look_that_fails_in_any_other_way_is_logged_and_the_next_one_comes(caplog):
    def look() -> None:
        raise ValueError("unforeseen")

    watcher = Watcher(look, alerts.send)
    watcher.once()
    watcher.once()
    assert caplog.text.count("the platform could not be looked at") == 2
