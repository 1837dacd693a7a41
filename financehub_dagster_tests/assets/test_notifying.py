"""The end of the chain: from stored bars to indicators, signals, position sizes and messages, by itself."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
import pytest

from financehub_dagster.automation.jobs.notifying import JOB, send_notifications_sensor
from financehub_dagster.automation.runs import run_job, run_tables
from financehub_dagster.market.holdings import Lot
from financehub_dagster.settings import get_settings
from financehub_dagster.storage.database.errors import UnknownInstruments
from financehub_dagster.storage.database.transactions import in_transaction
from financehub_dagster.storage.queries.holdings import positions, replace_lots

TODAY = datetime.now(UTC).date()


def store_bars(platform, symbol: str, closes: list[float]) -> None:
    """Daily bars that end today, each from one below its close to one above; as a vendor's run would mark them."""
    for number, close in enumerate(reversed(closes)):
        platform.execute(
            "insert into stock_prices_daily"
            " (symbol, date, open, high, low, close, adj_close, volume, source, fetched_at)"
            " values (:symbol, :day, :close, :close + 1, :close - 1, :close, :close, 1000, 'yahoo', now())",
            symbol=symbol,
            day=TODAY - timedelta(days=number),
            close=close,
        )
    platform.execute(
        "insert into dirty_marks (table_name, symbol, dirty_from) select name, :symbol, date '2000-01-01'"
        " from unnest(array['indicators_daily', 'signals']) as name",
        symbol=symbol,
    )


@pytest.fixture
def crossed(platform):
    """Bars of which the last makes a golden cross of 20 and 50 days, computed."""
    store_bars(platform, "AAPL", [100.0] * 60 + [90.0] * 60 + [110.0])
    month = TODAY.replace(day=1).isoformat()
    outcome = platform.run(["indicators_daily", "signals"], month, symbols=["AAPL"])
    assert outcome.success, outcome.error
    return platform


def tick(platform) -> Any:
    context = dg.build_sensor_context(instance=platform.instance, definitions=platform.definitions)
    return send_notifications_sensor(context)


def send(platform):
    repository = platform.definitions.get_repository_def()
    outcome = run_job(repository, JOB, {}, instance=platform.instance)
    assert outcome.success, outcome.error
    assert all(check.passed for check in outcome.checks)
    return outcome.tables


def test_what_bars_make_fire_is_sized_and_told_once(crossed, inbox, monkeypatch):
    monkeypatch.setenv("FINANCEHUB_EQUITY", "100000")
    get_settings.cache_clear()
    assert isinstance(tick(crossed), dg.RunRequest)
    tables = send(crossed)
    assert tables["position_sizes"]["equity"] == "100,000.00 USD"
    told = inbox.messages[0]["message"]
    assert f"AAPL {TODAY}: bullish crossing (sma_20_50 entry), close 110 USD" in told
    assert len(inbox.messages) == 1
    size = "select fixed_fraction_units, stop, atr_risk_units, held from position_sizes where rule = 'sma_20_50'"
    [(fraction, stop, risk, held)] = crossed.rows(size)
    [(atr,)] = crossed.rows("select atr_14 from indicators_daily where date = :day", day=TODAY)
    assert (fraction, held) == (45, 0)
    assert stop == pytest.approx(110 - 2 * atr)
    assert risk == 1_000 // (2 * atr)

    assert isinstance(tick(crossed), dg.SkipReason)
    assert send(crossed)["notifications"]["delivered"] == 0
    assert len(inbox.messages) == 1


def test_a_run_over_signals_shows_the_newest(crossed):
    outcome = crossed.run("signals", TODAY.replace(day=1).isoformat(), symbols=["AAPL"])
    shown = [record.data for record in outcome.tables["signals"]["latest"].records]
    [cross] = [row for row in shown if row["rule"] == "sma_20_50"]
    assert (cross["date"], cross["symbol"], cross["signal"]) == (str(TODAY), "AAPL", "bullish crossing")
    assert cross["close"] == "110 USD"
    assert not any(row["rule"].startswith("cdl_") for row in shown)


def test_the_sensor_waits_while_a_run_sends(crossed):
    run = crossed.instance.create_run_for_job(
        crossed.definitions.resolve_job_def(JOB), status=dg.DagsterRunStatus.STARTED
    )
    waiting = tick(crossed)
    assert isinstance(waiting, dg.SkipReason)
    assert "a run is sending" in str(waiting.skip_message)
    crossed.instance.report_run_failed(run)
    assert isinstance(tick(crossed), dg.RunRequest)


def test_a_failed_delivery_is_replayed_as_a_dead_letter(crossed, inbox):
    inbox.status = 500
    send_failing = run_tables(
        crossed.definitions.get_repository_def(), ["notifications"], "", {}, instance=crossed.instance
    )
    assert send_failing.success, "the run has done its work: the letters are written"
    assert crossed.rows("select symbol, attempts, status from task_failures") == [("AAPL", 1, "open")]
    repository = crossed.definitions.get_repository_def()
    for attempts, status in ((2, "open"), (3, "open"), (4, "open"), (5, "open"), (6, "parked")):
        crossed.execute("update task_failures set next_retry_at = now() where next_retry_at is not null")
        assert run_job(repository, "replay_dead_letters", {}, instance=crossed.instance).success
        assert crossed.rows("select symbol, attempts, status from task_failures") == [("AAPL", attempts, status)]
    inbox.status = 200
    [number] = crossed.rows("select id from task_failures")[0]
    config = {"ops": {"replay": {"config": {"ids": [number]}}}}
    assert run_job(repository, "replay_dead_letters", config, instance=crossed.instance).success
    assert crossed.scalar("select status from task_failures") == "resolved"
    assert crossed.rows("select distinct state from notifications") == [("delivered",)]
    assert len(inbox.messages) == 1


def test_without_an_equity_nothing_is_sized_and_holdings_make_one(crossed):
    assert send(crossed)["position_sizes"]["equity"] == "unknown"
    assert crossed.rows("select * from position_sizes") == []
    lots = [Lot("main", "AAPL", 100.0, 50.0, date(2020, 1, 2))]
    assert in_transaction(lambda connection: replace_lots(connection, lots)) == 0
    assert send(crossed)["position_sizes"]["equity"] == "11,000.00 USD"
    assert crossed.rows("select distinct held, equity from position_sizes") == [(100.0, 11_000.0)]


def test_lots_are_replaced_by_account_and_splits_are_applied(crossed):
    def held() -> list[tuple]:
        found = in_transaction(positions)
        return [(each.account, each.symbol, each.quantity, each.cost, each.value, each.profit) for each in found]

    lots = [Lot("main", "AAPL", 10.0, 400.0, date(2020, 1, 2)), Lot("other", "BTC", 1.0, 9_000.0, date(2020, 1, 2))]
    in_transaction(lambda connection: replace_lots(connection, lots))
    crossed.execute(
        "insert into corporate_actions (symbol, date, kind, value, source, fetched_at)"
        " values ('AAPL', '2020-08-31', 'split', 7, 'yahoo', now()), ('AAPL', '2021-08-31', 'split', 2, 'yahoo', now())"
    )
    assert held() == [
        ("main", "AAPL", 140.0, pytest.approx(200 / 7), pytest.approx(15_400.0), pytest.approx(11_400.0)),
        ("other", "BTC", 1.0, 9_000.0, None, None),
    ], "units are whole where lots and ratios are"
    newer = [Lot("main", "AAPL", 10.0, 100.0, date(2021, 9, 1))]
    assert in_transaction(lambda connection: replace_lots(connection, newer)) == 1
    assert [row[:4] for row in held()] == [("main", "AAPL", 10.0, 100.0), ("other", "BTC", 1.0, 9_000.0)]
    with pytest.raises(UnknownInstruments):
        in_transaction(lambda connection: replace_lots(connection, [Lot("main", "NONE", 1.0, 1.0, date(2020, 9, 1))]))
    assert len(held()) == 2
