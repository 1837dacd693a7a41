"""`explain`: everything that is known of a value, of a row that is gone, and of a session without a row."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa

from financehub_dagster.cli.reports import explain as report
from financehub_dagster.market.indicators.columns import INDICATORS
from financehub_dagster.serving.errors import ReadError
from financehub_dagster.serving.explain import explain
from financehub_dagster.storage.database import schema
from financehub_dagster.storage.database.engine import transaction
from financehub_dagster.storage.lineage import stale_inputs
from financehub_dagster.storage.upsert import rejected_rows, withdrawals
from financehub_dagster_tests.unit.serving.stored import DIVIDEND, FIRST, SPLIT

BARS = "stock_prices_daily"
DAY = FIRST + timedelta(days=4)
GONE = FIRST + timedelta(days=7)

pytestmark = pytest.mark.usefixtures("before", "facts")


@pytest.fixture(scope="module")
def facts(before: datetime) -> None:
    """A withdrawn bar, a refused row, a ledger with one session in each state, and stale indicators."""
    refused = pd.DataFrame(
        {
            "symbol": ["BRK.B"],
            "date": [pd.Timestamp(GONE)],
            "rule": ["positive"],
            "source": ["finnhub"],
            "close": [-1.0],
        }
    )
    states = {"empty": 12, "gap": 13, "dead_lettered": 14, "deferred": 15}
    ranges = {name: f"{{[2024-02-{day},2024-02-{day + 1})}}" for name, day in states.items()}
    ledger = {"table": BARS, "symbol": "MSFT", "first": FIRST, "through": date(2024, 2, 16), **ranges}
    with transaction() as connection:
        withdrawals.withdraw(connection, BARS, [("BRK.B", GONE, "")], {"BRK.B": "yahoo"}, run_id="run-3")
        rejected_rows.record_rejections(connection, BARS, refused, run_id="run-3")
        stale_inputs.mark_dirty(connection, "indicators_daily", {"AAPL": DAY})
        connection.execute(
            sa.text(
                "insert into coverage (table_name, symbol, first, through, calendar_digest, "
                "empty, gap, dead_lettered, deferred) values (:table, :symbol, :first, :through, 0, "
                "cast(:empty as datemultirange), cast(:gap as datemultirange), "
                "cast(:dead_lettered as datemultirange), cast(:deferred as datemultirange))"
            ),
            ledger,
        )
        connection.execute(
            sa.insert(schema.empty_answers).values(
                table_name=BARS,
                symbol="MSFT",
                sessions=sa.text("'{[2024-02-12,2024-02-13)}'::datemultirange"),
                provider="yahoo",
                asked=6,
                last_asked_at=datetime(2024, 3, 1, tzinfo=UTC),
            )
        )


def test_a_replaced_value_names_source_run_and_what_it_was_before(before: datetime) -> None:
    found = explain("aapl", DAY)
    assert found.row is not None
    assert (found.symbol, found.table, found.row["close"]) == ("AAPL", BARS, 104.25)
    assert (found.stored["source"], found.stored["stamp"], found.stored["run_id"]) == ("yahoo", "fetched_at", "run-2")
    assert found.stored["at"] > before
    [revision] = found.revisions
    assert revision["changed"]["close"] == {"from": 104.0, "to": 104.25}
    assert set(revision["changed"]) == {"open", "high", "low", "close", "adj_close"}
    assert (revision["run_id"], revision["withdrawn_by"]) == ("run-2", None)
    assert datetime.fromisoformat(revision["known_since"]) < before


def test_actions_say_what_they_changed_and_by_how_much() -> None:
    found = explain("AAPL", DAY)
    assert found.factors == {"split": 4.0, "dividends": pytest.approx(0.9)}
    assert [(each["date"], each["kind"], each["applies_to"]) for each in found.actions] == [
        (DIVIDEND, "dividend", "adj_close"),
        (SPLIT, "split", "open, high, low, close, adj_close, volume"),
    ]
    on_its_day = explain("AAPL", SPLIT)
    assert on_its_day.factors["split"] == 1
    assert [each["applies_to"] for each in on_its_day.actions] == ["nothing before its day"]
    assert explain("MSFT", DAY).actions == []


def indicators(symbol: str, day: date) -> dict[str, Any]:
    """What the bar's explanation says of the indicators."""
    [found] = [each for each in explain(symbol, day).computed if each["table"] == "indicators_daily"]
    return found


def test_what_was_computed_from_a_bar_is_there_and_stale_where_it_is() -> None:
    computed = indicators("AAPL", DAY)
    assert (computed["values"]["obv"], computed["stale"]) == (9.0, True)
    assert not indicators("AAPL", FIRST)["stale"]
    none = indicators("MSFT", DAY)
    assert (none["values"], none["computed_at"]) == ({}, None)


def test_levels_come_from_the_session_before_alone_and_are_told_with_it() -> None:
    levels = schema.table("levels_daily")
    with transaction() as connection:
        row = {"symbol": "MSFT", "date": DAY, "session": DAY - timedelta(days=1), "high": 104.0, "low": 102.0}
        connection.execute(sa.insert(levels).values(**row, close=103.0, computed_at=datetime(2024, 3, 1, tzinfo=UTC)))
    found = explain("MSFT", DAY, table="levels_daily")
    assert [each["date"] for each in found.formula["last_inputs"]] == [DAY - timedelta(days=1)]
    assert (found.formula["input_rows"], found.formula["inputs"]) == (1, ["high", "low", "close"])
    computed = {each["table"]: each for each in explain("MSFT", DAY - timedelta(days=1)).computed}
    assert computed["levels_daily"]["values"]["close"] == 103.0
    assert {each["table"]: each for each in explain("MSFT", DAY).computed}["levels_daily"]["values"] == {}
    missing = explain("MSFT", DAY + timedelta(days=1), table="levels_daily")
    assert (missing.row, missing.formula["last_input"]) == (None, DAY)


def test_what_other_vendors_say_is_told() -> None:
    with transaction() as connection:
        told = [("close", 99.5, None), ("open", 98.5, "yahoo")]
        for column, value, off in told:
            row = {"table_name": BARS, "symbol": "MSFT", "date": DAY, "column_name": column, "vendor": "finnhub"}
            values = {"kind": "value", "source": "yahoo", "stored": 104.0, "told": value, "off": off}
            connection.execute(sa.insert(schema.discrepancies).values(**row, **values))
    found = explain("MSFT", DAY)
    assert [(each["column_name"], each["vendor"], each["told"], each["off"]) for each in found.discrepancies] == [
        ("close", "finnhub", 99.5, None),
        ("open", "finnhub", 98.5, "yahoo"),
    ]
    lines = list(report._lines(found))
    assert any(line.startswith("  finnhub has close 99.5 where yahoo has 104, compared ") for line in lines)
    assert any(line.endswith("; yahoo is off, two others agree") for line in lines)
    assert explain("MSFT", DAY + timedelta(days=1)).discrepancies == []


def test_a_withdrawn_row_and_the_refused_row_of_another_vendor_are_told() -> None:
    found = explain("BRK.B", GONE)
    assert found.row is None
    [revision] = found.revisions
    assert (revision["withdrawn_by"], revision["run_id"]) == ("yahoo", "run-3")
    assert revision["changed"]["close"] == {"from": 107.0, "to": None}
    [refused] = found.rejected
    assert (refused["source"], refused["rule"], refused["row"]["close"]) == ("finnhub", "positive", -1.0)


@pytest.mark.parametrize(
    ("day", "state"),
    [
        ("2023-12-29", "before"),
        ("2024-02-09", "settled"),
        ("2024-02-12", "empty"),
        ("2024-02-13", "gap"),
        ("2024-02-14", "dead_lettered"),
        ("2024-02-15", "deferred"),
        ("2024-02-20", "after"),
    ],
)
def test_a_session_without_a_bar_has_the_state_of_the_ledger(day: str, state: str) -> None:
    found = explain("MSFT", date.fromisoformat(day))
    assert found.ledger["state"] == state
    assert found.ledger["session"] is True
    assert [each["asked"] for each in found.ledger["empty_responses"]] == ([6] if state == "empty" else [])


@pytest.mark.parametrize("day", ["2024-02-10", "2024-02-19"], ids=["weekend", "holiday"])
def test_a_day_without_a_session_and_without_a_bar_has_no_state(day: str) -> None:
    """The ledger's ranges span weekends and holidays, of which nothing is settled as stored and nothing is missing."""
    found = explain("MSFT", date.fromisoformat(day))
    assert (found.row, found.ledger["session"], found.ledger["state"]) == (None, False, None)
    assert list(report._ledger(found)) == ["  no session of XNAS; not in the ledger"]


def test_a_bar_on_a_day_without_a_session_is_in_no_ledger_and_waits_for_nothing() -> None:
    found = explain("MSFT", date(2024, 1, 6))
    assert found.row is not None
    assert list(report._ledger(found)) == ["  no session of XNAS; not in the ledger"]


def test_why_an_indicator_of_a_bar_that_is_no_trade_has_no_value_is_said() -> None:
    why = "  the bar is no trade (one price, no volume, no session): its row has no values, and no other counts it"
    found = explain("AAPL", date(2024, 1, 6), column="rsi_14")
    assert found.row is not None
    assert why not in report._lines(found), "the row has an obv, so rsi_14 only warms up"
    found.row["obv"] = None
    assert why in report._lines(found)


def test_a_day_after_the_last_one_of_an_instrument_waits_for_nothing() -> None:
    found = explain("MSFT", date(2024, 2, 20))
    assert list(report._ledger(found)) == ["  a session of XNAS; not settled yet; the ledger reaches 2024-02-16"]
    found.delisted_on = date(2024, 2, 16)
    assert list(report._ledger(found)) == ["  after its last day: no session is expected"]


def test_an_indicator_is_explained_down_to_its_inputs() -> None:
    found = explain("AAPL", DAY, column="rsi_14")
    formula = found.formula
    assert (found.table, formula["function"], formula["parameters"]) == ("indicators_daily", "RSI", {"timeperiod": 14})
    assert (formula["inputs_table"], formula["inputs"], formula["input_rows"]) == (BARS, ["close"], 5)
    assert (formula["first_input"], formula["last_input"], formula["stale"]) == (FIRST, DAY, True)
    assert formula["last_inputs"][-1] == {"date": DAY, "close": 104.25}
    assert len(explain("AAPL", FIRST + timedelta(days=30), column="rsi_14").formula["last_inputs"]) == 14
    [revision] = explain("AAPL", DAY, column="obv").revisions
    assert revision["changed"] == {"obv": {"from": 4.0, "to": 9.0}}


@pytest.mark.parametrize("column", [each.name for each in INDICATORS])
def test_every_indicator_has_a_definition(column: str) -> None:
    formula = explain("AAPL", DAY, column=column).formula
    assert formula["description"]
    assert len(formula["last_inputs"]) == 5 or formula["last_inputs"][-1]["date"] == DAY


def test_a_price_column_is_explained_by_its_bar() -> None:
    found = explain("AAPL", DAY, column="close")
    assert (found.table, found.column, found.formula) == (BARS, "close", {})
    assert explain("AAPL", DAY, table="fundamentals").row is None


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"symbol": "APPL"}, "unknown symbol APPL: did you mean AAPL?"),
        ({"column": "rsi14"}, "unknown column rsi14 of AAPL: did you mean rsi_14?"),
        ({"table": "quotes"}, "unknown table quotes: "),
        ({"table": BARS, "column": "rsi_14"}, "unknown column rsi_14 of stock_prices_daily: "),
    ],
)
def test_what_there_is_not_is_refused_in_one_line(asked: dict[str, str], message: str) -> None:
    with pytest.raises(ReadError) as refused:
        explain(**{"symbol": "AAPL", "day": DAY, **asked})  # type: ignore[arg-type]
    assert str(refused.value).startswith(message)
    assert "\n" not in str(refused.value)
