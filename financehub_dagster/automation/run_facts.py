"""What a run says about itself: anybody may have launched it, with any config and any tags.

Belongs here: reading a run's config and tags without trusting their shape. Does not belong here: what follows from it.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import dagster as dg
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES

from financehub_dagster.ingest.partitions import range_of
from financehub_dagster.storage.database.errors import DatabaseError

_logger = logging.getLogger("financehub.automation")


def is_unfinished(instance: dg.DagsterInstance, job: str) -> bool:
    """Whether a run of the job is queued, starting or in progress."""
    unfinished = dg.RunsFilter(job_name=job, statuses=NOT_FINISHED_STATUSES)
    return bool(instance.get_run_records(unfinished, limit=1))


def own_tag(run: dg.DagsterRun, name: str) -> str | None:
    """The tag that the product gave to this very run; None where it has none.

    A run that is executed again carries the tags of the first one, which say who made that one and what became of it.
    """
    return None if run.parent_run_id is not None else run.tags.get(name)


def op_config(run: dg.DagsterRun, op_name: str) -> Mapping[str, Any]:
    """The config of one op, empty where the run gives it none."""
    return _mapping(_mapping(_mapping(run.run_config.get("ops")).get(op_name)).get("config"))


def symbols_of(run: dg.DagsterRun, op_name: str) -> list[str] | None:
    """The instruments that one op is limited to; None: it works on all."""
    named = op_config(run, op_name).get("symbols")
    return [str(symbol) for symbol in named] if isinstance(named, list) else None


def fills(run: dg.DagsterRun, table: str) -> bool:
    """Whether the run was asked for that table, by its selection or since its job has no other."""
    return run.asset_selection is None or dg.AssetKey(table) in run.asset_selection


def covers(run: dg.DagsterRun, first: str, last: str) -> bool:
    """Whether the run's partitions include those from `first` to `last`, which sort as text."""
    span = range_of(run.tags)
    return span is not None and span[0] <= first and last <= span[1]


@contextmanager
def contained(what: str) -> Iterator[None]:
    """Log an error of the block as `what` and go on: one run that makes no sense holds nobody else up.

    An error of the database is everybody's, and raised.
    """
    try:
        yield
    except DatabaseError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a person gave to a run
        _logger.warning(f"{what}: {type(error).__name__}: {error}")


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
