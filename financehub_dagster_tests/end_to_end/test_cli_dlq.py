"""`financehub dlq` on a live platform whose vendors are the sandbox."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import URL

from financehub_dagster.cli.app import run
from financehub_dagster.storage.database.engine import transaction
from financehub_dagster.storage.database.urls import beside
from financehub_dagster.storage.dead_letters.dead_letters import Failure, record_failures
from financehub_dagster_tests.end_to_end.asked import Asked
from financehub_dagster_tests.end_to_end.conftest import prepared
from financehub_dagster_tests.fixtures.broken_off import break_off_first_writes

UNIVERSE = """
- {symbol: AAPL, name: Apple Inc., asset_type: stock, exchange: XNAS}
- {symbol: GE, name: General Electric, asset_type: stock, exchange: XNYS}
"""


@pytest.fixture(scope="module")
def backfilled(database_server, market_template, sandbox_process, tmp_path_factory) -> Iterator[URL]:
    """Two months of two instruments, one of which the vendors do not know."""
    place = tmp_path_factory.mktemp("backfilled")
    with prepared(database_server, market_template, sandbox_process, place, UNIVERSE, delisted=["GE"]) as filled:
        yield filled(["backfill", "stock_prices_daily", "--from", "2015-03", "--to", "2015-04"])


@pytest.fixture(scope="module")
def database_template(backfilled: URL) -> str:
    return str(backfilled.database)


@pytest.fixture(scope="module")
def dagster_template(backfilled: URL) -> str:
    return str(beside(backfilled).database)


@pytest.fixture
def ask(folder, database, dagster_database, sandbox, capsys) -> Asked:
    """Commands where a backfill has failed for one of two instruments."""
    sandbox.delist("GE")
    return Asked(capsys)


def test_failed_work_is_listed_shown_replayed_and_then_done(ask, sandbox, database, capsys):
    [row] = ask("dlq", "list")["dead_letters"]
    assert {name: row[name] for name in ("task_name", "partition_key", "symbol", "attempts", "status")} == {
        "task_name": "stock_prices_daily",
        "partition_key": "2015-03-01...2015-04-01",
        "symbol": "GE",
        "attempts": 1,
        "status": "open",
    }
    number = str(row["id"])
    assert ask("dlq", "list", "--task", "quotes")["dead_letters"] == []
    assert "did you mean stock_prices_daily" in ask("dlq", "list", "--task", "stock_price_daily", code=2)["error"]
    shown = ask("dlq", "show", number)
    assert shown["kwargs"]["symbols"] == ["GE"]
    assert (shown["run_id"], shown["run_url"]) == (row["run_id"], None)

    again = ask("dlq", "replay", number, code=1)["error"]
    assert again.startswith(f"1 of 1 failed again; dead letter {number}: ")
    assert [r["attempts"] for r in ask("dlq", "list", "--symbol", "ge", "--status", "open")["dead_letters"]] == [2]
    assert ask("dlq", "replay", "--due")["dead_letters"] == [], "it waits"
    assert run(["dlq", "replay", "--due"]) == 0
    assert capsys.readouterr().out == "no dead letter is due\n"

    sandbox.reset()
    assert [r["status"] for r in ask("dlq", "replay", "--all")["dead_letters"]] == ["resolved"]
    assert ask("dlq", "list")["dead_letters"] == []
    assert ask.text("dlq", "list") == "no dead letters\n"
    with database.engine.connect() as connection:
        query = sa.text("select count(*) from stock_prices_daily where symbol = 'GE'")
        assert connection.execute(query).scalar() == 43

    settled = ask("dlq", "replay", number, code=2)["error"]
    assert settled == f"dead letter {number} is resolved: there is nothing to replay"
    assert [r["id"] for r in ask("dlq", "list", "--status", "all", "--task", "stock_prices_daily")["dead_letters"]] == [
        int(number)
    ]


def test_the_work_of_an_instrument_is_found_within_whole_steps_too(ask, database, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    steps = {
        "2016-01-01": ["GE"],
        "2016-02-01": ["AAPL", "GE", "IBM", "KO", "PG"],
        "2016-03-01": ["AAPL"],
        "2016-04-01": None,
    }
    with transaction() as connection:
        record_failures(
            connection,
            [Failure("levels_daily", "boom", day, kwargs={"symbols": symbols}) for day, symbols in steps.items()],
        )
    of_ge = ask("dlq", "list", "--symbol", "GE", "--task", "levels_daily")["dead_letters"]
    assert sorted(row["partition_key"] for row in of_ge) == ["2016-01-01", "2016-02-01", "2016-04-01"]
    named = [" ".join(line.split()[3:-1]) for line in ask.text("dlq", "list", "--task", "levels_daily").splitlines()]
    for cell in ("GE open", "AAPL, GE, IBM and 2 more open", "AAPL open", "(all) open"):
        assert any(text.startswith(cell) for text in named), cell


def test_failed_work_can_be_given_up(ask, database):
    break_off_first_writes(database.engine)
    assert ask("dlq", "discard", "1", "--reason", "delisted") == {"discarded": [1]}
    [row] = ask("dlq", "list", "--status", "discarded")["dead_letters"]
    assert row["exception"].startswith("discarded, delisted; ")
    assert ask("dlq", "discard", "1", code=2)["error"] == "dead letter 1 is discarded already"
    assert "is discarded: there is nothing to replay" in ask("dlq", "replay", "1", code=2)["error"]
    assert ask("instruments", "remove", "GE") == {"removed": ["GE"], "ended": 0}


@pytest.mark.parametrize("way", ["remove", "import"])
def test_an_instrument_that_is_removed_leaves_no_work_to_anybody(ask, database, folder, way):
    with database.engine.begin() as connection:
        connection.exec_driver_sql("update task_failures set status = 'parked', next_retry_at = null")
        connection.exec_driver_sql(
            "insert into deferred_work (task_name, partition_key, symbol, provider, until, reason)"
            " select 'quotes', '2015-03-02', symbol, 'yahoo', now(), 'spent' from unnest(array['GE', 'AAPL']) symbol"
        )
    if way == "remove":
        assert ask("instruments", "remove", "GE") == {"removed": ["GE"], "ended": 2}
    else:
        rows = "symbol,name,asset_type,exchange,is_active\nGE,General Electric,stock,XNYS,false\n"
        (folder / "universe.csv").write_text(rows)
        assert ask("instruments", "import", "universe.csv")["updated"] == 1
    [row] = ask("dlq", "list", "--status", "all")["dead_letters"]
    assert (row["status"], row["exception"].split(";")[0]) == ("discarded", "discarded, not in the universe any more")
    with database.engine.connect() as connection:
        assert connection.exec_driver_sql("select symbol from deferred_work").scalars().all() == ["AAPL"]


def test_what_cannot_be_meant_is_refused_and_changes_nothing(ask, database):
    for command in ("show", "replay", "discard"):
        assert "there is no dead letter 99" in ask("dlq", command, "99", code=2)["error"]
    assert "there is no dead letter 99" in ask("dlq", "replay", "1", "99", code=2)["error"]
    for arguments in ([], ["1", "--all"], ["--all", "--due"]):
        assert "say which" in ask("dlq", "replay", *arguments, code=2)["error"]
    [row] = ask("dlq", "list")["dead_letters"]
    assert (row["attempts"], row["status"]) == (1, "open")


def test_people_get_a_table_and_a_page(ask):
    assert ask.text("dlq", "list").startswith("1 open\n")
    page = ask.text("dlq", "show", "1")
    assert "stock_prices_daily" in page
    assert "2015-03-01...2015-04-01" in page
