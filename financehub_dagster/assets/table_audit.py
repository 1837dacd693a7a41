"""`table_audit`: every table read whole, for what was damaged outside of runs.

Belongs here: the asset and its checks, one for each table. Does not belong here: judging, and what a run covered
(assets.checks).

The checks of a table say what its last run covered, so that they cost what the run wrote. These say what is stored at
all: they belong to this asset, since a run of a table would have to make every check of that table.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from time import perf_counter

import dagster as dg

from financehub_dagster.assets.checks.bars import Finding
from financehub_dagster.assets.checks.steps import CHECKS
from financehub_dagster.assets.tables import OWNERS
from financehub_dagster.ingest.record_table import record_table
from financehub_dagster.wording import counted

NAME = "table_audit"
MAINTENANCE_POOL = "maintenance"
"""The pool of steps that walk whole tables: `dagster.yaml` lets one run of them work at a time."""

AUDITED = {
    table: [check for check in checks if check.audited]
    for table, checks in CHECKS.items()
    if any(check.audited for check in checks)
}
"""The checks that the audit makes over each whole table."""


def _promise(table: str) -> str:
    names = ", ".join(check.name for check in AUDITED[table])
    return f"Over all stored rows of {table}: {names}."


@dg.multi_asset(
    name=NAME,
    specs=[
        dg.AssetSpec(
            NAME,
            deps=list(AUDITED),
            description="Every table read whole, page by page: rows that break a rule or the schema, missing sessions,"
            " and bars without indicators, whoever left them so.\n\nRuns every night as `audit_tables`. The checks of a"
            " table itself judge what its last run covered.",
            group_name="operations",
            owners=OWNERS,
            kinds={"postgres"},
        )
    ],
    check_specs=[dg.AssetCheckSpec(table, asset=NAME, description=_promise(table)) for table in AUDITED],
    can_subset=True,
    pool=MAINTENANCE_POOL,
)
def table_audit(context: dg.AssetExecutionContext) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult]:
    """Audit the tables whose checks are selected."""
    from financehub_dagster.assets.checks.evidence import judge_table
    from financehub_dagster.assets.checks.scope import members_of

    selected = {key.name for key in context.selected_asset_check_keys}
    summary: list[dict[str, object]] = []
    for table in (table for table in AUDITED if table in selected):
        began = perf_counter()
        rows, findings = judge_table(table, members_of(table), AUDITED[table], datetime.now(UTC))
        offending = sum(finding.offending for finding in findings.values())
        seconds = round(perf_counter() - began)
        summary.append({"table": table, "rows": rows, "findings": offending, "seconds": seconds})
        context.log.info(f"{table}: {counted(rows, 'row')} read, {counted(offending, 'finding')}")
        yield _result(table, rows, findings)
    if dg.AssetKey(NAME) in context.selected_asset_keys:
        columns = {"table": "string", "rows": "int", "findings": "int", "seconds": "int"}
        yield dg.MaterializeResult(
            asset_key=NAME,
            metadata={
                "findings": sum(int(str(row["findings"])) for row in summary),
                "rows": sum(int(str(row["rows"])) for row in summary),
                "tables": record_table(columns, summary),
            },
        )


def _result(table: str, rows: int, findings: Mapping[str, Finding]) -> dg.AssetCheckResult:
    """One verdict on a table, with the number of findings and the first of them by check."""
    found = {name: finding for name, finding in findings.items() if finding.offending}
    blocking = any(check.blocking and check.name in found for check in AUDITED[table])
    said = "; ".join(f"{name}: {finding.message}" for name, finding in found.items())
    return dg.AssetCheckResult(
        asset_key=NAME,
        check_name=table,
        passed=not found,
        severity=dg.AssetCheckSeverity.ERROR if blocking else dg.AssetCheckSeverity.WARN,
        description=said or f"{counted(rows, 'row')} read, none amiss",
        metadata={
            "rows": rows,
            **{name: finding.offending for name, finding in findings.items()},
            **{
                f"{name}_rows": record_table(list(finding.rows[0]), finding.rows)
                for name, finding in found.items()
                if finding.rows
            },
        },
    )
