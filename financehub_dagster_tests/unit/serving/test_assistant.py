"""What an assistant gets to see: the protocol's own client, talking to `financehub mcp` as a process."""

import asyncio
import io
import json
import os
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import pandas as pd
import pytest
from mcp import Client, StdioServerParameters

from financehub_dagster import read
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.serving import assistant
from financehub_dagster.storage.database import schema
from financehub_dagster.storage.database.engine import transaction
from financehub_dagster.storage.queries.instruments import upsert_instruments
from financehub_dagster_tests.unit.serving import stored

STOCKS = "stock_prices_daily"
READS = {"list_tables", "search_instruments", "read_rows", "explain_value", "missing_sessions", "platform_health"}


@pytest.fixture
def server(before: datetime, tmp_path: Path, monkeypatch) -> StdioServerParameters:
    """The command that an assistant starts."""
    monkeypatch.chdir(tmp_path)
    arguments = ["-m", "financehub_dagster.cli", "mcp"]
    environment = {**os.environ, "FINANCEHUB_HOME": str(tmp_path / "home")}
    return StdioServerParameters(command=sys.executable, args=arguments, env=environment, cwd=tmp_path)


def ask(server: StdioServerParameters, calls: Sequence[tuple[str, dict]]) -> list[tuple[bool, str]]:
    """Whether each call of a tool succeeded, and its text."""

    async def talk() -> list[tuple[bool, str]]:
        async with Client(server) as client:
            tools = (await client.list_tools()).tools
            assert {tool.name for tool in tools} == READS
            assert all(tool.annotations and tool.annotations.read_only_hint for tool in tools)
            found = [await client.call_tool(name, arguments) for name, arguments in calls]
        return [(not each.is_error, "".join(getattr(part, "text", "") for part in each.content)) for each in found]

    return asyncio.run(talk())


def test_an_assistant_finds_tables_instruments_and_rows(server: StdioServerParameters) -> None:
    asked = {"table": STOCKS, "symbols": "aapl", "end": "2024-01-03", "columns": "close", "adjust": "adjusted"}
    (_, tables), (_, found), (_, rows) = ask(
        server, [("list_tables", {}), ("search_instruments", {"query": "brk"}), ("read_rows", asked)]
    )
    assert STOCKS in {each["table"] for each in json.loads(tables)}
    assert [each["symbol"] for each in json.loads(found)["instruments"]] == ["BRK.B"]
    expected = read(STOCKS, symbols="AAPL", end="2024-01-03", columns="close", adjust="adjusted")
    assert pd.read_csv(io.StringIO(rows))["close"].tolist() == expected["close"].tolist()


def test_an_assistant_is_told_where_a_value_comes_from_and_what_is_missing(server: StdioServerParameters) -> None:
    asked = {"symbol": "AAPL", "day": "2024-01-02", "column": "close"}
    (_, told), (_, lacking), (_, health) = ask(
        server, [("explain_value", asked), ("missing_sessions", {"symbols": "AAPL"}), ("platform_health", {})]
    )
    explanation = json.loads(told)
    assert (explanation["stored"]["source"], len(explanation["revisions"])) == ("yahoo", 1)
    assert json.loads(lacking)["sessions"][STOCKS].keys() >= {"expected", "stored", "gap"}
    assert "database" in json.loads(health)["components"]


def test_what_is_wrong_with_a_question_is_told_in_one_line(server: StdioServerParameters, monkeypatch) -> None:
    wrong: list[tuple[str, dict, str]] = [
        ("read_rows", {"table": "stock_price_daily"}, "did you mean stock_prices_daily"),
        ("read_rows", {"table": STOCKS, "symbols": "APPL"}, "did you mean AAPL"),
        ("explain_value", {"symbol": "AAPL", "day": "yesterday"}, "write the day as"),
        ("missing_sessions", {"symbols": "APPL"}, "did you mean AAPL"),
        ("missing_sessions", {"symbols": []}, "an empty list of names"),
        ("missing_sessions", {"table": STOCKS}, "unknown argument table of missing_sessions"),
        ("read_rows", {"table": "nope"}, "`list_tables` has all"),
        ("read_rows", {"table": STOCKS, "symbol": "AAPL"}, "did you mean symbols?"),
        ("read_rows", {"tables": STOCKS}, "did you mean table?"),
        ("read_rows", {"symbols": "AAPL"}, "argument table of read_rows: Field required"),
        ("search_instruments", {"asset_type": "equity"}, "there are stock, crypto, etf, index, fx"),
        ("search_instruments", {"exchange": "NASDAQ"}, "did you mean XNAS?"),
        ("delete_rows", {}, "delete_rows"),
    ]
    for (_, _, told), (fine, text) in zip(
        wrong, ask(server, [(name, arguments) for name, arguments, _ in wrong]), strict=True
    ):
        assert not fine
        assert told in text
        assert "\n" not in text.strip()


def test_names_may_be_a_list_as_in_python(server: StdioServerParameters) -> None:
    asked = {"table": STOCKS, "symbols": ["AAPL", "BRK.B"], "columns": ["close"], "end": "2024-01-03"}
    [(_, rows), (_, lacking)] = ask(server, [("read_rows", asked), ("missing_sessions", {"symbols": ["AAPL"]})])
    expected = read(STOCKS, symbols=["AAPL", "BRK.B"], columns=["close"], end="2024-01-03")
    assert pd.read_csv(io.StringIO(rows))["close"].tolist() == expected["close"].tolist()
    assert "sessions" in json.loads(lacking)


def test_a_search_says_whether_it_found_more_than_it_tells(server: StdioServerParameters) -> None:
    symbols = [f"MANY{n:02d}" for n in range(assistant.MOST_FOUND + 1)]
    with transaction() as connection:
        upsert_instruments(connection, [Instrument(each, each, AssetType.STOCK, "XNYS", "USD") for each in symbols])
    try:
        [(_, many), (_, one)] = ask(
            server, [("search_instruments", {"query": "many"}), ("search_instruments", {"query": "many00"})]
        )
    finally:
        stored.remove("instruments", symbols)
    assert (len(json.loads(many)["instruments"]), json.loads(many)["more"]) == (assistant.MOST_FOUND, True)
    assert (len(json.loads(one)["instruments"]), json.loads(one)["more"]) == (1, False)


def test_an_answer_that_a_model_would_drown_in_is_refused(server: StdioServerParameters) -> None:
    symbols = [f"MANY{n:02d}" for n in range(26)]
    stored.store(schema.table(STOCKS), stored.bars(tuple(symbols)))
    try:
        [(fine, text)] = ask(server, [("read_rows", {"table": STOCKS})])
    finally:
        stored.remove(STOCKS, symbols)
    assert not fine
    assert "more than 1,000 rows" in text
