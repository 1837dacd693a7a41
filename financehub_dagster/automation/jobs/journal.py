"""`write_journal`: the journals of the week that ended on Friday.

Belongs here: the job and its schedule. Does not belong here: what a journal is (assets.journal).
"""

import dagster as dg

from financehub_dagster.automation.queues import queue_tags
from financehub_dagster.automation.ticks import unfinished

JOB = "write_journal"

write_journal = dg.define_asset_job(
    JOB,
    selection=dg.AssetSelection.assets("journal"),
    tags=queue_tags("default"),
    description="The week of every account: positions, gains, signals and what became of them; asks no vendor.",
)


@dg.schedule(
    job=write_journal,
    cron_schedule="0 6 * * 6",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every Saturday morning: by then Friday's bars of all exchanges and of cryptos are stored.",
)
def write_journal_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """One run for the week that ended before the tick, however late it is; skipped where nothing is held."""
    from financehub_dagster.market.journal.week import last_complete
    from financehub_dagster.storage.database.engine import transaction
    from financehub_dagster.storage.queries.holdings import accounts

    reason = unfinished(context, JOB)
    if reason:
        return dg.SkipReason(reason)
    with transaction() as connection:
        holding = accounts(connection)
    if not holding:
        return dg.SkipReason("nothing is held: `financehub holdings import` stores what is")
    week = str(last_complete(context.scheduled_execution_time))
    return dg.RunRequest(run_key=week, run_config={"ops": {"journal": {"config": {"week": week}}}})
