"""Runs of a platform with workers that fill all tables of stocks, and what they have stored.

Belongs here: launching such a run, and reading tables and states. Does not belong here: tests.
"""

from collections.abc import Sequence

from financehub_dagster.ingest.partitions import range_tags
from financehub_dagster_tests.faults.celery_machines import Site
from financehub_dagster_tests.fixtures.webserver import Webserver

TABLES = ("stock_prices_daily", "corporate_actions", "indicators_daily")


def launch(webserver: Webserver, symbols: Sequence[str], span: tuple[str, str], requests_per_second: float) -> str:
    """Queue a run over all tables for `symbols`, and return its id."""
    ops = {name: {"config": {"symbols": list(symbols)}} for name in TABLES if name != "corporate_actions"}
    resources = {"yahoo": {"config": {"requests_per_second": requests_per_second}}}
    return webserver.launch(assets=TABLES, config={"ops": ops, "resources": resources}, tags=range_tags(*span))


def content(place: Site) -> dict[str, list[str]]:
    """Every row of the tables, but for the times at which they were fetched and computed."""
    rows = "select (to_jsonb(t) - 'fetched_at' - 'computed_at')::text from {} as t order by 1"
    return {name: [row for (row,) in place.rows(rows.format(name))] for name in TABLES}


def statuses(place: Site) -> dict[str, str]:
    """Dagster's word for the state of each run, by its id."""
    return dict(place.rows("select run_id, status from runs", dagster=True))
