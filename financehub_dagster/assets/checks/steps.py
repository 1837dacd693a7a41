"""Asset checks: one step per table that runs every check of it over what the database holds.

Belongs here: which checks a table has, and how a finding becomes a check result. Does not belong here: the judging
(`bars`) and the queries (`storage.queries.checks`). Checks read the whole table, so that a run over one month cannot
turn a finding of another one green; `schema`, `no_doubtful_bars`, `snapshots` and `series` read the rows that
the run covered.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta

import dagster as dg

from financehub_dagster.assets import coverage
from financehub_dagster.assets.checks import bars, series, snapshots
from financehub_dagster.assets.checks.bars import Check, Evidence, Finding
from financehub_dagster.ingest.partitions import BY_DAY, partitions_of, range_of
from financehub_dagster.ingest.record_table import record_table

OF_EVERY_TABLE = (bars.SCHEMA, bars.NO_DUPLICATES, bars.NO_OPEN_FAILURES)
OF_BARS = (
    *OF_EVERY_TABLE,
    bars.NO_DEFERRED_WORK,
    bars.BAR_SANITY,
    bars.NO_DOUBTFUL_BARS,
    bars.NO_MISSING_SESSIONS,
    bars.FRESHNESS,
    bars.SESSIONS_KNOWN,
    series.ONE_UNIT,
    series.ONE_SECURITY,
)
OF_LISTED_BARS = (*OF_BARS, series.SPLITS_APPLIED, series.IN_SESSION)
OF_ANSWERS = (
    bars.SCHEMA,
    snapshots.NO_DUPLICATES_IN_RUN,
    bars.NO_OPEN_FAILURES,
    bars.NO_DEFERRED_WORK,
)

CHECKS: dict[str, Sequence[Check]] = {
    "instruments": OF_EVERY_TABLE,
    "stock_prices_daily": OF_LISTED_BARS,
    "crypto_prices_daily": OF_BARS,
    "corporate_actions": OF_EVERY_TABLE,
    "indicators_daily": (*OF_EVERY_TABLE, bars.NO_MISSING_ROWS, bars.FRESHNESS),
    "quotes": (*OF_ANSWERS, snapshots.SANITY, snapshots.QUOTES_FRESH),
    "crypto_markets": (*OF_ANSWERS, snapshots.SANITY, snapshots.MARKETS_FRESH),
    "fundamentals": (*OF_ANSWERS, snapshots.SANITY, snapshots.FUNDAMENTALS_FRESH),
    "news_articles": (*OF_ANSWERS, snapshots.LINKED, snapshots.NEWS_FRESH),
    "coverage": (bars.NO_DUPLICATES, coverage.NO_OPEN_GAPS),
}


def table_checks(table: str, checks: Sequence[Check]) -> dg.AssetChecksDefinition:
    """The step that runs `checks` on `table`, reading the table once."""
    by_name = {check.name: check for check in checks}

    @dg.multi_asset_check(
        name=f"{table}_checks",
        specs=[
            dg.AssetCheckSpec(check.name, asset=table, description=check.description, blocking=check.blocking)
            for check in checks
        ],
        can_subset=True,
    )
    def run_checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        from financehub_dagster.storage.database.engine import transaction

        window = _window(table, context.run.tags)
        with transaction() as connection:
            evidence = Evidence(connection, table, *window, now=datetime.now(UTC))
            for key in sorted(context.selected_asset_check_keys, key=lambda key: list(by_name).index(key.name)):
                check = by_name[key.name]
                yield _result(table, check, check.examine(evidence))

    return run_checks


def all_checks() -> list[dg.AssetChecksDefinition]:
    """The check steps of every table."""
    return [table_checks(table, checks) for table, checks in CHECKS.items()]


def _window(table: str, tags: Mapping[str, str]) -> tuple[date | None, date | None]:
    covered = range_of(tags)
    if covered is None:
        today = datetime.now(UTC).date()
        return (today - timedelta(days=1), today) if table in BY_DAY else (None, None)
    first, last = covered
    end = partitions_of(table).time_window_for_partition_key(last).end
    return date.fromisoformat(first), end.date() - timedelta(days=1)


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
