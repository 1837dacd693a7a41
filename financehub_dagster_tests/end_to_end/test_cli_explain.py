"""`financehub explain`: where a number comes from, as people read it and as JSON, down to the run that stored it."""

import json
from pathlib import Path

import pytest

from financehub_dagster.cli.app import run

UNIVERSE = "- {symbol: AAPL, name: Apple Inc., asset_type: stock, exchange: XNAS}\n"


@pytest.fixture
def filled(
    folder: Path, database: object, dagster_database: object, sandbox: object, capsys: pytest.CaptureFixture[str]
) -> dict[str, str]:
    """A platform with two months of one stock and their indicators; the runs that stored them, by table."""
    (folder / "mine.yaml").write_text(UNIVERSE)
    assert run(["instruments", "import", "mine.yaml"]) == 0
    runs = {}
    for table in ("stock_prices_daily", "indicators_daily"):
        capsys.readouterr()
        assert run(["backfill", table, "--from", "2015-03", "--to", "2015-04", "--json"]) == 0
        runs[table] = json.loads(capsys.readouterr().out)["run_id"]
    return runs


def test_a_value_is_explained_down_to_its_run_an_indicator_down_to_its_inputs_and_a_day_without_a_bar_by_calendar(
    filled: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["explain", "aapl", "2015-04-20", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["table"], told["row"]["source"]) == ("stock_prices_daily", "yahoo")
    assert told["stored"]["run_id"] == filled["stock_prices_daily"]
    assert (told["ledger"]["session"], told["ledger"]["state"]) == (True, "settled")
    assert run(["explain", "AAPL", "2015-04-20", "--column", "rsi_14"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("AAPL 2015-04-20 in indicators_daily: rsi_14 is ")
    assert f"by run {filled['indicators_daily']}" in lines[1]
    assert "  Relative strength index (number): talib RSI(timeperiod=14)" in lines
    assert any("from close of 35 bars in stock_prices_daily, 2015-03-02 to 2015-04-20" in line for line in lines)
    assert any(line.split()[0] == "2015-04-20" for line in lines if line.strip())
    assert run(["explain", "AAPL", "2015-04-20"]) == 0
    assert "  no later split" in capsys.readouterr().out.splitlines()
    assert run(["explain", "AAPL", "2015-04-03"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "AAPL 2015-04-03 in stock_prices_daily: no row is stored"
    assert any(line.strip().startswith("no session of XNAS") for line in lines)


def test_what_there_is_not_is_wrong_usage(folder: Path, database: object, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "mine.yaml").write_text(UNIVERSE)
    assert run(["instruments", "import", "mine.yaml"]) == 0
    for words, line in (
        (["APPL", "2015-04-20"], "unknown symbol APPL: did you mean AAPL?"),
        (["AAPL", "20 April"], "20 April: write the day as 2015-06-12"),
        (["AAPL", "2015-04-20", "--column", "rsi"], "unknown column rsi of AAPL"),
        (["AAPL", "2015-04-20", "--table", "news_articles"], "unknown table news_articles"),
    ):
        assert run(["explain", *words]) == 2, words
        assert capsys.readouterr().err.splitlines()[-1].startswith(f"financehub: {line}"), words
