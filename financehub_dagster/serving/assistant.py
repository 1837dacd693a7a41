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
from pydantic import Field

from financehub_dagster.market.instruments import AssetType
from financehub_dagster.serving import rows
from financehub_dagster.serving.errors import ReadError
from financehub_dagster.storage.database.errors import DatabaseError

MOST_ROWS = 1_000
"""Of an answer: a model reads every one of them."""
MOST_FOUND = 30
INSTRUCTIONS = """Market data that is complete or says what it lacks. `list_tables` first: it names tables and columns.
Prices are adjusted for splits; `adjust` has 'adjusted' (for dividends too) and 'raw' (as traded). Before you call a
value wrong or missing, ask `explain_value` or `missing_sessions`. Nothing here can change data."""

type Symbols = Annotated[str, Field(description="One symbol, or several with commas: AAPL,BTC")]
type Day = Annotated[str, Field(description="A day as 2026-11-01, or a UTC time as 2026-11-01T14:30Z; included")]

server: MCPServer[Any] = MCPServer("FinanceHub", instructions=INSTRUCTIONS)


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
    """Instruments as JSON, the most important first: symbol, name, kind, exchange, currency, delisting."""
    from financehub_dagster.storage.database.engine import transaction
    from financehub_dagster.storage.queries.instruments import search_instruments as search

    with transaction() as connection:
        found = search(connection, query, asset_type, exchange, MOST_FOUND)
    return json.dumps(
        [
            {
                "symbol": each.symbol,
                "name": each.name,
                "type": each.asset_type.value,
                "exchange": each.exchange,
                "currency": each.currency,
                "timezone": each.timezone,
                "is_active": each.is_active,
                "delisted_on": None if each.delisted_on is None else each.delisted_on.isoformat(),
            }
            for each in found
        ],
        ensure_ascii=False,
    )


@_tool
def read_rows(
    table: Annotated[str, Field(description="A name from list_tables")],
    symbols: Symbols = "",
    start: Day = "",
    end: Day = "",
    columns: Annotated[str, Field(description="With commas, besides the key; empty: all")] = "",
    as_of: Annotated[str, Field(description="The table as it was known at this UTC time; empty: now")] = "",
    adjust: Annotated[str, Field(description="split (as stored), adjusted or raw")] = "split",
    repaired: Annotated[bool, Field(description="Daily bars with the repairs that have one right answer")] = False,
) -> str:
    """At most 1,000 rows of a table as CSV, in the order of its key; more are refused: narrow the question."""
    texts = {"symbols": symbols, "start": start, "end": end, "columns": columns, "as_of": as_of}
    chosen = {name: text for name, text in texts.items() if text}
    notes: list[str] = []
    found = rows.answer(table, {**chosen, "adjust": adjust, "repaired": str(repaired).lower()}, notes, most=MOST_ROWS)
    return "".join([*(f"# {note}\n" for note in notes), rows.encoded(found, "csv").decode()])


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
        asked = split_names(symbols) or () if symbols else ()
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
