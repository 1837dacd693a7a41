"""What happens when a step fails: the work is written to the dead letters.

Belongs here: the failure hook every asset carries, whatever launched the run. Does not belong here: retrying.
"""

import traceback

import dagster as dg
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    PARTITION_NAME_TAG,
)


def partition_of(tags: dict[str, str]) -> str:
    """The partition or partition range of a run as dead letters name it; empty for a run without partitions."""
    first, last = tags.get(ASSET_PARTITION_RANGE_START_TAG), tags.get(ASSET_PARTITION_RANGE_END_TAG)
    if first and last:
        return first if first == last else f"{first}...{last}"
    return tags.get(PARTITION_NAME_TAG, "")


@dg.failure_hook(name="dead_letter")
def dead_letter(context: dg.HookContext) -> None:
    """Write the failed step to task_failures, once per step and partition; repeats raise its attempts."""
    from financehub_dagster.gateway.redaction import redact
    from financehub_dagster.storage.engine import transaction
    from financehub_dagster.storage.failures import record_failure

    error = context.op_exception
    run = context.instance.get_run_by_id(context.run_id)
    with transaction() as connection:
        record_failure(
            connection,
            task_name=context.op.name,
            partition_key=partition_of(dict(run.tags) if run else {}),
            symbol="",
            provider=None,
            kwargs={"job": context.job_name, "config": context.op_config},
            exception=redact(f"{type(error).__name__}: {error}"),
            traceback=redact("".join(traceback.format_exception(error))) if error else None,
            run_id=context.run_id,
        )
