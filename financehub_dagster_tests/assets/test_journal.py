"""`write_journal`, its schedule and the command: a run writes files and shows them, and is skipped for nothing."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime

import dagster as dg
import pytest

from financehub_dagster.automation.jobs.journal import JOB, write_journal_schedule
from financehub_dagster.automation.runs import run_job
from financehub_dagster.cli.app import run
from financehub_dagster.market.holdings import Lot
from financehub_dagster.market.journal.week import named
from financehub_dagster.serving.journal.reading import journals
from financehub_dagster.settings import get_settings
from financehub_dagster.storage.database.transactions import in_transaction
from financehub_dagster.storage.queries.holdings import replace_lots
from financehub_dagster_tests.assets.conftest import Platform

SATURDAY = datetime(2026, 11, 28, 6, tzinfo=UTC)
LOTS = [
    Lot("main", "AAPL", 10.0, 90.0, date(2026, 10, 5)),
    Lot("kids/2", "BTC", 0.5, 60_000.0, date(2026, 10, 5)),
    Lot("kids/2", "MSFT", 1.0, 10.0, date(2026, 10, 5)),
]


@pytest.fixture
def stored_runs(tmp_path) -> Iterator[dg.DagsterInstance]:
    """An instance on disk: a tick does not get to see one in memory."""
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        yield instance


@pytest.fixture
def holding(platform, tmp_path, monkeypatch) -> Iterator[Platform]:
    """The platform with holdings, prices of two of them, and a home of its own."""
    monkeypatch.setenv("FINANCEHUB_HOME", str(tmp_path / "home"))
    get_settings.cache_clear()
    in_transaction(lambda connection: replace_lots(connection, LOTS))
    for table, symbol, before, last in (
        ("stock_prices_daily", "AAPL", 100.0, 102.5),
        ("crypto_prices_daily", "BTC", 62_000.0, 61_000.0),
    ):
        for day, close in (("2026-11-20", before), ("2026-11-27", last)):
            platform.execute(
                f"insert into {table} (symbol, date, open, high, low, close, adj_close, volume, source, fetched_at)"
                " values (:symbol, cast(:day as date), :close, :close, :close, :close, :close, 1, 'yahoo', now())",
                symbol=symbol,
                day=day,
                close=close,
            )
    yield platform
    get_settings.cache_clear()


def written(platform, **config):
    repository = platform.definitions.get_repository_def()
    given = {"ops": {"journal": {"config": {"week": "2026-W48", **config}}}}
    return run_job(repository, JOB, given, instance=platform.instance)


def tick(platform, instance, at=SATURDAY):
    with dg.build_schedule_context(
        instance=instance, scheduled_execution_time=at, repository_def=platform.definitions.get_repository_def()
    ) as context:
        return write_journal_schedule.evaluate_tick(context)


def test_a_run_writes_the_week_of_every_account_and_shows_it(holding, tmp_path):
    outcome = written(holding)
    assert outcome.success, outcome.error
    shown = outcome.tables["journal"]
    assert shown["week"] == "2026-W48"
    accounts = {record.data["account"]: record.data for record in shown["accounts"].records}
    assert accounts["main"]["week"] == "+25.00"
    assert (accounts["kids/2"]["week"], accounts["kids/2"]["missing"]) == ("-500.00", "1")
    home = tmp_path / "home" / "journal"
    assert (home / "main" / "2026-W48.md").read_text() == shown["journal of main"]
    assert "MSFT: no close is stored up to this week" in shown["journal of kids/2"]
    folders = sorted(path.name for path in home.iterdir())
    assert folders[1] == "main"
    assert folders[0].startswith("kids_2-")

    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    assert len(before) == 4
    assert written(holding, accounts=["main"]).success
    assert {path: path.read_bytes() for path in home.rglob("*") if path.is_file()} == before


def test_a_position_is_valued_at_its_last_close_however_old_that_is(holding):
    """A share that stopped trading years ago is still worth what it last cost, as `holdings list` has it."""
    holding.execute(
        "insert into stock_prices_daily (symbol, date, open, high, low, close, adj_close, volume, source, fetched_at)"
        " values ('MSFT', '2024-06-03', 12, 12, 12, 12, 12, 1, 'yahoo', now())"
    )
    [journal] = journals(named("2026-W48"), only=["kids/2"])
    position = next(each for each in journal.account.positions if each.symbol == "MSFT")
    assert (position.value, position.week, position.total) == (12.0, 0.0, 2.0)
    assert position.problems == ["no close in this week: valued at that of 2024-06-03"]


def test_a_run_for_what_there_is_not_fails_in_one_line(holding):
    for config, said in (({"week": "2026-W60"}, "write an ISO week"), ({"accounts": ["nobody"]}, "unknown account")):
        outcome = written(holding, **config)
        assert not outcome.success
        assert said in str(outcome.error)


def test_the_schedule_asks_for_the_week_that_ended_however_late_its_tick_is(holding, stored_runs):
    [request] = tick(holding, stored_runs).run_requests
    assert request.run_key == "2026-W48"
    assert request.run_config == {"ops": {"journal": {"config": {"week": "2026-W48"}}}}
    [late] = tick(holding, stored_runs, datetime(2026, 12, 3, 20, tzinfo=UTC)).run_requests
    assert late.run_key == "2026-W48"
    assert written(holding).success


def test_the_schedule_is_skipped_while_nothing_is_held_or_a_run_goes_on(platform, stored_runs):
    assert "nothing is held" in tick(platform, stored_runs).skip_message
    in_transaction(lambda connection: replace_lots(connection, LOTS))
    stored_runs.create_run_for_job(platform.definitions.resolve_job_def(JOB), status=dg.DagsterRunStatus.STARTED)
    assert tick(platform, stored_runs).skip_message == f"a run of {JOB} has not ended yet"


def test_the_command_prints_and_writes_what_the_run_does(holding, tmp_path, capsys, monkeypatch):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "mode").write_text("live\n")
    home = ["--home", str(tmp_path / "home")]
    assert run(["journal", "--week", "2026-W48", "--json", *home]) == 0
    found = {each["account"]: each for each in json.loads(capsys.readouterr().out)["journals"]}
    assert (found["main"]["week"], found["main"]["value"], found["main"]["lacking"]) == (25.0, 1025.0, {})
    assert found["kids/2"]["lacking"]["value"] == ["MSFT"]
    assert run(["journal", "--account", "main", "--week", "2026-W48", "--format", "html", *home]) == 0
    page = capsys.readouterr().out
    assert page == (tmp_path / "home" / "journal" / "main" / "2026-W48.html").read_text()
    for arguments, said in (
        (["--week", "next"], "write an ISO week as 2026-W48"),
        (["--week", "2999-W01"], "lies in the future"),
        (["--account", "mian"], "did you mean main"),
        (["--format", "html"], "add --account, one of kids/2, main"),
        (["--as-of", "yesterday"], "write a day as"),
    ):
        assert run(["journal", *arguments, *home]) == 2
        assert said in capsys.readouterr().err
