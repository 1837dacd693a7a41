"""Metrics in Prometheus' terms, read from the database at each scrape.

Belongs here: the name, help and labels of each metric. Does not belong here: SQL (storage.operations.measurements), or
HTTP (serving). Counters are kept in the database, so a restart resets none of them, and every server exports the same.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from financehub_dagster.operations.health import disk_bytes
from financehub_dagster.settings import get_settings
from financehub_dagster.storage.database.dagster_state import activity
from financehub_dagster.storage.database.engine import Connection, market_engine, transaction
from financehub_dagster.storage.database.errors import DatabaseError
from financehub_dagster.storage.database.schema import metadata
from financehub_dagster.storage.operations import health_checks, job_statistics, measurements
from financehub_dagster.storage.rate_limits.usage import usage_report

STATUSES = ("ok", "degraded", "failed")

type Names = tuple[str, str, tuple[str, ...]]

_GAUGES: dict[str, Names] = {
    "dead_letters": ("financehub_dead_letters", "Dead letters that are not settled.", ("status",)),
    "deferred_work": ("financehub_deferred_work", "Work that waits for a vendor's budget.", ("vendor",)),
    "gaps": ("financehub_instruments_with_gaps", "Instruments with missing sessions.", ("table",)),
    "open_circuits": ("financehub_vendor_open_circuits", "Open circuit breakers.", ("vendor",)),
    "cooling_keys": ("financehub_vendor_cooling_keys", "API keys that are cooling down.", ("vendor",)),
    "freshness_late": (
        "financehub_table_late_seconds",
        "Seconds since newer rows were due; 0: the table is fresh.",
        ("table", "exchange"),
    ),
    "newest": (
        "financehub_table_newest_timestamp_seconds",
        "The newest session or time that is stored.",
        ("table", "exchange"),
    ),
    "breaches_open": ("financehub_sla_breaches_open", "SLA breaches that last.", ("table", "kind")),
    "alerts_open": ("financehub_alerts_open", "Incidents that last.", ()),
    "alerts_undelivered": ("financehub_alerts_undelivered", "Alerts that wait to be delivered.", ()),
}
_COUNTERS: dict[str, Names] = {
    "vendor_calls": ("financehub_vendor_calls", "Calls to vendors, by how they ended.", ("vendor", "outcome")),
    "breaches": ("financehub_sla_breaches", "SLA breaches so far.", ("table", "kind")),
    "alerts": ("financehub_alerts", "Incidents so far.", ()),
}


class PlatformCollector(Collector):
    """Everything that is exported; financehub_database_up alone where the database does not answer."""

    def describe(self) -> Iterator[Metric]:
        """Nothing: the registry need not collect to know the names."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Read everything now."""
        yield _gauge("financehub_disk_free_bytes", "Free bytes where the home is.", disk_bytes(get_settings())[0])
        found: list[Metric] = []
        try:
            with transaction() as connection:
                found += _stored(connection)
            found += _vendors()
            found += _dagster()
        except DatabaseError:
            yield _gauge("financehub_database_up", "Whether the database answered this scrape.", 0)
            return
        yield _gauge("financehub_database_up", "Whether the database answered this scrape.", 1)
        yield from found


def render() -> bytes:
    """All metrics in Prometheus' text format (version 0.0.4)."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(PlatformCollector())
    return generate_latest(registry)


def _stored(connection: Connection) -> Iterator[Metric]:
    counts = measurements.counts(connection)
    for kind, metrics in ((GaugeMetricFamily, _GAUGES), (CounterMetricFamily, _COUNTERS)):
        for key, (name, help_text, labels) in metrics.items():
            family = kind(name, help_text, labels=labels)
            for count in counts[key]:
                family.add_metric(count.about, count.value)
            yield family
    yield from _tables(connection)
    yield from _jobs(connection)
    yield from _health(connection)


def _tables(connection: Connection) -> Iterator[Metric]:
    rows = measurements.table_rows(connection, list(metadata.tables))
    for change in ("inserted", "updated", "deleted"):
        counter = CounterMetricFamily(f"financehub_rows_{change}", f"Rows {change}, by table.", labels=["table"])
        for each in rows:
            counter.add_metric([each.table], getattr(each, change))
        yield counter
    gauge = GaugeMetricFamily("financehub_table_rows", "Rows of each table, as PostgreSQL estimates.", labels=["table"])
    for each in rows:
        gauge.add_metric([each.table], each.rows)
    yield gauge
    size = GaugeMetricFamily("financehub_database_bytes", "Size on disk of each database.", labels=["database"])
    for name, value in measurements.database_bytes(connection).items():
        size.add_metric([name], value)
    yield size


def _jobs(connection: Connection) -> Iterator[Metric]:
    labels = ["job", "outcome"]
    runs = CounterMetricFamily("financehub_runs", "Runs that have ended.", labels=labels)
    seconds = CounterMetricFamily("financehub_run_seconds", "Runtime of runs that have ended.", labels=labels)
    last = GaugeMetricFamily("financehub_run_last_timestamp_seconds", "When the last of them ended.", labels=labels)
    for each in job_statistics.read(connection):
        about = [each.job_name, each.outcome]
        runs.add_metric(about, each.runs)
        seconds.add_metric(about, each.seconds)
        if each.last_ended_at is not None:
            last.add_metric(about, each.last_ended_at.timestamp())
    yield from (runs, seconds, last)


def _health(connection: Connection) -> Iterator[Metric]:
    labels = ["component", "status"]
    status = GaugeMetricFamily("financehub_component_status", "1 for the status each component has.", labels=labels)
    rows = health_checks.newest(connection)
    last = max((row.checked_at for row in rows), default=datetime.now(UTC))
    for row in rows:
        if last - row.checked_at > health_checks.MISSED:
            continue  # it is no part of the platform any more
        for name in STATUSES:
            status.add_metric([row.component, name], float(row.status == name))
    yield status
    age = health_checks.seconds_since_check(connection)
    if age is not None:
        yield _gauge("financehub_health_check_age_seconds", "Seconds since health was checked.", age)


def _vendors() -> Iterator[Metric]:
    labels = ["vendor", "key", "window"]
    left = GaugeMetricFamily("financehub_vendor_budget_left", "Units left in a window.", labels=labels)
    amount = GaugeMetricFamily("financehub_vendor_budget", "Units that a window allows.", labels=labels)
    for row in usage_report(market_engine()):
        if row.amount is not None and row.left is not None:
            about = [row.provider, (row.key or "ip") + row.place, row.window]
            left.add_metric(about, row.left)
            amount.add_metric(about, row.amount)
    yield from (left, amount)


def _dagster() -> Iterator[Metric]:
    found, now = activity(), datetime.now(UTC)
    yield _gauge("financehub_runs_queued", "Runs that wait in the queue.", found.queued)
    yield _gauge("financehub_runs_in_progress", "Runs that have started and not ended.", found.running)
    yield _gauge("financehub_queue_wait_seconds", "How long the oldest queued run has waited.", found.oldest_queued)
    ages = GaugeMetricFamily(
        "financehub_daemon_heartbeat_age_seconds", "Seconds since each daemon's heartbeat.", labels=["daemon"]
    )
    for name, beat in sorted(found.heartbeats.items()):
        ages.add_metric([name.lower()], max(0.0, (now - beat).total_seconds()))
    yield ages


def _gauge(name: str, help_text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, help_text, value=value)
