"""Metrics and job statistics: what is exported equals what happened, and every run counts once."""

import re
import subprocess
import sys
from collections.abc import Iterator
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from financehub_dagster.cli.reports.tasks import tasks
from financehub_dagster.cli.supervisor import ports
from financehub_dagster.operations.metrics import render
from financehub_dagster.operations.watch import look
from financehub_dagster.serving import http
from financehub_dagster.storage.operations import job_statistics
from financehub_dagster.storage.rate_limits import circuit_breakers, limiter, usage
from financehub_dagster.storage.rate_limits.quotas import Quota
from financehub_dagster_tests.fixtures.database import Database, clear_caches
from financehub_dagster_tests.fixtures.eventually import eventually
from financehub_dagster_tests.fixtures.folder import REPOSITORY


def samples() -> dict[str, dict[tuple[str, ...], float]]:
    """Every sample that is exported: by name, then by the values of its labels in the order of their names."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(render().decode()):
        for sample in family.samples:
            about = tuple(value for _, value in sorted(sample.labels.items()))
            found.setdefault(sample.name, {})[about] = sample.value
    return found


def count(database: Database) -> int:
    with database.engine.begin() as connection:
        return job_statistics.count_finished(connection)


def statistics(database: Database) -> dict[tuple[str, str], tuple[int, float]]:
    with database.engine.connect() as connection:
        return {(each.job_name, each.outcome): (each.runs, each.seconds) for each in job_statistics.read(connection)}


def test_every_run_counts_once_when_it_has_ended_in_whatever_order_they_end(dagster_tables, database):
    dagster_tables.run("long", "STARTED", job="heal_gaps")
    dagster_tables.run("first", "SUCCESS", seconds=2.0)
    dagster_tables.run("second", "FAILURE", seconds=4.0, ago=3600)
    assert [count(database), count(database)] == [2, 0]
    dagster_tables.run("third", "SUCCESS", seconds=1.0)
    dagster_tables.execute("update runs set status = 'CANCELED' where run_id = 'long'")
    dagster_tables.execute("delete from runs where run_id = 'first'")
    assert [count(database), count(database)] == [2, 0]
    assert statistics(database) == {
        ("fetch_news", "success"): (2, pytest.approx(3.0, abs=0.01)),
        ("fetch_news", "failure"): (1, pytest.approx(4.0, abs=0.01)),
        ("heal_gaps", "canceled"): (1, 0.0),
    }


def test_counting_goes_on_when_dagsters_database_is_made_anew(dagster_tables, database):
    for number in range(5):
        dagster_tables.run(f"before-{number}", "SUCCESS")
    assert count(database) == 5
    dagster_tables.execute("truncate runs restart identity cascade")
    dagster_tables.run("after", "SUCCESS")
    assert count(database) == 1
    assert statistics(database)["fetch_news", "success"][0] == 6


def test_the_table_of_tasks_has_a_row_for_each_job(dagster_tables, database):
    dagster_tables.run("good", "SUCCESS", seconds=2.0)
    dagster_tables.run("bad", "FAILURE", seconds=4.0, ago=60)
    dagster_tables.run("backfill", "CANCELED", job="__ASSET_JOB")
    count(database)
    with database.engine.connect() as connection:
        ad_hoc, news = tasks(job_statistics.read(connection))
    assert (ad_hoc.job, ad_hoc.canceled, ad_hoc.mean_seconds) == ("assets without a job", 1, None)
    assert (news.job, news.succeeded, news.failed, news.mean_seconds) == ("fetch_news", 1, 1, 3.0)
    assert news.last_success is not None
    assert news.last_failure is not None
    assert news.last_success > news.last_failure


def test_metrics_show_what_happened(dagster_tables, database):
    dagster_tables.beat("SENSOR", seconds_ago=7)
    dagster_tables.run("good", "SUCCESS", seconds=2.0)
    dagster_tables.run("waits", "QUEUED", ago=30)
    usage.count(database.engine, "yahoo", "ip", "ok", 2)
    usage.count(database.engine, "yahoo", "ip", "ok", 2)
    limiter.reserve(database.engine, "finnhub", "abcd-1f3c", (), (Quota("minute", 60, per="minute"),), weight=20)
    circuit_breakers.fail(database.engine, "binance", "quotes", "down", threshold=1, open_seconds=60)
    with database.engine.begin() as connection:
        failed = "insert into task_failures (task_name, exception, status) values ('a', 'b', 'parked')"
        connection.exec_driver_sql(failed)
    look()
    found = samples()
    assert found["financehub_runs_total"]["fetch_news", "success"] == 1
    assert found["financehub_run_seconds_total"]["fetch_news", "success"] == pytest.approx(2.0, abs=0.01)
    assert found["financehub_runs_queued"] == {(): 1}
    assert found["financehub_queue_wait_seconds"][()] >= 30
    assert found["financehub_daemon_heartbeat_age_seconds"]["sensor",] >= 7
    assert found["financehub_vendor_calls_total"]["ok", "yahoo"] == 2
    assert found["financehub_vendor_budget_left"]["abcd-1f3c", "finnhub", "minute"] == 40
    assert found["financehub_vendor_open_circuits"] == {("binance",): 1}
    assert found["financehub_dead_letters"] == {("parked",): 1}
    assert found["financehub_component_status"]["vendor:binance", "degraded"] == 1
    assert found["financehub_component_status"]["vendor:binance", "ok"] == 0
    assert found["financehub_database_up"] == {(): 1}
    assert set(found["financehub_database_bytes"]) == {("market",), ("dagster",)}


def test_without_a_database_metrics_say_so(monkeypatch):
    monkeypatch.setenv("FINANCEHUB_DATABASE_URL", f"postgresql://somebody@127.0.0.1:{ports.pick_free()}/market")
    clear_caches()
    assert samples()["financehub_database_up"] == {(): 0}
    clear_caches()


def test_every_metric_is_in_the_documentation_and_the_other_way_round(dagster_tables):
    page = (REPOSITORY / "docs/operations.md").read_text()
    documented = set(re.findall(r"`(financehub_\w+)`", page))
    look()
    families = list(text_string_to_metric_families(render().decode()))
    exported = {f"{family.name}_total" if family.type == "counter" else family.name for family in families}
    assert exported == documented


@pytest.fixture
def server(dagster_tables) -> Iterator[str]:
    """The HTTP server as `financehub up` starts it."""
    port = ports.pick_free()
    process = subprocess.Popen([sys.executable, "-m", "financehub_dagster.serving", "--port", str(port)])
    url = f"http://127.0.0.1:{port}"
    eventually(lambda: process.poll() is not None or answered(f"{url}/livez") == 200, 60)
    yield url
    process.terminate()
    assert process.wait(30) in (0, -15)


def answered(url: str) -> int | None:
    """The status of a GET; None where nobody listens."""
    try:
        with urlopen(url) as response:
            return int(response.status)
    except HTTPError as error:
        return error.code
    except URLError:
        return None


def test_the_server_says_503_while_the_platform_is_unhealthy_and_serves_metrics_all_the_same(server, dagster_tables):
    assert answered(f"{server}/health") == 503
    with urlopen(f"{server}/metrics") as response:
        assert response.headers["Content-Type"] == http.METRICS_TYPE
        assert b"\nfinancehub_database_up 1.0\n" in response.read()
    dagster_tables.beat()
    eventually(lambda: answered(f"{server}/health") == 200, 30)
    taken = int(server.rpartition(":")[2])
    with pytest.raises(http.PortTaken, match=f"port {taken} is taken: stop what listens there, or choose another one"):
        http.bind(taken)
