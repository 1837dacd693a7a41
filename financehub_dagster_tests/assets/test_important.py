"""The most important instruments go first: ranked from what is stored, kept fresh, and asked about before the open."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import dagster as dg
import pytest

from financehub_dagster.automation.jobs.combined_jobs import PART_TAG
from financehub_dagster.automation.jobs.healing import due_orders
from financehub_dagster.automation.runs import run_job
from financehub_dagster.ingest.run_config import Universe
from financehub_dagster.market import importance
from financehub_dagster.market.holdings import Lot
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.storage.coverage import gaps
from financehub_dagster.storage.database.engine import transaction
from financehub_dagster.storage.database.transactions import in_transaction
from financehub_dagster.storage.queries import importance as stored
from financehub_dagster.storage.queries.holdings import replace_lots
from financehub_dagster.storage.queries.instruments import upsert_instruments

NEW_YORK_OPENS = datetime(2026, 11, 20, 14, 30, tzinfo=UTC)
SATURDAY = datetime(2026, 11, 21, 14, 25, tzinfo=UTC)


def launch(platform, job: str, config=None):
    outcome = run_job(platform.definitions.get_repository_def(), job, config or {}, instance=platform.instance)
    assert outcome.success, outcome.error
    return outcome


@pytest.fixture
def stored_runs(tmp_path) -> Iterator[dg.DagsterInstance]:
    """An instance on disk: a tick does not get to see one in memory."""
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        yield instance


def tick(platform, instance: dg.DagsterInstance, name: str, at: datetime) -> dg.RunRequest | str:
    """What a schedule answers to its tick at `at`: a request, or why there is none."""
    schedule = next(each for each in platform.definitions.schedules if each.name == name)
    with dg.build_schedule_context(
        instance=instance, scheduled_execution_time=at, repository_def=platform.definitions.get_repository_def()
    ) as context:
        data = schedule.evaluate_tick(context)
    return data.run_requests[0] if data.run_requests else str(data.skip_message)


def first(count: int) -> list[str]:
    return [each.symbol for each in Universe().instruments(list(AssetType))[:count]]


def test_what_is_held_goes_before_what_is_large(platform):
    assert "SPY" not in first(1)
    launch(platform, "rank_instruments")
    small = Universe().instruments([AssetType.STOCK])[-1].symbol
    lots = [Lot("main", small, 10.0, 50.0, date(2020, 1, 2))]
    in_transaction(lambda connection: replace_lots(connection, lots))
    launch(platform, "rank_instruments")
    assert first(1) == [small]
    lowest, highest = platform.rows("select min(importance), max(importance) from instruments where is_active")[0]
    assert 1 <= lowest < highest <= 9


def test_amounts_in_several_currencies_are_compared_in_one(platform):
    """100,000 yen are worth less than 2,000 dollars, and a company of 40 trillion yen is smaller than Apple."""
    listed = [
        Instrument("7203.T", "Toyota", AssetType.STOCK, "XTKS", "JPY", "Asia/Tokyo", market_cap=40e12),
        Instrument("USDJPY", "Dollar in yen", AssetType.FX, "XXXX", "JPY"),
    ]
    lots = [Lot("main", "7203.T", 100.0, 1_000.0, date(2020, 1, 6)), Lot("main", "KO", 40.0, 50.0, date(2020, 1, 6))]
    with transaction() as connection:
        upsert_instruments(connection, listed)
        replace_lots(connection, lots)
    unknown = in_transaction(stored.read)
    platform.execute(
        "insert into fx_prices_daily (symbol, date, open, high, low, close, adj_close, volume, source, fetched_at)"
        " values ('USDJPY', '2026-11-20', 160, 160, 160, 160, 160, 0, 'yahoo', now())"
    )
    known = in_transaction(stored.read)
    toyota, coke = known.symbols.index("7203.T"), known.symbols.index("KO")
    assert (known.held[toyota], known.held[coke]) == (pytest.approx(625.0), 2_000.0)
    assert known.market_cap[toyota] == pytest.approx(0.25e12)
    assert (unknown.held[toyota], unknown.market_cap[toyota]) == (100_000.0, 40e12)
    launch(platform, "rank_instruments")
    assert first(2) == ["KO", "7203.T"]


def test_ticks_healing_and_reports_follow_one_order(platform):
    order = ["KO", "GE", "JPM", "AAPL"]  # by size it would be the reverse; AAPL has no importance yet
    platform.execute("delete from instruments where symbol <> all(:kept)", kept=order)
    platform.execute(
        "update instruments set importance = case symbol when 'KO' then 8 when 'GE' then 7 when 'JPM' then 2 end"
    )
    members = Universe().instruments([AssetType.STOCK])
    assert [each.symbol for each in members] == order
    assert importance.weights(members).tolist()[:3] == [8, 7, 2]
    healed = due_orders(platform.definitions.resources["daily_bars"], 1, tables=["stock_prices_daily"])
    assert list(healed[0].symbols) == order
    with transaction() as connection:
        assert gaps.shares_by_month(connection, ["stock_prices_daily"]).symbols == order


def test_what_has_fallen_behind_weighs_more(platform):
    symbols = ["AAPL", "MSFT", "BTC"]
    members = Universe(symbols=symbols).instruments([AssetType.STOCK, AssetType.CRYPTO])
    newest = {"AAPL": date(2026, 11, 20), "MSFT": date(2026, 11, 18), "BTC": None}
    monday = datetime(2026, 11, 23, 15, tzinfo=UTC)  # the session of the 20th is the last that has ended
    behind = importance.sessions_behind(members, [newest[each.symbol] for each in members], monday)
    assert dict(zip([each.symbol for each in members], behind.tolist(), strict=True)) == {
        "AAPL": 0,
        "MSFT": 2,
        "BTC": float("inf"),
    }
    same = [0.0] * 3
    assert importance.importance(same, same, same, [0, 5, float("inf")]).tolist() == pytest.approx([1.75, 2.25, 2.75])


def test_a_second_ranking_changes_nothing(platform):
    launch(platform, "rank_instruments")
    before = platform.rows("select symbol, importance, updated_at from instruments order by symbol")
    launch(platform, "rank_instruments")
    assert platform.rows("select symbol, importance, updated_at from instruments order by symbol") == before


def test_the_most_important_instruments_are_updated_and_no_other(keyed_platform):
    keyed_platform.execute("update instruments set importance = case symbol when 'AAPL' then 9 when 'BTC' then 8 end")
    outcome = launch(keyed_platform, "batch_update_popular", {"ops": {"update_popular": {"config": {"most": 2}}}})
    assert {symbol for (symbol,) in keyed_platform.rows("select symbol from quotes")} == {"AAPL", "BTC"}
    parts = keyed_platform.instance.get_runs(dg.RunsFilter(tags={PART_TAG: outcome.run_id}))
    assert len(parts) == 2
    told = [
        str(value.value)
        for run in parts
        for entry in keyed_platform.instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
        for value in entry.dagster_event.step_materialization_data.materialization.metadata.values()
    ]
    assert len(told) > 20
    assert not any("data:image" in text for text in told), "it runs every hour: drawing takes a third of its memory"


def test_popular_instruments_are_left_alone_while_their_markets_are_closed(platform, stored_runs):
    platform.execute("delete from instruments where asset_type in ('crypto', 'fx')")
    name = "batch_update_popular_schedule"
    assert tick(platform, stored_runs, name, SATURDAY) == "no market of the most important instruments is open"
    assert isinstance(tick(platform, stored_runs, name, NEW_YORK_OPENS + timedelta(hours=1)), dg.RunRequest)


def test_prices_are_asked_for_in_the_ten_minutes_before_an_exchange_opens(platform, stored_runs):
    def at(minutes: int) -> dg.RunRequest | str:
        return tick(platform, stored_runs, "cache_warming_schedule", NEW_YORK_OPENS + timedelta(minutes=minutes))

    request = at(-10)
    assert isinstance(request, dg.RunRequest)
    listed = platform.rows("select symbol from instruments where exchange in ('XNAS', 'XNYS', 'ARCX') and is_active")
    warmed = request.run_config["ops"]["quotes"]["config"]["symbols"]
    assert {symbol for (symbol,) in listed} == set(warmed)
    assert request.tags["dagster/asset_partition_range_start"] == "2026-11-20"
    for minutes in (-20, 0, 60):
        assert at(minutes) == "no exchange of the universe opens in the next ten minutes"
    assert isinstance(tick(platform, stored_runs, "cache_warming_schedule", SATURDAY), str)


def test_a_tick_is_skipped_while_a_run_has_not_ended(platform, stored_runs):
    for job in ("cache_warming", "batch_update_popular"):
        definition = platform.definitions.resolve_job_def(job)
        stored_runs.create_run_for_job(definition, status=dg.DagsterRunStatus.STARTED)
        answer = tick(platform, stored_runs, f"{job}_schedule", NEW_YORK_OPENS - timedelta(minutes=10))
        assert answer == f"a run of {job} has not ended yet"
