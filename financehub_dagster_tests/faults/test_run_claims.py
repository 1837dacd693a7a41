"""A run that a broker delivers several times is made by one worker."""

from concurrent.futures import ThreadPoolExecutor

import dagster as dg
import pytest
from dagster._core.storage.dagster_run import DagsterRunStatus

from financehub_dagster.automation.celery_workers.delivery import WORKER_TAG, claim


@dg.job
def empty() -> None:
    """Nothing."""


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def test_of_workers_that_get_a_run_at_the_same_moment_one_makes_it(database, instance, count_cases):
    for _ in range(10):
        run = instance.create_run_for_job(empty, status=DagsterRunStatus.STARTING)
        with ThreadPoolExecutor(6) as together:
            refusals = list(together.map(lambda n, run=run: claim(instance, run.run_id, f"w{n}@host"), range(6)))
        [winner] = [n for n, refusal in enumerate(refusals) if refusal is None]
        assert {refusal for refusal in refusals if refusal is not None} == {f"w{winner}@host has it"}
        count_cases("deliveries at the same moment", 6)


def test_a_run_that_is_over_or_in_progress_is_refused_and_its_retry_is_not(database, instance):
    over = instance.create_run_for_job(empty, status=DagsterRunStatus.SUCCESS)
    going = instance.create_run_for_job(empty, status=DagsterRunStatus.STARTED)
    assert claim(instance, over.run_id, "w@host") == "it is success already"
    assert claim(instance, going.run_id, "w@host") == "it is started already"
    assert claim(instance, "00000000-0000-0000-0000-000000000000", "w@host") == "it was deleted"
    first = instance.create_run_for_job(empty, status=DagsterRunStatus.STARTING)
    assert claim(instance, first.run_id, "w@host") is None
    claimed = instance.get_run_by_id(first.run_id)
    assert claimed is not None
    again = instance.create_run_for_job(empty, status=DagsterRunStatus.STARTING, tags=claimed.tags)
    assert again.tags[WORKER_TAG] == claimed.tags[WORKER_TAG]
    assert claim(instance, again.run_id, "v@host") is None
