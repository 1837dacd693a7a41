"""Daily bars from whoever can answer: outages bridged within a run, and whose rows count for more."""

from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest

from financehub_dagster.settings import get_settings
from financehub_dagster_tests.assets.conftest import Platform
from financehub_dagster_tests.assets.prices.routed import fetch_from, some_stocks, with_keys

MARCH, APRIL, MAY = "2015-03-01", "2015-04-01", "2015-05-01"
TABLE = "stock_prices_daily"


@pytest.fixture
def routed(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> Iterator[Platform]:
    """The platform with Twelve Data behind Yahoo."""
    with_keys(platform, monkeypatch, "twelve_data")
    yield platform
    get_settings.cache_clear()


def outage(platform: Platform) -> None:
    platform.sandbox.fault("status", vendor="yahoo", status=503)


def recovery(platform: Platform) -> None:
    platform.sandbox.clear_faults()
    platform.sandbox.clear_calls()
    platform.execute("delete from breakers")


def sources(platform: Platform, first: str, symbol: str = "AAPL") -> list[str]:
    """Who sent the rows of one month."""
    found = platform.rows(
        "select distinct source from stock_prices_daily where symbol = :symbol"
        " and date_trunc('month', date) = cast(:first as date) order by 1",
        symbol=symbol,
        first=first,
    )
    return [source for (source,) in found]


def first_calls(platform: Platform, vendor: str) -> dict[str, float]:
    """When a vendor was first asked for each symbol."""
    calls = platform.sandbox.calls(vendor=vendor, detail=True)["calls"]
    return {call["symbols"][0]: call["at"] for call in reversed(calls)}


@pytest.mark.parametrize(
    "fault",
    [{"kind": "status", "status": 500}, {"kind": "reset"}, {"kind": "timeout", "seconds": 20}],
    ids=lambda fault: str(fault["kind"]),
)
def test_an_outage_is_bridged_within_five_seconds_and_within_the_run(routed: Platform, fault: dict[str, Any]) -> None:
    routed.run(TABLE, MARCH, symbols=["KO"])  # the client library is imported once per process
    routed.sandbox.clear_calls()
    routed.sandbox.fault(**fault, vendor="yahoo")
    symbols = some_stocks(routed, 24)
    outcome = routed.run(TABLE, APRIL, symbols=symbols)
    assert outcome.success
    asked = {vendor: first_calls(routed, vendor) for vendor in ("yahoo", "twelve_data")}
    assert set(asked["twelve_data"]) == set(symbols)
    assert 5 <= len(asked["yahoo"]) < 24
    assert max(asked["twelve_data"][symbol] - at for symbol, at in asked["yahoo"].items()) < 5.0
    assert routed.rows("select source, count(distinct symbol) from stock_prices_daily group by 1") == [
        ("twelve_data", 24),
        ("yahoo", 1),
    ]
    numbers = outcome.tables[TABLE]
    assert numbers["instruments_by_source"] == {"twelve_data": 24}
    assert numbers["rows_by_source"] == {"twelve_data": numbers["rows_inserted"]}
    assert routed.scalar("select count(*) from task_failures") == 0


def test_behind_the_open_breaker_nobody_asks_the_vendor_that_is_down(routed: Platform) -> None:
    outage(routed)
    routed.run(TABLE, MARCH, symbols=some_stocks(routed, 24))
    routed.sandbox.clear_calls()
    assert routed.run(TABLE, APRIL, symbols=some_stocks(routed, 24)).success
    assert routed.sandbox.calls()["by_vendor"] == {"twelve_data": 24}


def test_a_vendor_that_stands_in_fills_what_is_missing_and_overwrites_nothing(routed: Platform) -> None:
    routed.run(TABLE, MARCH, symbols=["AAPL"])
    kept = routed.rows("select * from stock_prices_daily where date <> '2015-03-10' order by date")
    routed.execute("delete from stock_prices_daily where date = '2015-03-10'")
    outage(routed)
    outcome = routed.run(TABLE, MARCH, symbols=["AAPL"])
    assert (outcome.tables[TABLE]["rows_inserted"], outcome.tables[TABLE]["rows_updated"]) == (1, 0)
    assert routed.rows("select * from stock_prices_daily where date <> '2015-03-10' order by date") == kept
    assert routed.rows("select source from stock_prices_daily where date = '2015-03-10'") == [("twelve_data",)]


def test_the_first_choice_replaces_a_stand_ins_rows_in_the_window_when_it_is_back(routed: Platform) -> None:
    outage(routed)
    routed.run(TABLE, MARCH, symbols=["AAPL"])
    assert sources(routed, MARCH) == ["twelve_data"]
    recovery(routed)
    routed.run(TABLE, MARCH, symbols=["AAPL"])
    assert sources(routed, MARCH) == ["yahoo"]
    assert routed.scalar("select count(*) from stock_prices_daily where adj_close is null") == 0


def test_rows_of_a_stand_in_outside_the_window_are_asked_for_along_with_it_once(routed: Platform) -> None:
    outage(routed)
    routed.run(TABLE, MARCH, symbols=["AAPL", "KO"])
    recovery(routed)
    outcome = routed.run(TABLE, MAY, symbols=["AAPL"])
    assert sources(routed, MARCH) == sources(routed, MAY) == ["yahoo"]
    assert sources(routed, MARCH, "KO") == ["twelve_data"]
    assert outcome.tables[TABLE]["taken_back_by_first_choice"] == "AAPL"
    assert routed.sandbox.calls(vendor="yahoo")["by_symbol"] == {"AAPL": 1}
    again = routed.run(TABLE, MAY, symbols=["AAPL"])
    assert "taken_back_by_first_choice" not in again.tables[TABLE]
    assert again.tables[TABLE]["rows_unchanged"] == 20


def test_a_split_that_came_while_another_vendor_stood_in_restates_everything_later(routed: Platform) -> None:
    routed.run(TABLE, MARCH, symbols=["KO"])
    before = dict(routed.rows("select date, close from stock_prices_daily"))
    routed.sandbox.split("KO", date(2015, 4, 15), 2.0)
    outage(routed)
    routed.run([TABLE, "corporate_actions"], APRIL, symbols=["KO"])
    assert routed.scalar("select count(*) from corporate_actions where kind = 'split'") == 0
    recovery(routed)
    outcome = routed.run([TABLE, "corporate_actions"], MAY, symbols=["KO"])
    assert outcome.tables[TABLE]["restated_after_split"] == "KO"
    after = dict(routed.rows("select date, close from stock_prices_daily where date < '2015-04-01'"))
    assert after == {day: pytest.approx(close / 2, rel=1e-6) for day, close in before.items()}
    assert routed.rows("select date::text, value, source from corporate_actions where kind = 'split'") == [
        ("2015-04-15", 2.0, "yahoo")
    ]


def test_a_vendor_that_tells_no_actions_claims_none_and_takes_none_away(routed: Platform) -> None:
    routed.sandbox.split("KO", date(2015, 3, 16), 2.0)
    both = [TABLE, "corporate_actions"]
    routed.run(both, MARCH, symbols=["KO"])
    told = routed.rows("select * from corporate_actions order by date, kind")
    assert told
    outage(routed)
    outcome = routed.run(both, MARCH, symbols=["KO"])
    assert routed.rows("select * from corporate_actions order by date, kind") == told
    assert outcome.tables[TABLE]["instruments_done"] == 1
    assert outcome.tables["corporate_actions"]["instruments_done"] == 0
    assert outcome.tables["corporate_actions"]["possibly_incomplete"] == "KO"


def test_a_new_split_that_a_stand_in_tells_of_waits_for_who_may_restate_the_history(
    routed: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_keys(routed, monkeypatch, "alpha_vantage")
    routed.run(TABLE, MARCH, symbols=["KO"])
    before = routed.rows("select * from stock_prices_daily order by date")
    routed.sandbox.split("KO", date(2015, 4, 15), 2.0)
    assert not fetch_from(routed, ["alpha_vantage"], APRIL, ["KO"]).success
    assert routed.rows("select * from stock_prices_daily order by date") == before
    assert routed.scalar("select count(*) from corporate_actions where kind = 'split'") == 0
    why = routed.scalar("select exception from task_failures where symbol = 'KO'")
    assert "tells of a new split, and the stored history has to come anew from yahoo" in str(why)
    outcome = routed.run(TABLE, APRIL, symbols=["KO"])
    assert outcome.tables[TABLE]["restated_after_split"] == "KO"


def test_a_run_may_name_its_vendors_and_still_overwrites_nothing_of_the_first_choice(
    routed: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_keys(routed, monkeypatch, "alpha_vantage")
    routed.run(TABLE, MARCH, symbols=["AAPL"])
    routed.sandbox.clear_calls()
    assert fetch_from(routed, ["alpha_vantage"], MARCH, ["AAPL", "KO"]).success
    assert routed.sandbox.calls()["by_vendor"] == {"alpha_vantage": 2}
    assert (sources(routed, MARCH), sources(routed, MARCH, "KO")) == (["yahoo"], ["alpha_vantage"])


def test_a_run_that_names_a_vendor_nobody_knows_says_which_there_are(routed: Platform) -> None:
    result = fetch_from(routed, ["reuters"], MARCH, ["AAPL"])
    assert not result.success
    failed = next(event for event in result.all_events if event.is_step_failure)
    assert "choose at least one of" in str(failed.step_failure_data.error)
