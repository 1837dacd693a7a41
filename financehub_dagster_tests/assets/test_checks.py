"""Asset checks: each finds what it is for in the database, names the rows, and blocks where it must."""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa

from financehub_dagster.assets.checks import evidence
from financehub_dagster.assets.checks.scope import members_of
from financehub_dagster.assets.checks.steps import CHECKS
from financehub_dagster.assets.table_audit import AUDITED
from financehub_dagster.automation.runs import run_job
from financehub_dagster.ingest.partitions import range_tags

STOCKS, INDICATORS = "stock_prices_daily", "indicators_daily"
MARCH, APRIL = "2015-03-01", "2015-04-01"
MARCH_TAGS = range_tags(MARCH, MARCH)


def offending(check: dg.AssetCheckEvaluation) -> str:
    return str(check.metadata["offending_rows"].value)


@pytest.fixture(scope="module")
def database_template(filled):
    """One stored month of two stocks."""

    def one_month(platform) -> None:
        assert platform.run(STOCKS, "2015-03-01", symbols=["AAPL", "GE"]).success

    return filled(one_month)


@pytest.fixture
def one_month(platform):
    """A platform that has a month of bars."""
    return platform


def recheck(platform, *, tags: Mapping[str, str] = MARCH_TAGS) -> dict[str, dg.AssetCheckEvaluation]:
    """The checks alone, over March unless told otherwise."""
    job = platform.definitions.resolve_implicit_global_asset_job_def()
    keys = {dg.AssetCheckKey(dg.AssetKey(STOCKS), check.name) for check in CHECKS[STOCKS]}
    result = job.get_subset(asset_check_selection=keys, asset_selection=set()).execute_in_process(
        instance=platform.instance, raise_on_error=False, tags=tags
    )
    return {e.check_name: e for e in result.get_asset_check_evaluations()}


def audit(platform) -> dict[str, dg.AssetCheckEvaluation]:
    """The nightly audit, by table."""
    repository = platform.definitions.get_repository_def()
    outcome = run_job(repository, "audit_tables", {}, instance=platform.instance)
    assert outcome.success, outcome.error
    return {check.check_name: check for check in outcome.checks}


def test_sound_bars_pass_every_check_but_freshness(one_month):
    results = recheck(one_month)
    assert {name for name, result in results.items() if not result.passed} == {"freshness"}


def test_a_bar_with_its_high_below_its_low_is_named_and_blocks(one_month):
    one_month.execute(f"update {STOCKS} set high = low - 1 where symbol = 'GE' and date = '2015-03-10'")
    sanity = recheck(one_month)["bar_sanity"]
    assert not sanity.passed
    assert sanity.severity == dg.AssetCheckSeverity.ERROR
    assert "GE" in offending(sanity)
    assert "2015-03-10" in offending(sanity)


@pytest.mark.parametrize("change", ["close = -1", "open = 'NaN'", "volume = -5", "high = 'Infinity'"])
def test_values_no_market_prints_are_found(one_month, change):
    one_month.execute(f"update {STOCKS} set {change} where symbol = 'GE' and date = '2015-03-10'")
    results = recheck(one_month)
    assert not (results["bar_sanity"].passed and results["schema"].passed)


def test_a_missing_session_is_named_and_only_warns(one_month):
    one_month.execute(f"delete from {STOCKS} where symbol = 'GE' and date = '2015-03-10'")
    missing = recheck(one_month)["no_missing_sessions"]
    assert not missing.passed
    assert missing.severity == dg.AssetCheckSeverity.WARN
    assert "GE" in offending(missing)
    assert "2015-03-10" in offending(missing)


def test_freshness_names_what_is_due(one_month):
    fresh = recheck(one_month)["freshness"]
    assert not fresh.passed
    assert "AAPL" in offending(fresh)


def test_freshness_of_an_instrument_without_any_bar_says_so(one_month):
    one_month.execute(f"delete from {STOCKS}")
    fresh = recheck(one_month)["freshness"]
    assert re.search(r": (\d+) of \1; first: \S+ none \d{4}-\d\d-\d\d$", str(fresh.description))


def test_a_wrong_stored_bar_keeps_indicators_from_being_computed_in_the_same_run(one_month):
    """On a Sunday, for which no vendor sends a bar that would replace it."""
    one_month.execute(
        f"insert into {STOCKS} (symbol, date, open, high, low, close, volume, source, fetched_at)"
        " values ('AAPL', '2015-03-08', 10, 9, 11, 10, 0, 'hand', now())"
    )
    outcome = one_month.run([STOCKS, INDICATORS], MARCH, symbols=["AAPL"], checked=True)
    assert not one_month.checks(outcome, STOCKS)["bar_sanity"].passed
    assert INDICATORS not in outcome.tables
    assert one_month.scalar(f"select count(*) from {INDICATORS}") == 0


def test_checks_that_are_executed_alone_judge_what_the_last_run_covered(platform):
    platform.run(STOCKS, MARCH, symbols=["AAPL", "GE"], checked=True)
    platform.run(STOCKS, APRIL, symbols=["GE"], checked=True)
    platform.execute(f"delete from {STOCKS} where symbol = 'GE' and date in ('2015-03-10', '2015-04-10')")
    platform.execute(f"delete from {STOCKS} where symbol = 'AAPL' and date = '2015-03-11'")
    missing = recheck(platform, tags={})["no_missing_sessions"]
    assert missing.metadata["offending"].value == 1
    assert "GE 2015-04-10" in str(missing.description)


def test_a_run_judges_its_own_days_and_instruments_and_the_audit_the_whole_table(one_month):
    one_month.execute(f"delete from {STOCKS} where symbol = 'GE' and date = '2015-03-10'")
    one_month.execute(f"update {STOCKS} set high = low - 1 where symbol = 'GE' and date = '2015-03-12'")
    for month, symbol in ((APRIL, "GE"), (MARCH, "AAPL")):
        outcome = one_month.run([STOCKS, INDICATORS], month, symbols=[symbol], checked=True)
        checks = one_month.checks(outcome, STOCKS)
        assert checks["bar_sanity"].passed, "what is elsewhere stops nobody"
        assert checks["no_missing_sessions"].passed
    found = audit(one_month)
    stocks = found[STOCKS]
    assert (stocks.passed, stocks.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert "GE 2015-03-12" in str(stocks.description)
    counts = {name: stocks.metadata[name].value for name in ("rows", "bar_sanity", "no_missing_sessions", "schema")}
    assert counts == {"rows": 22 + 21 + 21, "bar_sanity": 1, "no_missing_sessions": 1, "schema": 0}
    [row] = getattr(stocks.metadata["no_missing_sessions_rows"], "records", [])
    assert row.data == {"symbol": "GE", "date": "2015-03-10"}
    lacking = found[INDICATORS]
    assert (lacking.severity, lacking.metadata["no_missing_rows"].value) == (dg.AssetCheckSeverity.WARN, 21 + 21)
    assert found["corporate_actions"].passed
    verdict = one_month.instance.event_log_storage.get_latest_asset_check_execution_by_key
    key = dg.AssetCheckKey(dg.AssetKey("table_audit"), STOCKS)
    assert verdict([key])[key].status.value == "FAILED"
    one_month.run(STOCKS, APRIL, symbols=["GE"], checked=True)
    assert verdict([key])[key].status.value == "FAILED", "a run over another month changes no finding of the audit"


def test_an_audit_in_pages_finds_what_one_page_finds(one_month, monkeypatch):
    """An instrument's sessions go on from page to page."""
    one_month.execute(
        f"delete from {STOCKS} where symbol = 'GE' and date in ('2015-03-10', '2015-03-16', '2015-03-17')"
    )
    one_month.execute(f"update {STOCKS} set volume = -1 where symbol = 'AAPL' and date = '2015-03-12'")

    def judged() -> tuple[int, dict[str, tuple]]:
        rows, found = evidence.judge_table(STOCKS, members_of(STOCKS), AUDITED[STOCKS], datetime.now(UTC))
        return rows, {name: (each.examined, each.offending, each.message) for name, each in found.items()}

    rows, at_once = judged()
    assert (rows, at_once["no_missing_sessions"][1]) == (41, 3)
    columns = 10
    for size in (1, 9, 41):
        monkeypatch.setattr(evidence, "VALUES", size * columns)
        assert judged() == (rows, at_once), f"{size} rows at a time"


def test_the_parts_of_a_scope_find_what_is_found_at_once(one_month, monkeypatch):
    one_month.execute("update instruments set is_active = symbol in ('AAPL', 'GE')")
    one_month.execute(f"delete from {STOCKS} where symbol = 'GE' and date = '2015-03-10'")
    at_once = recheck(one_month)
    monkeypatch.setattr(evidence, "VALUES", 1)
    parts = recheck(one_month)
    assert {name: check.description for name, check in parts.items()} == {
        name: check.description for name, check in at_once.items()
    }


def test_what_a_run_wrote_outside_of_its_window_is_judged_too(platform):
    platform.run(STOCKS, "2014-12-01", "2015-01-01", symbols=["KO"])
    platform.sandbox.split("KO", date(2015, 3, 16), 2.0)
    platform.run(STOCKS, MARCH, symbols=["KO"])
    platform.execute(f"delete from {STOCKS} where symbol = 'KO' and date = '2014-12-10'")
    missing = recheck(platform, tags={})["no_missing_sessions"]
    assert "KO 2014-12-10" in str(missing.description)


def fill_with_others(platform) -> None:
    """50,000 rows of other instruments, of the same days, in the tables of bars and indicators."""
    for table, columns, values in (
        (STOCKS, "open, high, low, close, volume, source, fetched_at", "1, 1, 1, 1, 1, 'x', now()"),
        (INDICATORS, "computed_at", "now()"),
    ):
        platform.execute(
            f"insert into {table} (symbol, date, {columns}) select 'S' || s, date '2014-06-01' + d, {values}"
            " from generate_series(1, 100) s, generate_series(1, 500) d"
        )
        platform.execute(f"analyze {table}")


def test_a_run_reads_large_tables_by_their_key(one_month):
    """However many rows others have: no query of a run, its checks or its report reads a table of bars whole."""
    fill_with_others(one_month)
    asked: list[tuple[str, object]] = []

    def note(_connection, _cursor, statement, parameters, _context, _many) -> None:
        if statement.lower().startswith("select") and (STOCKS in statement or INDICATORS in statement):
            asked.append((statement, parameters))

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        outcome = one_month.run([STOCKS, "corporate_actions", INDICATORS], MARCH, symbols=["AAPL"], checked=True)
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)
    assert outcome.success, outcome.error
    assert len(asked) > 10
    for statement, parameters in asked:
        with one_month.engine.connect() as connection:
            explain = f"explain (analyze, format json) {statement}"
            [read] = connection.exec_driver_sql(explain, parameters).scalars().all()
        assert rows_read(read[0]["Plan"]) < 2_000, statement


def rows_read(plan: Mapping[str, Any]) -> float:
    """The rows that the scans of a plan looked at."""
    own = 0.0
    if "Scan" in plan["Node Type"] and "Relation Name" in plan:
        own = (plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)) * plan["Actual Loops"]
    return own + sum(rows_read(below) for below in plan.get("Plans", ()))
