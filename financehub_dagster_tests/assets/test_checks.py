"""Asset checks: each finds what it is for in the database, names the rows, and blocks where it must."""

import dagster as dg
import pytest

from financehub_dagster.assets.checks.steps import CHECKS

STOCKS = "stock_prices_daily"


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


def recheck(platform) -> dict[str, dg.AssetCheckEvaluation]:
    """The checks alone, as the webserver's Execute button runs them."""
    job = platform.definitions.resolve_implicit_global_asset_job_def()
    keys = {dg.AssetCheckKey(dg.AssetKey(STOCKS), check.name) for check in CHECKS[STOCKS]}
    result = job.get_subset(asset_check_selection=keys, asset_selection=set()).execute_in_process(
        instance=platform.instance, raise_on_error=False
    )
    return {e.check_name: e for e in result.get_asset_check_evaluations()}


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


def test_a_duplicate_is_found_where_the_key_was_dropped(one_month):
    one_month.execute(f"alter table {STOCKS} drop constraint {STOCKS}_pkey")
    one_month.execute(f"insert into {STOCKS} select * from {STOCKS} where symbol = 'GE' and date = '2015-03-10'")
    twice = recheck(one_month)["no_duplicates"]
    assert not twice.passed
    assert "GE" in offending(twice)


def test_freshness_names_what_is_due(one_month):
    fresh = recheck(one_month)["freshness"]
    assert not fresh.passed
    assert "AAPL" in offending(fresh)


def test_a_wrong_stored_bar_keeps_indicators_from_being_computed_in_the_same_run(one_month):
    one_month.execute(f"update {STOCKS} set high = low - 1 where symbol = 'GE' and date = '2015-03-10'")
    outcome = one_month.run([STOCKS, "indicators_daily"], "2015-03-01", symbols=["AAPL"])
    assert not one_month.checks(outcome, STOCKS)["bar_sanity"].passed
    assert "indicators_daily" not in outcome.tables
    assert one_month.scalar("select count(*) from indicators_daily") == 0
