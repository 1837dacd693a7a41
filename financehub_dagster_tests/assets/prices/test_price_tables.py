"""Daily price tables: what is asked, what is stored, and what a run says of it."""

from datetime import date

import dagster as dg
import numpy as np
import pytest

from financehub_dagster.assets.charts.bars import trend
from financehub_dagster.sandbox.market.recordings import recorded_daily, recorded_span, recorded_symbols
from financehub_dagster.settings import get_settings

WHOLE_RECORDING = ("2013-02-01", "2018-02-01")


def stock_calls(platform) -> dict[str, int]:
    return platform.sandbox.calls(vendor="yahoo")["by_symbol"]


def test_a_range_of_partitions_is_one_run_and_one_call_per_instrument(platform):
    outcome = platform.run(
        "stock_prices_daily", "2014-01-01", "2016-12-01", symbols=["AAPL", "MSFT", "BRK.B"], checked=True
    )
    assert outcome.success
    assert stock_calls(platform) == {"AAPL": 1, "MSFT": 1, "BRK.B": 1}
    materialized = [e for e in platform.events if e.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION]
    assert len(materialized) == 36
    assert platform.scalar("select count(*) from stock_prices_daily") == 3 * 756


def test_a_run_of_several_batches_counts_the_rows_and_instruments_of_each_source(platform):
    assert platform.run("stock_prices_daily", "2015-03-01").success
    [event] = [e for e in platform.events if e.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION]
    metadata = event.step_materialization_data.materialization.metadata
    done = metadata["instruments_done"].value
    assert done > 25  # more than a batch
    assert metadata["instruments_by_source"].value == {"yahoo": done}
    assert metadata["rows_by_source"].value == {"yahoo": metadata["rows_inserted"].value}


def test_every_recorded_bar_comes_back_to_the_last_digit(platform):
    outcome = platform.run("stock_prices_daily", *WHOLE_RECORDING)
    assert outcome.success, outcome.error
    stored: dict[str, list[tuple]] = {}
    for symbol, *row in platform.rows(
        "select symbol, date, open, high, low, close, volume from stock_prices_daily"
        " where date <= '2018-02-07' order by symbol, date"
    ):
        stored.setdefault(symbol, []).append(tuple(row))
    symbols = [symbol for symbol in recorded_symbols() if symbol in stored]
    assert len(symbols) == 34
    for symbol in symbols:
        recorded = recorded_daily(symbol)
        assert [str(row[0]) for row in stored[symbol]] == [str(day) for day in recorded.date]
        for position, name in enumerate(("open", "high", "low", "close", "volume"), start=1):
            assert np.array_equal([row[position] for row in stored[symbol]], getattr(recorded, name)), (symbol, name)


def test_every_recorded_crypto_bar_comes_back_to_the_last_digit(platform):
    assert platform.run("crypto_prices_daily", "2010-01-01", "2026-02-01", symbols=["BTC"]).success
    recorded = recorded_daily("BTC")
    inside = (recorded.date >= np.datetime64("2010-01-01")) & (recorded.date < np.datetime64("2026-03-01"))
    stored = platform.rows("select open, high, low, close, volume from crypto_prices_daily order by date")
    expected = np.column_stack([getattr(recorded, n)[inside] for n in ("open", "high", "low", "close", "volume")])
    assert np.array_equal(np.array(stored), expected)


def test_the_stock_table_takes_no_cryptos_and_the_crypto_table_no_stocks(platform):
    both = ["AAPL", "BTC"]
    assert platform.run("stock_prices_daily", "2017-09-01", symbols=both).success
    assert platform.run("crypto_prices_daily", "2017-09-01", symbols=both).success
    assert platform.rows("select distinct symbol from stock_prices_daily") == [("AAPL",)]
    assert platform.rows("select distinct symbol from crypto_prices_daily") == [("BTC",)]


def test_a_second_run_over_the_same_range_changes_nothing(platform):
    platform.run("stock_prices_daily", "2015-03-01", symbols=["AAPL", "GE"])
    before = platform.rows("select * from stock_prices_daily order by symbol, date")
    again = platform.run("stock_prices_daily", "2015-03-01", symbols=["AAPL", "GE"]).tables["stock_prices_daily"]
    assert (again["rows_inserted"], again["rows_updated"], again["rows_unchanged"]) == (0, 0, 44)
    assert platform.rows("select * from stock_prices_daily order by symbol, date") == before
    assert platform.scalar("select count(*) from price_revisions") == 0


def test_an_unknown_symbol_does_not_stop_the_others(platform):
    platform.execute(
        "insert into instruments (symbol, name, asset_type, exchange, currency, timezone)"
        " values ('NOPE', 'Nothing Corp', 'stock', 'XNYS', 'USD', 'America/New_York')"
    )
    outcome = platform.run("stock_prices_daily", "2015-03-01", symbols=["AAPL", "NOPE", "MSFT"], checked=True)
    assert outcome.success
    assert platform.rows("select symbol, count(*) from stock_prices_daily group by 1 order by 1") == [
        ("AAPL", 22),
        ("MSFT", 22),
    ]
    assert outcome.tables["stock_prices_daily"]["instruments_failed"] == 1
    assert outcome.tables["stock_prices_daily"]["vendor_calls"] == platform.sandbox.calls()["by_vendor"]["yahoo"] >= 3
    waiting = platform.checks(outcome, "stock_prices_daily")["no_open_failures"]
    assert not waiting.passed
    assert waiting.severity == dg.AssetCheckSeverity.WARN
    assert platform.rows("select task_name, partition_key, symbol, provider, status from task_failures") == [
        ("stock_prices_daily", "2015-03-01", "NOPE", "yahoo", "open")
    ]


def test_a_run_that_can_store_nothing_fails_and_leaves_a_dead_letter_which_success_resolves(platform):
    platform.sandbox.fault("status", vendor="yahoo", status=500)
    outcome = platform.run("stock_prices_daily", "2015-03-01", symbols=["AAPL"])
    assert not outcome.success
    assert "nothing stored, 1 instrument failed" in outcome.error
    letters = "select task_name, partition_key, symbol, status from task_failures"
    assert platform.rows(letters) == [("stock_prices_daily", "2015-03-01", "AAPL", "open")]
    platform.sandbox.reset()
    platform.execute("delete from breakers")
    platform.run("stock_prices_daily", "2015-03-01", symbols=["AAPL"])
    assert platform.rows(letters) == [("stock_prices_daily", "2015-03-01", "AAPL", "resolved")]


def test_a_new_split_has_the_whole_stored_history_fetched_again(platform):
    platform.run("stock_prices_daily", "2014-01-01", "2014-12-01", symbols=["KO"])
    before = dict(platform.rows("select date, close from stock_prices_daily where symbol = 'KO'"))
    platform.sandbox.split("KO", date(2015, 3, 16), 2.0)
    outcome = platform.run("stock_prices_daily", "2015-03-01", symbols=["KO"])
    assert outcome.tables["stock_prices_daily"]["restated_after_split"] == "KO"
    after = dict(platform.rows("select date, close from stock_prices_daily where symbol = 'KO'"))
    for day, close in before.items():
        assert after[day] == pytest.approx(close / 2, rel=1e-6)
    assert platform.scalar("select count(*) from price_revisions where symbol = 'KO'") == len(before)
    platform.sandbox.clear_calls()
    again = platform.run("stock_prices_daily", "2015-03-01", symbols=["KO"])
    assert "restated_after_split" not in again.tables["stock_prices_daily"]
    assert stock_calls(platform) == {"KO": 1}


def test_bars_that_break_a_rule_are_rejected_and_kept_for_inspection(platform):
    platform.sandbox.set_bar("AAPL", date(2015, 3, 10), high=1.0)
    outcome = platform.run("stock_prices_daily", "2015-03-01", symbols=["AAPL"], checked=True)
    assert outcome.success
    assert outcome.tables["stock_prices_daily"]["rows_rejected"] == 1
    assert platform.scalar("select count(*) from stock_prices_daily") == 21
    assert platform.rows("select symbol, date::text from rejected_rows") == [("AAPL", "2015-03-10")]
    missing = platform.checks(outcome, "stock_prices_daily")["no_missing_sessions"]
    assert not missing.passed


def test_the_metadata_of_a_run_explains_it(platform):
    platform.run("stock_prices_daily", "2015-02-01", symbols=["AAPL"])
    platform.execute("analyze stock_prices_daily")
    platform.execute("delete from stock_prices_daily")
    platform.run("stock_prices_daily", "2015-02-01", "2015-03-01", symbols=["AAPL"], drawn=True)
    by_partition = {
        e.partition: e.step_materialization_data.materialization.metadata
        for e in platform.events
        if e.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION
    }
    newest = by_partition["2015-03-01"]
    assert newest["rows_inserted"].value == 41
    assert newest["dagster/row_count"].value == 19, "as PostgreSQL counted last: nobody reads the whole table for it"
    assert newest["dagster/partition_row_count"].value == 22
    assert {name: value.value for name, value in by_partition["2015-02-01"].items()} == {
        "dagster/partition_row_count": 19
    }, "what is true of the run is told once"
    assert newest["vendor_calls"].value == 1
    assert newest["span"].value == "2015-02-01 to 2015-03-31"
    assert "data:image/png;base64," in newest["picture"].value
    [shown] = newest["latest"].records
    assert shown.data["symbol"] == "AAPL"
    assert shown.data["close"].endswith(" USD")
    assert len(shown.data["half a year"]) == 30


def test_a_run_shows_its_most_important_instruments_and_what_was_generated(platform, monkeypatch, tmp_path):
    (tmp_path / "mode").write_text("sandbox\n")
    monkeypatch.setenv("FINANCEHUB_HOME", str(tmp_path))
    get_settings.cache_clear()
    platform.run("stock_prices_daily", "2018-01-01", "2018-03-01", symbols=["KO", "AAPL", "TSLA"], drawn=True)
    [newest] = [
        e.step_materialization_data.materialization.metadata
        for e in platform.events
        if e.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION and e.partition == "2018-03-01"
    ]
    origins = {record.data["symbol"]: record.data["prices"] for record in newest["latest"].records}
    assert origins == {
        "AAPL": "recorded until 2018-02-07, then generated",
        "TSLA": "generated",
        "KO": "recorded until 2018-02-07, then generated",
    }
    assert list(origins) == ["AAPL", "TSLA", "KO"]  # by market capitalisation
    assert "AAPL, TSLA, KO, daily bars of the sample market" in newest["picture"].value


def test_the_spans_of_the_recordings_are_those_of_their_days():
    for symbol in recorded_symbols():
        days = recorded_daily(symbol).date
        assert recorded_span(symbol) == (days[0].item(), days[-1].item())
    assert recorded_span("AAP") is None


@pytest.mark.parametrize(
    ("values", "line"),
    [([1.0, 2.0, 3.0], "▁▅█"), ([3.0, 3.0], "▁▁"), ([5.0], "▁"), ([*range(200)], None)],
)
def test_a_trend_runs_from_the_lowest_to_the_highest(values, line):
    drawn = trend(values)
    assert drawn == line if line else (drawn[0], drawn[-1], len(drawn)) == ("▁", "█", 30)


def test_dividends_and_splits_are_stored_with_the_bars(platform):
    platform.sandbox.split("KO", date(2019, 6, 12), 3.0)
    outcome = platform.run(["stock_prices_daily", "corporate_actions"], "2018-06-01", "2020-12-01", symbols=["KO"])
    assert outcome.success
    assert ("KO", "2019-06-12", "split", 3.0) in platform.rows(
        "select symbol, date::text, kind, value from corporate_actions"
    )
    stored = platform.scalar("select count(*) from corporate_actions")
    assert outcome.tables["corporate_actions"]["rows_inserted"] == stored
