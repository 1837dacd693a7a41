"""`fundamentals`: one row per company and day, kept as it was known on that day."""

from datetime import UTC, datetime, timedelta

import pytest

from financehub_dagster_tests.assets.snapshots.answers import this_month

SYMBOLS = ["AAPL", "MSFT", "BTC"]


def run(platform, symbols=SYMBOLS):
    outcome = platform.run("fundamentals", this_month(), symbols=symbols)
    assert outcome.success, outcome.error
    return outcome.tables["fundamentals"]


def counts(said) -> tuple[int, ...]:
    return tuple(said[f"rows_{what}"] for what in ("inserted", "updated", "unchanged"))


def test_companies_get_a_row_of_today_and_cryptos_none(keyed_platform):
    said = run(keyed_platform)
    assert counts(said) == (2, 0, 0)
    assert said["rows_by_source"] == {"finnhub": 2}
    today = datetime.now(UTC).date()
    rows = keyed_platform.rows("select symbol, date, source, beta is not null from fundamentals order by symbol")
    assert rows == [("AAPL", today, "finnhub", True), ("MSFT", today, "finnhub", True)]
    assert {record.data["symbol"] for record in said["largest"].records} == {"AAPL", "MSFT"}


def test_the_same_answer_on_the_same_day_changes_nothing(keyed_platform):
    run(keyed_platform)
    before = keyed_platform.rows("select * from fundamentals order by symbol")
    assert counts(run(keyed_platform)) == (0, 0, 2)
    assert keyed_platform.rows("select * from fundamentals order by symbol") == before
    assert keyed_platform.scalar("select count(*) from price_revisions") == 0


def test_yesterday_stays_as_it_was_known_and_what_today_replaces_is_kept(keyed_platform):
    run(keyed_platform, ["AAPL"])
    keyed_platform.execute(
        "insert into fundamentals select (jsonb_populate_record(f, jsonb_build_object("
        "'date', f.date - 1, 'pe_ratio', 1))).* from fundamentals f"
    )
    keyed_platform.execute("update fundamentals set pe_ratio = 2 where date = :day", day=datetime.now(UTC).date())
    assert counts(run(keyed_platform, ["AAPL"])) == (0, 1, 0)
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    assert keyed_platform.scalar("select pe_ratio from fundamentals where date = :day", day=yesterday) == 1
    kept = keyed_platform.rows("select table_name, symbol, date, (old->>'pe_ratio')::float from price_revisions")
    assert kept == [("fundamentals", "AAPL", datetime.now(UTC).date(), 2.0)]


def test_another_vendor_stands_in_and_the_row_says_so(keyed_platform):
    keyed_platform.sandbox.fault("status", vendor="finnhub", status=500)
    assert run(keyed_platform, ["AAPL"])["rows_by_source"] == {"alpha_vantage": 1}
    assert keyed_platform.rows("select source, sector is not null from fundamentals") == [("alpha_vantage", True)]


def test_a_month_that_is_over_cannot_be_filled(keyed_platform):
    outcome = keyed_platform.run("fundamentals", "2026-09-01", symbols=["AAPL"])
    assert not outcome.success
    assert "2026-09-01 cannot be filled" in outcome.error
    assert keyed_platform.sandbox.calls()["total"] == 0


@pytest.mark.parametrize("change", ["low_52w = high_52w + 1", "market_cap = -5", "currency = 'usd'"])
def test_a_figure_that_cannot_be_is_found(keyed_platform, change):
    run(keyed_platform, ["AAPL"])
    keyed_platform.execute(f"update fundamentals set {change}, date = date - 1")
    outcome = keyed_platform.run("fundamentals", this_month(), symbols=["AAPL"], checked=True)
    found = keyed_platform.checks(outcome, "fundamentals")
    assert not (found["schema"].passed and found["sanity"].passed)
    offending = [check for check in (found["schema"], found["sanity"]) if not check.passed]
    assert all("AAPL" in str(check.metadata["offending_rows"].value) for check in offending)
