"""`realtime_pull`: every minute, the minutes of the instruments whose market is open, within vendors' budgets.

Belongs here: what a tick knows, and the run it asks for. Does not belong here: the decision
(`market.intraday.budget_planner`), fetching and storing (`ingest.intraday.minutes`).

A tick asks no vendor. Instruments are planned together by the vendor that is asked first for them: one that counts
credits is paced to the end of its day, the others are asked for whatever is due. What is due after the close, or after
the machine slept, comes with the next tick, in one request for each instrument.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import dagster as dg

from financehub_dagster.automation.queues import queue_tags
from financehub_dagster.automation.ticks import unfinished
from financehub_dagster.ingest.partitions import range_tags
from financehub_dagster.market.instruments import Instrument
from financehub_dagster.providers.routing import IntradayRouter
from financehub_dagster.providers.table_sources import bound_router, resources_of
from financehub_dagster.settings import get_settings
from financehub_dagster.tables import INTRADAY, filled_with

if TYPE_CHECKING:
    import numpy as np

    from financehub_dagster.market.intraday.budget_planner import Budget, CallCost, Plan
    from financehub_dagster.storage.coverage.minutes import Settled
    from financehub_dagster.storage.database.engine import Connection

JOB = "realtime_pull"
[MINUTES] = INTRADAY
MOST_CALLS = 2_000
"""Instruments of one run at most: a tick is over before the one after next."""

realtime_pull = dg.define_asset_job(
    JOB,
    selection=dg.AssetSelection.assets(MINUTES, *filled_with(MINUTES)),
    description="Minutes from each instrument's last complete one on, and the longer bars made of them.",
    tags=queue_tags("high"),
)


@dataclass(frozen=True)
class Tick:
    """What a tick asks for: the instruments, the day their oldest missing minute is of, and the plan of each vendor."""

    symbols: Sequence[str]
    first: datetime
    plans: "Mapping[str, Plan]"

    def summary(self) -> dict[str, str]:
        """For the run's config, which its metadata shows."""
        return {
            vendor: "; ".join(f"{name.replace('_', ' ')}: {value}" for name, value in plan.summary().items())
            for vendor, plan in self.plans.items()
        }


def plan_tick(router: IntradayRouter, now: datetime) -> Tick:
    """What the tick at `now` (aware, UTC) asks for."""
    import numpy as np

    from financehub_dagster.market import importance
    from financehub_dagster.market.intraday import budget_planner
    from financehub_dagster.storage.coverage import minute_rows
    from financehub_dagster.storage.database.engine import transaction
    from financehub_dagster.storage.queries.instruments import list_instruments
    from financehub_dagster.storage.rate_limits import availability

    at = np.datetime64(now.replace(tzinfo=None), "s")
    with transaction() as connection:
        waiting = _waiting(connection, now)
        members = [each for each in list_instruments(connection, listed_on=now.date()) if each.symbol not in waiting]
        settled = minute_rows.read(connection)
        shut = availability.unavailable(connection, router.capability)
    groups = _by_vendor(router, members, shut)
    vendors = {vendor: router.vendor(vendor) for vendor in groups}
    budgets = _budgets(vendors, now)
    plans: dict[str, Plan] = {}
    oldest = now
    for vendor, group in groups.items():
        budget, cost = budgets[vendor], _cost(vendors[vendor])
        begins = [_complete_to(settled, each, now) for each in group]
        known = budget_planner.candidates(
            group,
            np.ones(len(group)) if budget.today is None else importance.weights(group),
            np.array([each.replace(tzinfo=None) for each in begins], "datetime64[s]"),
            np.array([_asked_at(settled, each) for each in group], "datetime64[s]"),
            at,
            budget.resets_at,
        )
        plans[vendor] = budget_planner.plan(known, budget, cost, at)
        asked = set(plans[vendor].asked)
        starts = [begin for each, begin in zip(group, begins, strict=True) if each.symbol in asked]
        oldest = min([oldest, *starts])
    in_turn = zip_longest(*(plan.asked for plan in plans.values()))  # no vendor's instruments take all the calls
    symbols = [symbol for turn in in_turn for symbol in turn if symbol is not None][:MOST_CALLS]
    return Tick(symbols, oldest, plans)


def first_minute(now: datetime) -> datetime:
    """Since when minutes are expected of an instrument that has none yet."""
    start = now - timedelta(days=get_settings().financehub_minutes_days)
    return start.replace(hour=0, minute=0, second=0, microsecond=0)


def _complete_to(settled: "Mapping[str, Settled]", instrument: Instrument, now: datetime) -> datetime:
    known = settled.get(instrument.symbol)
    if known is None or known.complete_to is None:
        return first_minute(now)
    return datetime.fromtimestamp(known.complete_to, UTC)


def _asked_at(settled: "Mapping[str, Settled]", instrument: Instrument) -> "np.datetime64":
    import numpy as np

    known = settled.get(instrument.symbol)
    asked_at = None if known is None else known.asked_at
    return np.datetime64("NaT", "s") if asked_at is None else np.datetime64(asked_at.replace(tzinfo=None), "s")


def _by_vendor(
    router: IntradayRouter, members: Sequence[Instrument], shut: Mapping[str, datetime]
) -> dict[str, list[Instrument]]:
    """The instruments by the first vendor that can be asked now; those of which no vendor can be are left out."""
    found: dict[str, list[Instrument]] = {}
    for each in members:
        for vendor in router.askable(each, shut)[:1]:
            found.setdefault(vendor, []).append(each)
    return found


def _waiting(connection: "Connection", now: datetime) -> set[str]:
    """The instruments whose work on minutes waits as a dead letter, or is deferred to later."""
    from financehub_dagster.storage.dead_letters import dead_letters, deferred_work

    dead = {str(row["symbol"]) for row in dead_letters.live_failures(connection, MINUTES)}
    deferred = deferred_work.live_deferrals(connection, MINUTES)
    return dead | {str(row["symbol"]) for row in deferred if row["until"] > now}  # type: ignore[operator]


def _budgets(providers: Mapping[str, Any], now: datetime) -> "dict[str, Budget]":
    """What all configured accounts of each vendor have left of their day and minute; the books are read once."""
    import numpy as np

    from financehub_dagster.market.intraday.budget_planner import NO_LIMIT, Budget
    from financehub_dagster.providers.budgets import budgets
    from financehub_dagster.storage.database.engine import market_engine
    from financehub_dagster.storage.rate_limits.usage import usage_report

    plans = {vendor: {quota.name: quota for quota in each.quotas()} for vendor, each in providers.items()}
    limited = {vendor: providers[vendor] for vendor, quotas in plans.items() if "day" in quotas}
    windows = budgets(limited, usage_report(market_engine())).windows if limited else ()
    found = dict.fromkeys(providers, NO_LIMIT)
    for vendor in limited:
        own = [each for each in windows if each.provider == vendor and each.configured]
        left = {name: sum(each.left or 0 for each in own if each.window == name) for name in ("day", "minute")}
        resets = plans[vendor]["day"].resets_after(now).replace(tzinfo=None)
        minute = left["minute"] if "minute" in plans[vendor] else None
        found[vendor] = Budget(left["day"], minute, np.datetime64(resets, "s"))
    return found


def _cost(provider: Any) -> "CallCost":
    from financehub_dagster.market.intraday.budget_planner import CallCost

    if hasattr(provider, "intraday_batch"):
        return CallCost(per_symbol=1, per_call=0, symbols=max(provider.batch_size(), 1))
    return CallCost(per_symbol=0, per_call=1, symbols=1)


@dg.schedule(
    name=f"{JOB}_schedule",
    job=realtime_pull,
    cron_schedule="* * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every minute: what is due of the instruments whose market is open, and once more after each close.",
    required_resource_keys=resources_of(MINUTES),
)
def realtime_pull_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """A run for what the plan asks for; none while the last one is at work, or nothing is due."""
    busy = unfinished(context, JOB)
    if busy is not None:
        return dg.SkipReason(busy)
    now = context.scheduled_execution_time.astimezone(UTC)
    tick = plan_tick(bound_router(MINUTES, context.resources), now)
    if not tick.symbols:
        return dg.SkipReason("no minute is due: " + ("; ".join(tick.summary().values()) or "no vendor can be asked"))
    config = {"symbols": list(tick.symbols), "tail_only": True, "plan": tick.summary()}
    return dg.RunRequest(
        run_key=now.isoformat(),
        run_config={"ops": {MINUTES: {"config": config}}},
        tags=range_tags(tick.first.date().isoformat(), now.date().isoformat()),
    )
