"""Asset checks: one step per table that judges what its run covered.

Belongs here: which checks a table has, and how a finding becomes a check result. Does not belong here: the judging
(`bars`, `intraday`, `series`, `snapshots`), what a run covered (`scope`), and whole tables, which the nightly audit
reads (assets.table_audit).
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import dagster as dg

from financehub_dagster.assets import coverage
from financehub_dagster.assets.checks import bars, intraday, levels, series, snapshots
from financehub_dagster.assets.checks.bars import Check, Finding
from financehub_dagster.assets.checks.evidence import judge_scope
from financehub_dagster.assets.checks.scope import scope_of
from financehub_dagster.ingest.record_table import record_table
from financehub_dagster.tables import TABLES

_BY_NAME = {
    constant.lower(): check
    for module in (bars, intraday, levels, series, snapshots, coverage)
    for constant, check in vars(module).items()
    if isinstance(check, Check)
}
"""The checks by the names under which tables declare them, which are those of the constants."""

CHECKS: dict[str, Sequence[Check]] = {
    name: [_BY_NAME[check] for check in table.checks] for name, table in TABLES.items() if table.checks
}


def table_checks(table: str, checks: Sequence[Check]) -> dg.AssetChecksDefinition:
    """The step that runs `checks` on what a run covered of `table`."""

    @dg.multi_asset_check(
        name=f"{table}_checks",
        specs=[
            dg.AssetCheckSpec(check.name, asset=table, description=check.description, blocking=check.blocking)
            for check in checks
        ],
        can_subset=True,
    )
    def run_checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        now = datetime.now(UTC)
        selected = {key.name for key in context.selected_asset_check_keys}
        chosen = [check for check in checks if check.name in selected]
        findings = judge_scope(scope_of(table, context.run, context.instance, now), chosen, now)
        for check in chosen:
            yield _result(table, check, findings[check.name])

    return run_checks


def all_checks() -> list[dg.AssetChecksDefinition]:
    """The check steps of every table."""
    return [table_checks(table, checks) for table, checks in CHECKS.items()]


def _result(table: str, check: Check, finding: Finding) -> dg.AssetCheckResult:
    metadata: dict[str, dg.MetadataValue] = {
        "examined": dg.MetadataValue.int(finding.examined),
        "offending": dg.MetadataValue.int(finding.offending),
        **{name: dg.MetadataValue.int(count) for name, count in finding.counts.items()},
        **{f"run_{number}": dg.MetadataValue.dagster_run(run) for number, run in enumerate(finding.runs, start=1)},
    }
    if finding.rows:
        metadata["offending_rows"] = record_table(list(finding.rows[0]), finding.rows)
    return dg.AssetCheckResult(
        asset_key=table,
        check_name=check.name,
        passed=finding.offending == 0,
        severity=dg.AssetCheckSeverity.ERROR if check.blocking else dg.AssetCheckSeverity.WARN,
        description=finding.message,
        metadata=metadata,
    )
