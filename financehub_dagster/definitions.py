"""The code location: the only place that knows everything.

Belongs here: putting assets, checks, jobs, schedules, hooks and resources together. Does not belong here: the rest.
"""

import warnings
from collections.abc import Mapping
from functools import cache
from typing import Any

import dagster as dg

from financehub_dagster.assets import (
    api_usage,
    coverage,
    holdings,
    instruments,
    journal,
    notifications,
    position_sizes,
    table_audit,
)
from financehub_dagster.assets.checks import steps
from financehub_dagster.assets.tables import filled_assets
from financehub_dagster.automation.dead_runs import keep_looking
from financehub_dagster.automation.following import follow_inputs
from financehub_dagster.automation.hooks import dead_letter, settled
from financehub_dagster.automation.jobs.all_jobs import JOBS
from financehub_dagster.automation.jobs.cleanup_old_data import cleanup_repeated_runs
from financehub_dagster.automation.jobs.healing import heal_gaps_sensor
from financehub_dagster.automation.jobs.health_check import health_check_sensor
from financehub_dagster.automation.jobs.notifying import send_notifications_sensor
from financehub_dagster.automation.run_processes import fork_runs, is_code_server
from financehub_dagster.automation.schedules import SCHEDULES
from financehub_dagster.automation.sensors import SENSORS
from financehub_dagster.garbage_collection import collect_regularly, collect_seldom
from financehub_dagster.providers import all_providers
from financehub_dagster.providers.table_sources import all_routers

ASSETS = [
    instruments.instruments,
    api_usage.api_usage,
    *filled_assets(),
    holdings.holdings,
    position_sizes.position_sizes,
    notifications.notifications,
    journal.journal,
    coverage.coverage,
    table_audit.table_audit,
]


@cache
def _assets() -> list[Any]:
    """The assets with their hooks, and links to their code."""
    with warnings.catch_warnings():
        # Links to the code are marked beta, and every process that loads the code location would say so.
        warnings.simplefilter("ignore", dg.BetaWarning)
        return list(dg.with_source_code_references([asset.with_hooks({dead_letter, settled}) for asset in ASSETS]))


def build_definitions(*, resource_overrides: Mapping[str, object] | None = None) -> dg.Definitions:
    """All definitions; tests and deployments replace resources by name."""
    return dg.Definitions(
        assets=_assets(),
        asset_checks=steps.all_checks(),
        jobs=JOBS,
        schedules=SCHEDULES,
        sensors=[
            *SENSORS,
            heal_gaps_sensor,
            health_check_sensor,
            send_notifications_sensor,
            cleanup_repeated_runs,
            follow_inputs,
        ],
        resources={
            **all_providers(),
            **all_routers(),
            **(resource_overrides or {}),
        },
        executor=dg.in_process_executor,
    )


defs = build_definitions()
defs.get_repository_def()  # what jobs select is resolved before runs are forked: it takes each a fifth of a second
collect_seldom()
if is_code_server():
    collect_regularly()
    keep_looking()
    fork_runs()
