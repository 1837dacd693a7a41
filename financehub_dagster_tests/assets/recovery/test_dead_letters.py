"""Dead letters: every way of failing leaves a row from which the work can be done again, and success takes it away."""

from datetime import UTC, datetime

import dagster as dg
import pytest

from financehub_dagster.automation.failures.recovery import recover
from financehub_dagster.automation.runs import RunOutcome, run_job

STOCKS, CRYPTOS, INDICATORS = "stock_prices_daily", "crypto_prices_daily", "indicators_daily"


@pytest.fixture
def repository(platform) -> dg.RepositoryDefinition:
    """The definitions as a code server holds them."""
    return platform.definitions.get_repository_def()


def replay(platform, repository, *ids: int) -> RunOutcome:
    """The job, as a person launches it."""
    config = {"ops": {"replay": {"config": {"ids": list(ids) or None}}}}
    outcome = run_job(repository, "replay_dead_letters", config, instance=platform.instance)
    assert outcome.success, outcome.error
    return outcome


def letters(platform) -> list[tuple]:
    query = "select task_name, partition_key, symbol, attempts, status from task_failures order by id"
    return platform.rows(query)


def make_due(platform) -> None:
    platform.execute("update task_failures set next_retry_at = now() where status = 'open'")


def broken_table(platform, table: str) -> None:
    """From now on nothing can be written to the table."""
    platform.execute(
        "create function refuse() returns trigger language plpgsql as $$ begin raise 'no room'; end $$;"
        f"create trigger refuse before insert on {table} execute function refuse()"
    )


def repaired_table(platform, table: str) -> None:
    platform.execute(f"drop trigger refuse on {table}")


def test_a_failed_step_is_written_down_with_all_that_a_replay_needs(platform):
    broken_table(platform, INDICATORS)
    platform.run(STOCKS, "2015-02-01", "2015-03-01", symbols=["GE"])
    outcome = platform.run(INDICATORS, "2015-02-01", "2015-03-01", symbols=["GE"])
    assert not outcome.success
    [row] = platform.rows(
        "select task_name, partition_key, symbol, kwargs, run_id, status, traceback like '%no room%' from task_failures"
    )
    kwargs = {"job": "__ASSET_JOB", "symbols": ["GE"], "config": {}}
    assert row == (INDICATORS, "2015-02-01...2015-03-01", "", kwargs, outcome.run_id, "open", True)


def test_a_replay_does_the_work_and_resolves_the_row(platform, repository):
    broken_table(platform, INDICATORS)
    platform.run(STOCKS, "2015-02-01", "2015-03-01", symbols=["GE"])
    platform.run(INDICATORS, "2015-02-01", "2015-03-01", symbols=["GE"])
    repaired_table(platform, INDICATORS)
    replay(platform, repository)
    assert [row[-2:] for row in letters(platform)] == [(1, "open")], "not due yet"
    make_due(platform)
    outcome = replay(platform, repository)
    assert [row[-2:] for row in letters(platform)] == [(1, "resolved")]
    assert platform.scalar(f"select count(*) from {INDICATORS} where symbol = 'GE'") == 19 + 22
    made = platform.instance.get_runs(dg.RunsFilter(tags={"financehub/replay_of": outcome.run_id}))
    assert [run.status for run in made] == [dg.DagsterRunStatus.SUCCESS]
    assert platform.instance.get_materialized_partitions(dg.AssetKey(INDICATORS)) == {"2015-02-01", "2015-03-01"}


def test_a_replay_that_fails_waits_longer_and_parks_after_the_fifth(platform, repository, sandbox):
    sandbox.delist("GE")
    platform.run(STOCKS, "2015-03-01", symbols=["AAPL", "GE"])
    seen = []
    for _ in range(6):
        make_due(platform)
        replay(platform, repository)
        seen.append(platform.rows("select attempts, status, next_retry_at - last_failed_at from task_failures")[0])
    assert [(attempts, status) for attempts, status, _ in seen[:4]] == [(n, "open") for n in (2, 3, 4, 5)]
    assert [int(wait.total_seconds()) for _, _, wait in seen[:4]] == [120, 240, 480, 960]
    assert seen[4:] == [(6, "parked", None)] * 2
    assert len(letters(platform)) == 1


def test_a_parked_row_is_replayed_by_a_person(platform, repository, sandbox):
    sandbox.delist("GE")
    platform.run(STOCKS, "2015-03-01", symbols=["AAPL", "GE"])
    platform.execute("update task_failures set status = 'parked', next_retry_at = null, attempts = 6")
    sandbox.reset()
    replay(platform, repository)
    assert letters(platform)[0][-1] == "parked"
    replay(platform, repository, 1)
    assert letters(platform) == [(STOCKS, "2015-03-01", "GE", 6, "resolved")]
    assert platform.scalar(f"select count(*) from {STOCKS} where symbol = 'GE'") == 22


def test_rows_that_belong_together_become_one_run(platform, repository, sandbox):
    for symbol in ("GE", "AAPL"):
        sandbox.delist(symbol)
    platform.run(STOCKS, "2015-03-01", symbols=["MSFT", "GE", "AAPL"])
    platform.run(STOCKS, "2015-04-01", symbols=["MSFT", "GE"])
    sandbox.reset()
    make_due(platform)
    outcome = replay(platform, repository)
    assert {row[-1] for row in letters(platform)} == {"resolved"}
    assert len(letters(platform)) == 3
    made = platform.instance.get_runs(dg.RunsFilter(tags={"financehub/replay_of": outcome.run_id}))
    configs = [run.run_config["ops"][STOCKS]["config"]["symbols"] for run in made]
    assert sorted(configs) == [["AAPL", "GE"], ["GE"]]


def test_rows_nobody_can_replay_say_why(platform, repository, sandbox):
    sandbox.delist("GE")
    platform.run(STOCKS, "2015-03-01", symbols=["AAPL", "GE"])
    platform.execute("update instruments set is_active = false where symbol = 'GE'")
    platform.execute(
        "insert into task_failures (task_name, partition_key, exception) values ('old_table', '2015-03-01', 'broke')"
    )
    replay(platform, repository, 1, 2, 99)
    outcomes = platform.rows("select status, exception from task_failures order by id")
    assert [status for status, _ in outcomes] == ["discarded", "parked"]
    assert outcomes[0][1].startswith("discarded, GE not in the universe any more; ")
    assert outcomes[1][1] == "no table or task old_table any more: discard it; broke"


def test_the_check_of_each_table_says_how_many_are_parked_and_links_their_runs(platform, sandbox):
    sandbox.delist("GE")
    sandbox.delist("MSFT")
    failed = platform.run(STOCKS, "2015-02-01", symbols=["AAPL", "GE", "MSFT"])
    platform.execute("update task_failures set status = 'parked' where symbol = 'GE'")
    later = platform.run([STOCKS, "corporate_actions", "instruments"], "2015-03-01", symbols=["AAPL"], checked=True)
    for table in (STOCKS, "corporate_actions"):
        check = platform.checks(later, table)["no_open_failures"]
        assert not check.passed
        assert check.severity is dg.AssetCheckSeverity.WARN
        assert (check.metadata["offending"].value, check.metadata["parked"].value) == (2, 1)
        assert check.metadata["run_1"] == dg.MetadataValue.dagster_run(failed.run_id)
        waiting, first = (check.description or "").split("; first: ")
        assert waiting == "2 pieces of work wait in the dead letters, 1 parked"
        assert first.split()[1:4] == ["2015-02-01", "UnknownSymbol:", "yahoo:"]
        assert first.split()[0] in {"GE", "MSFT"}
    assert platform.checks(later, "instruments")["no_open_failures"].passed


def test_success_by_any_path_resolves_a_row_within_its_range(platform, sandbox):
    sandbox.delist("GE")
    platform.run(STOCKS, "2015-03-01", symbols=["AAPL", "GE"])
    sandbox.reset()
    platform.run(STOCKS, "2015-01-01", "2015-04-01", symbols=["GE"])
    assert letters(platform) == [(STOCKS, "2015-03-01", "GE", 1, "resolved")]


def seed(platform, repository, symbol: str) -> RunOutcome:
    config = {"ops": {"seed_one": {"config": {"symbol": symbol, "days": 40}}}}
    return run_job(repository, "historical_seed", config, instance=platform.instance)


def test_jobs_on_one_symbol_leave_the_rows_of_their_tables(platform, repository):
    broken_table(platform, INDICATORS)
    assert not seed(platform, repository, "GE").success
    assert {(row[0], row[2]) for row in letters(platform)} == {
        (table, "GE") for table in (STOCKS, INDICATORS, "levels_daily", "pivot_points", "signals")
    }
    assert len({row[1] for row in letters(platform)}) == 1
    repaired_table(platform, INDICATORS)
    make_due(platform)
    replay(platform, repository)
    assert {row[-1] for row in letters(platform)} == {"resolved"}


def test_jobs_on_one_symbol_that_cannot_be_fetched_leave_the_row_of_its_bars(platform, repository, sandbox):
    sandbox.delist("GE")
    assert not seed(platform, repository, "GE").success
    assert [(row[0], row[2]) for row in letters(platform)] == [(STOCKS, "GE")]
    sandbox.reset()
    make_due(platform)
    replay(platform, repository)
    assert [row[-1] for row in letters(platform)] == ["resolved"]


@pytest.mark.parametrize("job", ["update_single_asset", "historical_seed"])
def test_a_job_on_one_symbol_that_is_launched_without_a_config_leaves_and_settles_rows(platform, repository, job):
    broken_table(platform, INDICATORS)
    assert not run_job(repository, job, {}, instance=platform.instance).success
    left = letters(platform)
    assert {STOCKS, INDICATORS} <= {row[0] for row in left}
    assert {(row[2], row[-1]) for row in left} == {("AAPL", "open")}, "what the launchpad opens on"
    repaired_table(platform, INDICATORS)
    outcome = run_job(repository, job, {}, instance=platform.instance)
    assert outcome.success
    assert {row[-1] for row in letters(platform)} == {"resolved"}
    assert not platform.instance.all_logs(outcome.run_id, of_type=dg.DagsterEventType.HOOK_ERRORED)


def test_a_symbol_that_no_instrument_has_leaves_no_dead_letter(platform, repository):
    config = {"ops": {"update_one": {"config": {"symbol": "NOPE"}}}}
    assert not run_job(repository, "update_single_asset", config, instance=platform.instance).success
    assert letters(platform) == []


def test_settled_rows_leave_the_table_after_their_time(platform, repository):
    platform.execute(
        "insert into task_failures (task_name, exception, status, last_failed_at)"
        " select 'old', status || age, status, now() - make_interval(days => age) from"
        " unnest(array['resolved', 'discarded']) status, unnest(array[29, 31]) age"
        " union all select 'old', 'parked', 'parked', now() - interval '1 year'"
    )
    run_job(repository, "cleanup_failed_tasks", {}, instance=platform.instance)
    left = platform.rows("select exception from task_failures order by 1")
    assert [text for (text,) in left] == ["discarded29", "parked", "resolved29"]


def test_a_run_without_a_partition_fails_in_one_line_and_leaves_nothing_to_try_again(platform, repository):
    outcome = run_job(repository, "heal_gaps", {}, instance=platform.instance)
    assert not outcome.success
    failed = platform.instance.all_logs(outcome.run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
    said = {(event := entry.dagster_event).step_key: event.step_failure_data.user_failure_data for entry in failed}
    month = datetime.now(UTC).date().replace(day=1)
    assert {each.description for each in said.values()} == {
        f"no partition was chosen: launch it with --partition {month}"
    }
    assert {STOCKS, CRYPTOS} <= set(said)
    recover(platform.instance, datetime.now(UTC))
    assert letters(platform) == []
