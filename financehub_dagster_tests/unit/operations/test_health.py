"""Health: what each component is judged by, on real databases and over real HTTP."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from financehub_dagster.cli.app import run
from financehub_dagster.cli.supervisor import ports
from financehub_dagster.gateway.api_keys import fingerprint
from financehub_dagster.operations import health
from financehub_dagster.operations.parts import STATE_FILE, Parts, parts
from financehub_dagster.operations.watch import look
from financehub_dagster.providers.binance.provider import BinanceProvider
from financehub_dagster.settings import get_settings
from financehub_dagster.storage.database.processes import start_of
from financehub_dagster.storage.operations import health_checks
from financehub_dagster.storage.operations.health_checks import Checked, Status
from financehub_dagster.storage.rate_limits import api_keys, circuit_breakers, usage
from financehub_dagster_tests.fixtures.database import Database, clear_caches

BEGAN = "2026-11-29T06:00:00+00:00"


def found() -> dict[str, Checked]:
    return {each.component: each for each in health.check().components}


def stored(database: Database) -> list[tuple]:
    query = "select component, status, checks from health_checks order by component, since"
    with database.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(sa.text(query))]


def store(database: Database, *results: Checked) -> None:
    with database.engine.begin() as connection:
        health_checks.store(connection, results)


def test_a_platform_without_a_daemon_is_unhealthy_until_it_writes_a_heartbeat(dagster_tables):
    assert health.check().status == "failed"
    assert "`financehub up` starts it" in found()["daemon"].detail
    dagster_tables.beat(seconds_ago=5)
    assert found()["daemon"].status == "ok"
    dagster_tables.beat(seconds_ago=100)
    assert found()["daemon"].status == "failed"
    assert "no heartbeat for 100 s" in found()["daemon"].detail


def test_a_daemon_that_writes_heartbeats_and_lets_nothing_tick_is_found(dagster_tables):
    """Its calls to a code server may hang for ever where the system had no more processes for a while."""
    dagster_tables.beat()
    dagster_tables.tick(seconds_ago=1_000)
    checked = found()["daemon"]
    assert checked.status == "degraded"
    assert "nothing has ticked for 17 minutes" in checked.detail
    just = Parts({}, {"daemon": datetime.now(UTC)})
    assert health.daemon(just).status == "ok", "the supervisor has just started it"
    dagster_tables.tick(seconds_ago=200)
    assert found()["daemon"].status == "ok"


def test_a_database_that_does_not_answer_is_found_and_the_rest_is_checked_all_the_same(monkeypatch):
    monkeypatch.setenv("FINANCEHUB_DATABASE_URL", f"postgresql://somebody@127.0.0.1:{ports.pick_free()}/market")
    clear_caches()
    checked = health.check()
    components = {each.component: each.status for each in checked.components}
    assert (checked.status, components["database"], components["daemon"]) == ("failed", "failed", "degraded")
    assert "disk" in components
    clear_caches()


def test_an_open_circuit_breaker_degrades_its_vendor_only(dagster_tables, database, monkeypatch):
    monkeypatch.delenv("YAHOO_BASE_URL", raising=False)
    get_settings.cache_clear()
    dagster_tables.beat()
    circuit_breakers.fail(database.engine, "yahoo", "quotes@elsewhere:1", "not ours", threshold=1, open_seconds=60)
    assert found()["vendor:yahoo"].status == "ok"
    circuit_breakers.fail(database.engine, "yahoo", "quotes", "three in a row", threshold=1, open_seconds=60)
    checked = health.check()
    vendors = {each.component: each for each in checked.components}
    assert (vendors["vendor:yahoo"].status, vendors["vendor:binance"].status) == ("degraded", "ok")
    assert "three in a row" in vendors["vendor:yahoo"].detail
    assert checked.status == "degraded"


def test_a_refused_key_is_shown_until_it_is_replaced_or_used_again(dagster_tables, database, monkeypatch):
    """A spent quota comes back by itself and a key that was replaced is nobody's concern."""
    monkeypatch.delenv("FINNHUB_BASE_URL", raising=False)
    assert found()["keys"].detail == "no key is set"
    monkeypatch.setenv("FINNHUB_API_KEYS", "canary-key-of-mine,canary-key-of-yours")
    get_settings.cache_clear()
    mine, yours = (fingerprint("finnhub", key) for key in get_settings().api_keys("finnhub"))
    api_keys.bench(database.engine, "finnhub", yours, cause="QuotaSpent", reason="the day is spent", seconds=3600)
    assert (found()["keys"].status, found()["keys"].detail) == ("ok", "none of 2 is refused")
    api_keys.bench(database.engine, "finnhub", mine, cause="BadKey", reason="finnhub: 401", seconds=3600)
    assert found()["keys"].status == "degraded"
    assert found()["keys"].detail.startswith(f"1 of 2 refused ({mine}: finnhub: 401): replace it")
    monkeypatch.setenv("FINNHUB_API_KEYS", "canary-key-of-yours")
    get_settings.cache_clear()
    assert found()["keys"].detail == "none of 1 is refused"
    monkeypatch.setenv("FINNHUB_API_KEYS", "canary-key-of-mine")
    get_settings.cache_clear()
    with database.engine.begin() as connection:
        assert api_keys.release(connection, "BadKey") == 1
    assert found()["keys"].detail == "none of 1 is refused"


def test_parked_dead_letters_degrade_the_platform_and_waiting_ones_do_not(dagster_tables, database):
    dagster_tables.beat()
    insert = """
        insert into task_failures (task_name, partition_key, symbol, exception, status) values
        ('quotes', '2026-11-29', 'KO', 'UnknownSymbol', 'open'), ('quotes', '2026-11-29', 'PEP', 'Transient', :status)
    """
    with database.engine.begin() as connection:
        connection.execute(sa.text(insert), {"status": "retrying"})
    assert found()["dead-letters"].status == "ok"
    with database.engine.begin() as connection:
        connection.execute(sa.text("update task_failures set status = 'parked' where status = 'retrying'"))
    letters = found()["dead-letters"]
    assert (letters.status, letters.detail) == (
        "degraded",
        "parked: 1 of quotes; `financehub dlq list --status parked`",
    )


def test_a_vendor_that_was_called_tells_its_clock_and_its_last_outcome(dagster_tables, database, sandbox):
    usage.count(database.engine, "yahoo", f"ip@{sandbox.yahoo_url.split('/')[2]}", "Transient")
    BinanceProvider(base_url=sandbox.binance_url).test_connection()
    checked = found()
    assert checked["clock"].status == "ok"
    assert "the clocks of 1 vendor" in checked["clock"].detail
    assert "last call ok" in checked["vendor:binance"].detail
    assert "last call Transient" in checked["vendor:yahoo"].detail
    assert "1 call today, 1 failed" in checked["vendor:yahoo"].detail


@pytest.mark.parametrize(
    ("offsets", "status"),
    [([0.4], "ok"), ([-3600.0, 0.5, 1.0], "ok"), ([3600.0, 3601.0], "failed"), ([-15.0], "degraded")],
)
def test_one_vendor_with_a_wrong_clock_does_not_make_ours_wrong(offsets, status):
    assert health.clock(offsets).status == status


def test_failing_runs_and_a_queue_that_stands_still_degrade_the_platform(dagster_tables):
    dagster_tables.beat()
    for number in range(3):
        dagster_tables.run(f"good-{number}", "SUCCESS")
    assert found()["runs"].status == "ok"
    for number in range(6):
        dagster_tables.run(f"bad-{number}", "FAILURE")
    dagster_tables.run("waits", "QUEUED", ago=1000)
    dagster_tables.run("old", "FAILURE", ago=7200)
    checked = found()
    assert (checked["runs"].status, checked["runs"].detail) == (
        "degraded",
        "3 succeeded and 6 failed in the last hour",
    )
    assert (checked["queue"].status, checked["queue"].detail) == (
        "degraded",
        "1 queued, 0 in progress; the oldest has waited for 17 minutes",
    )


@pytest.mark.parametrize(("ago", "told"), [(5, ""), (61, "; the oldest has waited for 1 minute")])
def test_how_long_the_oldest_run_has_waited_is_told_in_minutes(dagster_tables, ago: int, told: str) -> None:
    dagster_tables.run("waits", "QUEUED", ago=ago)
    assert found()["queue"].detail == f"1 queued, 0 in progress{told}"


def test_the_code_location_is_judged_by_a_call(dagster_tables, tmp_path: Path, monkeypatch):
    """A supervisor whose code server listens nowhere."""
    me = {"name": "supervisor", "pid": os.getpid(), "start": start_of(os.getpid())}
    state = {"supervisor": me, "urls": {"code-server": f"grpc://127.0.0.1:{ports.pick_free()}"}, "children": []}
    (tmp_path / STATE_FILE).write_text(json.dumps(state))
    monkeypatch.setenv("FINANCEHUB_HOME", str(tmp_path))
    get_settings.cache_clear()
    dagster_tables.beat()
    checked = found()["code-server"]
    assert (checked.status, checked.detail) == ("failed", "nobody answers there")
    (tmp_path / STATE_FILE).write_text(json.dumps(state | {"supervisor": me | {"start": "another"}}))
    assert parts(tmp_path) is None
    get_settings.cache_clear()


def test_a_status_that_lasts_is_one_row_and_a_change_is_another(database):
    for status in ("ok", "ok", "failed", "ok", "ok", "ok"):
        store(database, Checked("database", status, "as found"))
    assert stored(database) == [("database", "ok", 2), ("database", "failed", 1), ("database", "ok", 3)]


def test_a_clock_that_was_set_back_an_hour_loses_no_check(database):
    store(database, Checked("disk", "ok", "before"))
    with database.engine.begin() as connection:
        connection.exec_driver_sql("update health_checks set since = now() + interval '1 hour', checked_at = since")
    results: list[Status] = ["ok", "failed", "failed"]
    for status in results:
        store(database, Checked("disk", status, "after"))
    assert stored(database)[-1] == ("disk", "failed", 2)


def test_a_look_is_recorded_once_a_minute_however_many_look(dagster_tables, database):
    dagster_tables.beat()
    first, second = look(), look()
    assert first.health is not None
    assert second.health is None
    assert {count for *_, count in stored(database)} == {1}
    assert {name for name, *_ in stored(database)} >= {"database", "daemon", "disk", "queue", "vendor:yahoo"}


def test_the_command_exits_1_with_a_remedy_where_nothing_was_ever_started(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(["health"]) == 1
    assert "`financehub up` starts a platform" in capsys.readouterr().err


def test_health_is_one_document_by_component():
    checked = (Checked("disk", "ok", "roomy", 0.1), Checked("vendor:yahoo", "degraded", "open", 0.2))
    shown = health.Health(health.overall(checked), checked, datetime.fromisoformat(BEGAN).astimezone(UTC)).as_dict()
    assert shown["status"] == "degraded"
    assert shown["components"]["disk"] == {"status": "ok", "detail": "roomy", "seconds": 0.1}
    assert shown["checked_at"] == BEGAN
