"""`api_usage`: what every vendor allows and what is left of it, observed over time.

Belongs here: the observation's table and numbers. Does not belong here: counting calls (the gateway), or joining plans
with what is used of them (providers.budgets).
"""

import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

import dagster as dg

from financehub_dagster.assets.tables import table_spec
from financehub_dagster.ingest.record_table import record_table
from financehub_dagster.providers import all_providers
from financehub_dagster.providers.budgets import AccountBudget, Budgets, budgets

NAME = "api_usage"
PROVIDERS = tuple(all_providers())
OBSERVE_SECONDS = 300


def _observed() -> Callable[[Callable[..., object]], dg.AssetsDefinition]:
    with warnings.catch_warnings():
        # Marked beta, and every process that loads the code location would say so.
        warnings.simplefilter("ignore", dg.BetaWarning)
        decorate: Callable[[Callable[..., object]], dg.AssetsDefinition] = dg.multi_observable_source_asset(
            name=NAME, specs=[table_spec(NAME)], required_resource_keys=set(PROVIDERS)
        )
        return decorate


@_observed()
def api_usage(context: dg.AssetExecutionContext) -> dg.ObserveResult:
    """Read the books; no vendor is asked."""
    return dg.ObserveResult(asset_key=NAME, metadata=_now(context.resources))


@dg.sensor(
    name="observe_api_usage_sensor",
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=OBSERVE_SECONDS,
    required_resource_keys=set(PROVIDERS),
    description="Shows how budgets are spent and come back: an observation where one has changed, without a run.",
)
def observe_api_usage_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """Observe what the newest observation does not show."""
    metadata = _now(context.resources)
    last = context.instance.fetch_observations(dg.AssetKey(NAME), limit=1).records
    if last and last[0].asset_observation and _plotted(last[0].asset_observation.metadata) == _plotted(metadata):
        return dg.SensorResult(
            skip_reason="no vendor was asked, and no budget has come back, since the last observation"
        )
    return dg.SensorResult(
        skip_reason="a budget has changed, and was observed",
        asset_events=[dg.AssetObservation(NAME, metadata=metadata)],
    )


def _now(resources: object) -> dict[str, dg.MetadataValue]:
    """What is observed of the plans of PROVIDERS, which are attributes of `resources`; raises DatabaseError."""
    from financehub_dagster.storage.database.engine import market_engine
    from financehub_dagster.storage.rate_limits.usage import usage_report

    plans = {name: getattr(resources, name) for name in PROVIDERS}
    return observed(budgets(plans, usage_report(market_engine())))


def _plotted(metadata: Mapping[str, dg.MetadataValue]) -> dict[str, object]:
    return {name: value.value for name, value in metadata.items() if name != "budgets"}


def observed(found: Budgets) -> dict[str, dg.MetadataValue]:
    """The table of all windows, what is left of each vendor's windows over the keys in use, and its calls of today."""
    left: defaultdict[str, int] = defaultdict(int)
    calls: dict[tuple[str, str | None, str], int] = {}
    for window in found.windows:
        calls[window.provider, window.key, window.place] = window.calls
        if window.left is not None and window.configured:
            left[f"{window.provider} left per {window.window}"] += window.left
    today: defaultdict[str, int] = defaultdict(int)
    for (provider, *_), count in calls.items():
        today[f"{provider} calls today"] += count
    off = ", ".join(f"{provider} (set {variable})" for provider, variable in found.off.items())
    return {
        "budgets": _table(found.windows),
        "off": dg.MetadataValue.text(off or "none"),
        **{name: dg.MetadataValue.int(value) for name, value in sorted((left | today).items())},
    }


def _table(windows: Sequence[AccountBudget]) -> dg.TableMetadataValue:
    columns = {
        "vendor": "string",
        "account": "string",
        "window": "string",
        "used": "string",
        "of": "string",
        "left": "string",
        "calls_today": "int",
        "free_again_utc": "string",
        "override": "string",
        "rests_until_utc": "string",
        "reason": "string",
    }
    return record_table(columns, (dict(zip(columns, _cells(window), strict=True)) for window in windows))


def _cells(window: AccountBudget) -> list[str | int]:
    """One row; what does not apply is a dash, since a table of the webserver knows no empty number."""
    amounts = ("-" if each is None else f"{each:,}" for each in (window.used, window.amount, window.left))
    return [
        window.provider,
        window.key or "ip",
        window.window,
        *amounts,
        window.calls,
        _utc(window.resets_at),
        window.place.removeprefix("@") or "-",
        _utc(window.benched_until),
        window.reason or "-",
    ]


def _utc(at: datetime | None) -> str:
    return "-" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M}"
