"""The stored tables as widgets of OpenBB Workspace: a chart over UDF, and a table for each declared one.

Belongs here: what the workspace is told of them, and rows for its grids. Does not belong here: bars for its charts
(`udf`), and what a question means (`rows`).

The form: https://docs.openbb.co/workspace/developers/json-specs/widgets-json-reference. The workspace asks from its own
page, so `FINANCEHUB_SERVE_ORIGINS` has to name that: https://pro.openbb.co.
"""

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request, Response

from financehub_dagster.market.instruments import AssetType
from financehub_dagster.serving import rows
from financehub_dagster.tables.declaration import Column, Table

CATEGORY = "FinanceHub"
MOST_ROWS = 10_000
"""Of a grid, which a browser holds: twenty years of two instruments."""
A_YEAR_AGO = "$currentDate-1y"
"""The workspace puts the date in."""
CHART = {
    "name": "Prices",
    "description": "Stored bars of every instrument, adjusted for splits, with dividends and splits.",
    "category": CATEGORY,
    "type": "advanced_charting",
    "endpoint": "udf",
    "gridData": {"w": 20, "h": 20},
}
_NUMBERS = ("double precision", "integer", "bigint")

router = APIRouter(route_class=rows.InTurn)


@router.get("/widgets.json")
def widgets() -> dict[str, Any]:
    """Every widget by its name: the chart, and the tables that have rows of instruments.

    Each begins with the most important instrument of a kind that it shows.
    """
    from financehub_dagster.storage.database.engine import transaction
    from financehub_dagster.storage.queries.instruments import list_instruments

    with transaction() as connection:
        universe = list_instruments(connection)

    def first_of(kinds: Sequence[AssetType]) -> str | None:
        return next((each.symbol for each in universe if each.asset_type in kinds), None)

    chart = CHART | {"data": {"defaultSymbol": first_of(tuple(AssetType)), "updateFrequency": 60_000}}
    shown = {name: table for name, table in rows.served().items() if "symbol" in table.key}
    return {"prices": chart} | {
        name: _widget(name, table, first_of(table.instruments)) for name, table in shown.items()
    }


@router.get("/openbb/{table}")
def get_grid(table: str, request: Request) -> Response:
    """Rows for a grid; what a person has left empty is left out."""
    chosen = {name: text for name, text in rows.parameters_of(request).items() if text}
    found = rows.answer(table, chosen, [], most=MOST_ROWS)
    return Response(rows.encoded(found, "json"), media_type=rows.MEDIA["json"])


def _widget(name: str, table: Table, symbol: str | None) -> dict[str, Any]:
    params: list[dict[str, Any]] = [_param("symbols", "Symbols", "text", symbol, "One, or several with commas")]
    if table.time is not None:
        params.append(_param("start", "From", "date", A_YEAR_AGO, "The first day"))
        params.append(_param("end", "To", "date", None, "The last day, included; empty: the newest"))
    return {
        "name": name.replace("_", " ").capitalize(),
        "description": table.comment,
        "category": CATEGORY,
        "subCategory": table.group,
        "type": "table",
        "endpoint": f"openbb/{name}",
        "gridData": {"w": 40, "h": 12},
        "params": params,
        "data": {"table": {"showAll": True, "columnsDefs": [_column(each) for each in table.columns]}},
    }


def _param(name: str, label: str, kind: str, value: str | None, description: str) -> dict[str, Any]:
    return {"paramName": name, "label": label, "type": kind, "value": value, "description": description}


def _column(column: Column) -> dict[str, Any]:
    kind = "number" if column.type in _NUMBERS else "dateString" if column.type == "date" else "text"
    told = {"field": column.name, "headerName": column.name, "headerTooltip": column.comment, "cellDataType": kind}
    return told | ({"pinned": "left"} if column.key else {})
