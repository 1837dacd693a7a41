"""The stored tables for assistants: a server of the Model Context Protocol on standard input and output.

Belongs here: its tools, all of which only read, and their words. Does not belong here: reading (`rows`), explanations
(`explain`), the ledger (`storage.coverage`). Imports the library `mcp`, an extra: import this module only to serve.

Protocol: https://modelcontextprotocol.io. Errors are told in the product's own line, so that the model can mend its
question.
"""

import functools
import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import date
from typing import Annotated, Any

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import Field, ValidationError

from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.serving import rows
from financehub_dagster.serving.errors import ReadError, unknown
from financehub_dagster.storage.database.errors import DatabaseError
from financehub_dagster.version import VERSION

MOST_ROWS = 1_000
"""Of an answer: a model reads every one of them."""
MOST_FOUND = 30
INSTRUCTIONS = """Market data that is complete or says what it lacks. `list_tables` first: it names tables and columns.
Prices are adjusted for splits; `adjust` has 'adjusted' (for dividends too) and 'raw' (as traded). Before you call a
value wrong or missing, ask `explain_value` or `missing_sessions`. Nothing here can change data."""

type Names = str | list[str]
type Symbols = Annotated[Names, Field(description="One symbol, or several with commas or as a list: AAPL,BTC")]
type Day = Annotated[str, Field(description="A day as 2026-11-01, or a UTC time as 2026-11-01T14:30Z; included")]


class _Server(MCPServer[Any]):
    """Refuses what a tool does not take: the library leaves it out, and the answer would be to another question."""

    async def call_tool(self, name: str, arguments: dict[str, Any], context: Any = None) -> Any:
        """The answer of a tool; raises ToolError, in one line, for arguments that it does not take."""
        taken = {tool.name: tool.input_schema["properties"] for tool in await self.list_tools()}
        for each in arguments:
            if name in taken and each not in taken[name]:
                raise ToolError(str(unknown("argument", each, taken[name], "", of=name)))
        try:
            return await super().call_tool(name, arguments, context)
        except ToolError as error:
            if not isinstance(error.__cause__, ValidationError):
                raise
            first = error.__cause__.errors()[0]
            raise ToolError(f"argument {first['loc'][0]} of {name}: {first['msg']}") from None


server: MCPServer[Any] = _Server("FinanceHub", instructions=INSTRUCTIONS, version=VERSION)


def _tool(work: Callable[..., str]) -> Callable[..., str]:
    """`work` as a tool that only reads; what is wrong with a question is told in its one line."""

    @functools.wraps(work)
    def told(*args: Any, **arguments: Any) -> str:
        try:
            return work(*args, **arguments)
        except (ReadError, DatabaseError) as error:
            raise ToolError(str(error)) from None

    read_only = ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False)
    return server.tool(annotations=read_only, structured_output=False)(told)


@_tool
def list_tables() -> str:
    """Every table as JSON: what it holds, its key, and its columns with their types, units and meaning."""
    return json.dumps(rows.list_tables(), ensure_ascii=False)


@_tool
def search_instruments(
    query: Annotated[str, Field(description="The beginning of a symbol, or part of a name; empty: all")] = "",
    asset_type: Annotated[str, Field(description=f"{', '.join(AssetType)}; empty: all")] = "",
    exchange: Annotated[str, Field(description="A MIC such as XNAS; empty: all")] = "",
) -> str:
    """The 30 most important instruments that fit, as JSON; `more` says whether others fit too: narrow the question."""
    from financehub_dagster.market.exchanges import exchanges
    from financehub_dagster.storage.database.engine import transaction
    from financehub_dagster.storage.queries.instruments import search_instruments as search

    for what, name, known in (("asset_type", asset_type, list(AssetType)), ("exchange", exchange, list(exchanges()))):
        if name and name not in known:
            raise unknown(what, name, known, "write a MIC such as XNAS, or leave it out")
    with transaction() as connection:
        found = search(connection, query, asset_type, exchange, MOST_FOUND + 1)
    told = {"instruments": [_told(each) for each in found[:MOST_FOUND]], "more": len(found) > MOST_FOUND}
    return json.dumps(told, ensure_ascii=False)


def _told(instrument: Instrument) -> dict[str, Any]:
    return {
        "symbol": instrument.symbol,
        "name": instrument.name,
        "type": instrument.asset_type.value,
        "exchange": instrument.exchange,
        "currency": instrument.currency,
        "timezone": instrument.timezone,
        "is_active": instrument.is_active,
        "delisted_on": None if instrument.delisted_on is None else instrument.delisted_on.isoformat(),
    }


@_tool
def read_rows(
    table: Annotated[str, Field(description="A name from list_tables")],
    symbols: Symbols = "",
    start: Day = "",
    end: Day = "",
    columns: Annotated[Names, Field(description="With commas or as a list, besides the key; empty: all")] = "",
    as_of: Annotated[str, Field(description="The table as it was known at this UTC time; empty: now")] = "",
    adjust: Annotated[str, Field(description="split (as stored), adjusted or raw")] = "split",
    repaired: Annotated[bool, Field(description="Daily bars with the repairs that have one right answer")] = False,
) -> str:
    """At most 1,000 rows of a table as CSV, in the order of its key; more are refused: narrow the question."""
    if table not in rows.served():
        raise unknown("table", table, rows.served(), "`list_tables` has all")
    lists = {"symbols": _text(symbols), "columns": _text(columns)}
    texts = {**lists, "start": start, "end": end, "as_of": as_of}
    chosen = {name: text for name, text in texts.items() if text}
    notes: list[str] = []
    found = rows.answer(table, {**chosen, "adjust": adjust, "repaired": str(repaired).lower()}, notes, most=MOST_ROWS)
    return "".join([*(f"# {note}\n" for note in notes), rows.encoded(found, "csv").decode()])


def _text(names: Names) -> str:
    if not names and not isinstance(names, str):
        raise ReadError("an empty list of names: leave it out to read all")
    return names if isinstance(names, str) else ",".join(names)


@_tool
def explain_value(
    symbol: Annotated[str, Field(description="One symbol")],
    day: Annotated[str, Field(description="The session, as 2026-11-02")],
    column: Annotated[str, Field(description="A price or an indicator such as rsi_14; empty: the whole bar")] = "",
) -> str:
    """Where a daily value comes from, as JSON: vendor, time, run, revisions, actions, other vendors, ledger, inputs."""
    from financehub_dagster.serving.explain import explain

    try:
        session = date.fromisoformat(day)
    except ValueError:
        raise ToolError(f"{day}: write the day as 2015-06-12") from None
    found = explain(symbol, session, column=column or None)
    return json.dumps(asdict(found), default=str, ensure_ascii=False)


@_tool
def missing_sessions(symbols: Symbols = "") -> str:
    """How many sessions each table lacks, as JSON by state of the ledger, and which instruments lack most."""
    from financehub_dagster.serving.explain import find_instrument
    from financehub_dagster.serving.questions import split_names
    from financehub_dagster.storage.coverage import gaps
    from financehub_dagster.storage.database.engine import transaction

    with transaction() as connection:
        asked = split_names(_text(symbols) or None) or ()
        names = [find_instrument(connection, each).symbol for each in asked] or None
        found = {
            "sessions": gaps.sessions_by_state(connection, names),
            "lacking_most": gaps.open_gaps(connection, MOST_FOUND, symbols=names),
        }
    return json.dumps(found, default=str)


@_tool
def platform_health() -> str:
    """Whether database, daemons, vendors and disk are healthy, as JSON by component."""
    from financehub_dagster.operations.health import check

    return json.dumps(check().as_dict(), default=str, ensure_ascii=False)


def serve() -> None:
    """Answer an assistant until it closes standard input."""
    server.run("stdio")
