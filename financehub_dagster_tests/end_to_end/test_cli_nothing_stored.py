"""Commands whose vendors refuse everything say so: what is deferred, what failed, and exit code 1."""

import json
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from dagster._core.storage.tags import WILL_RETRY_TAG

from financehub_dagster.automation.jobs.single_asset import DEFERRED_TAG
from financehub_dagster.automation.runs import run_job, run_tables
from financehub_dagster.cli import platform_runs
from financehub_dagster.cli.app import run
from financehub_dagster.cli.errors import CommandError
from financehub_dagster.cli.reports import runs as report
from financehub_dagster.cli.runs import code_location
from financehub_dagster.settings import get_settings

UNIVERSE = """
- {symbol: AAPL, name: Apple Inc., asset_type: stock, exchange: XNAS}
- {symbol: MSFT, name: Microsoft, asset_type: stock, exchange: XNAS}
"""
START = (datetime.now(UTC) - timedelta(days=35)).date().replace(day=1)
BACKFILL = ("backfill", "stock_prices_daily", "--from", f"{START:%Y-%m}", "--to", f"{START:%Y-%m}")
REFUSES = {"kind": "status", "vendor": "yahoo", "status": 429, "retry_after": 7200}


@pytest.fixture
def told(folder, database, dagster_database, sandbox, capsys, monkeypatch):
    """Commands in a folder with two stocks and a history of some seven weeks: exit code, stdout and stderr."""
    monkeypatch.setenv("FINANCEHUB_HISTORY_START", START.isoformat())
    get_settings.cache_clear()

    def told(*arguments: str) -> tuple[int, str, str]:
        code = run(list(arguments))
        said = capsys.readouterr()
        return code, said.out, said.err

    (folder / "mine.yaml").write_text(UNIVERSE)
    assert told("instruments", "import", "mine.yaml")[0] == 0
    return told


def test_a_backfill_whose_work_is_all_deferred_fails_and_says_until_when(told, sandbox):
    sandbox.fault(**REFUSES)
    code, out, err = told(*BACKFILL)
    line = err.splitlines()[-1]
    assert (code, out) == (1, "")
    assert line.startswith("financehub: stock_prices_daily: nothing was stored: 2 deferred: ")
    assert "until 20" in line
    assert "yahoo" in line
    code, out, _ = told(*BACKFILL, "--json")
    assert (code, list(json.loads(out))) == (1, ["error"])


def test_a_backfill_that_stores_some_says_what_is_deferred(told, sandbox):
    sandbox.fault(**REFUSES, after=1)
    code, out, err = told(*BACKFILL, "--json")
    done, also = json.loads(out)["tables"]
    assert also["table"] == "corporate_actions", "the same answers bring them"
    assert (code, done["instruments_done"], done["instruments_deferred"]) == (0, 1, 1)
    assert f"warning: stock_prices_daily: 1 deferred: {min(done['deferred'])} until 20" in err


def test_an_update_whose_work_is_deferred_fails(told, sandbox):
    sandbox.fault(**REFUSES)
    code, _, err = told("update", "AAPL")
    assert code == 1
    assert "nothing was stored: 1 deferred: AAPL until 20" in err.splitlines()[-1]


def test_healing_that_fills_nothing_fails_with_the_reason(told, sandbox):
    sandbox.fault(**REFUSES)
    code, _, err = told("gaps", "--heal")
    assert code == 1
    assert err.splitlines()[-1].startswith("financehub: nothing was filled: ")
    assert "yahoo" in err.splitlines()[-1]
    told("instruments", "add", "KO", "--type", "stock", "--exchange", "XNYS")
    code, _, err = told("gaps", "--heal", "--symbols", "KO")  # due, but its vendor is not asked at all
    assert code == 1
    assert "nothing was filled: yahoo is not asked before 20" in err.splitlines()[-1]


def test_a_replay_whose_work_is_deferred_fails_and_names_the_dead_letter(told, sandbox):
    sandbox.delist("MSFT")
    assert told(*BACKFILL, "--symbols", "MSFT")[0] == 1
    sandbox.reset()
    sandbox.fault(**REFUSES)
    code, _, err = told("dlq", "replay", "--all")
    assert code == 1
    assert "warning: the work of dead letter 1 is not done, it is deferred until 20" in err
    assert err.splitlines()[-1].startswith("financehub: nothing was done: all work is deferred until 20")


def test_parts_of_a_backfill_are_judged_together(told, sandbox):
    repository = code_location().get_repository_def()

    def part(symbol: str) -> platform_runs.PartOfBackfill:
        config = {"symbols": [symbol]}
        with dg.DagsterInstance.get() as instance:
            done = run_tables(repository, ["stock_prices_daily"], START.isoformat(), config, instance=instance)
            ended = instance.get_run_by_id(done.run_id)
            assert ended is not None
            return platform_runs.part_of(instance, ended, "stock_prices_daily", [symbol])

    stored = part("AAPL")
    sandbox.delist("MSFT")
    failed = part("MSFT")
    sandbox.fault(**REFUSES)
    deferred = part("AAPL")
    assert [each.status for each in (stored, failed, deferred)] == ["success", "failure", "success"]
    assert stored.table.rows_inserted > 0 == deferred.table.rows_inserted
    assert (list(failed.table.failures), list(deferred.table.deferred)) == (["MSFT"], ["AAPL"])
    assert not any(each.broken for each in (stored, failed, deferred))
    report.require_stored([report.together([stored.table, failed.table])])
    with pytest.raises(CommandError, match="nothing was stored: 1 failed .*MSFT.*; 1 deferred: AAPL until"):
        report.require_stored([report.together([failed.table, deferred.table])])


@pytest.mark.parametrize(
    ("tags", "finished"), [({}, False), ({WILL_RETRY_TAG: "true"}, False), ({WILL_RETRY_TAG: "false"}, True)]
)
def test_a_run_that_failed_has_ended_once_dagster_has_decided_not_to_retry_it(told, tags, finished):
    with dg.DagsterInstance.get() as instance:
        failed = instance.add_run(dg.DagsterRun(job_name="heal_gaps", status=dg.DagsterRunStatus.FAILURE, tags=tags))
        assert platform_runs.last_run(instance, failed.run_id).is_finished is finished


def test_a_seed_whose_work_is_deferred_says_so_on_its_run_and_claims_no_partition(told, sandbox):
    sandbox.fault(**REFUSES)
    config = {"ops": {"seed_one": {"config": {"symbol": "AAPL", "days": 30}}}}
    with dg.DagsterInstance.get() as instance:
        done = run_job(code_location().get_repository_def(), "historical_seed", config, instance=instance)
        ended = instance.get_run_by_id(done.run_id)
        assert ended is not None
        assert ended.tags[DEFERRED_TAG].startswith("AAPL until 20")
        assert "stock_prices_daily" not in done.tables
