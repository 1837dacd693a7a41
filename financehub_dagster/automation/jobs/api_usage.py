"""`observe_api_usage`: the budgets of vendors over time, observed when they have changed.

Belongs here: when they are observed. Does not belong here: what an observation shows (`assets.api_usage`).
"""

import dagster as dg

from financehub_dagster.assets.api_usage import NAME, PROVIDERS, budgets_now, is_news
from financehub_dagster.automation.queues import queue_tags
from financehub_dagster.automation.ticks import unfinished

observe_api_usage = dg.define_asset_job(
    "observe_api_usage",
    selection=dg.AssetSelection.assets(NAME),
    description="Used and left of every vendor's plan, per key and window; asks no vendor.",
    tags=queue_tags("default"),
)


@dg.schedule(
    name="observe_api_usage_schedule",
    job=observe_api_usage,
    cron_schedule="*/5 * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every five minutes, so that the plots show how budgets are spent and come back.",
    required_resource_keys=set(PROVIDERS),
)
def observe_api_usage_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """A run where a budget has changed: a platform whose markets are closed leaves no runs behind."""
    busy = unfinished(context, observe_api_usage.name)
    if busy is not None:
        return dg.SkipReason(busy)
    if not is_news(context.instance, budgets_now(context.resources)):
        return dg.SkipReason("no vendor was asked, and no budget has come back, since the last observation")
    return dg.RunRequest(run_key=context.scheduled_execution_time.isoformat())
