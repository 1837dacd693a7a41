"""Rows of stored tables over HTTP, in the words of `read`: as JSON, CSV, Arrow or Parquet.

Belongs here: the parameters of a request, the bound of an answer, and its formats. Does not belong here: what a
question means (`questions`), reading (`read`), and who may ask (`guard`).
"""

import io
import json
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute

from financehub_dagster.serving.errors import ReadError, unknown
from financehub_dagster.serving.pieces import Kept, asked_for
from financehub_dagster.tables import TABLES
from financehub_dagster.tables.declaration import Table
from financehub_dagster.wording import counted

if TYPE_CHECKING:
    import pyarrow as pa

    from financehub_dagster.serving.questions import TableQuery

MOST_ROWS = 100_000
"""Of an answer: five years of 80 instruments; more are files (`financehub export`)."""
MOST_WHOLE = 5
"""Symbols of a question that is answered from more than its answer: archived months, whole histories to repair."""
ROWS_AT_ONCE = 1_000
"""Of an answer in JSON: 2 MB of Python's objects for 40 columns."""
READERS = 4
"""Questions answered at the same time: it bounds memory and connections, and leaves threads for health and metrics."""
GONE = 499
"""The status that nobody sees: of a request whose client has hung up (nginx has it so too)."""
MEDIA = {
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "arrow": "application/vnd.apache.arrow.file",
    "parquet": "application/vnd.apache.parquet",
}
"""The formats of an answer, by the name that the parameter `format` has for them."""
NOTE = "x-financehub-note"
"""The header that tells of symbols that are others now."""
_LISTS = ("symbols", "columns")
_FILTERS = ("symbols", "start", "end", "columns", "as_of", "adjust", "repaired")


class TooManyRows(ReadError):
    """The answer would be longer than MOST_ROWS; the message has the remedy."""


class InTurn(APIRoute):
    """A route that reads tables: of an application's requests to such routes, READERS are answered at a time.

    Whoever has hung up before its turn is not answered: a chart that is scrolled gives up most of what it asks for.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, which waits for its turn."""
        answer_now = super().get_route_handler()

        async def answer_in_turn(request: Request) -> Response:
            async with request.app.state.turns:
                if await request.is_disconnected():
                    return Response(status_code=GONE)
                return await answer_now(request)

        return answer_in_turn


router = APIRouter(route_class=InTurn)


@router.get("/tables")
def list_tables() -> list[dict[str, Any]]:
    """Every table: what it holds, its key, and its columns with their types and meaning."""
    return [
        {
            "table": name,
            "holds": table.comment,
            "key": list(table.key),
            "time": table.time,
            "columns": {each.name: {"type": each.type, "meaning": each.comment} for each in table.columns},
        }
        for name, table in served().items()
    ]


def served() -> dict[str, Table]:
    """The declared tables that have rows; those of the platform's own books are read by SQL."""
    from financehub_dagster.storage.database import schema

    return {name: table for name, table in TABLES.items() if name in schema.metadata.tables}


@router.get("/tables/{table}")
def get_rows(table: str, request: Request) -> Response:
    """Rows of a table in the order of its key, for the parameters that `read` takes too."""
    kept: Kept = request.app.state.kept
    whole = kept.for_piece(request)
    if whole is not None:
        return asked_for(request, whole)
    parameters = parameters_of(request)
    form = parameters.pop("format", "json")
    if form not in MEDIA:
        raise unknown("format", form, MEDIA, "")
    notes: list[str] = []
    rows = answer(table, parameters, notes)
    headers = {NOTE: "; ".join(notes)} if notes else {}
    made = Response(encoded(rows, form), media_type=MEDIA[form], headers=headers)
    return asked_for(request, kept.keep(request, made))


def parameters_of(request: Request) -> dict[str, str]:
    """The parameters of a request; a list may be given several times, anything else once. Raises ReadError."""
    found: dict[str, str] = {}
    for name, text in request.query_params.multi_items():
        if name in found and name not in _LISTS:
            raise ReadError(f"parameter {name} is given more than once")
        found[name] = f"{found[name]},{text}" if name in found else text
    return found


def answer(table: str, filters: Mapping[str, str], notes: list[str], *, most: int | None = None) -> "pa.Table":
    """The rows of `table` for these filters, in the texts of a request; `notes` takes what is to be told beside them.

    most: how many they may be, MOST_ROWS without it. Raises ReadError, TooManyRows, and DatabaseError.
    """
    from financehub_dagster.serving.questions import ask
    from financehub_dagster.serving.read import answer as read_rows

    if table not in served():
        raise unknown("table", table, served(), "/tables lists all")
    for name in filters:
        if name not in _FILTERS:
            raise unknown("parameter", name, (*_FILTERS, "format"), "")
    chosen: dict[str, Any] = {name: text for name, text in filters.items() if name != "repaired"}
    question = ask(table, **chosen, repaired=_is_true("repaired", filters.get("repaired", "false")))
    _require_few(question)
    most = MOST_ROWS if most is None else most
    question = replace(question, selection=replace(question.selection, limit=most + 1))
    rows = read_rows(question, notes.append)
    if rows.num_rows > most:
        raise TooManyRows(
            f"more than {counted(most, 'row')}: narrow symbols, start or end, or `financehub export {table}`"
        )
    return rows


def _require_few(question: "TableQuery") -> None:
    """Raise ReadError for a question of which far more than the answer would have to be read."""
    from financehub_dagster.serving import repairing
    from financehub_dagster.storage.archive import reading

    symbols = question.selection.symbols
    if symbols is not None and len(symbols) <= MOST_WHOLE:
        return
    remedy = f"name up to {MOST_WHOLE} symbols, or `financehub export {question.table}`"
    if reading.concerned(question.selection):
        raise ReadError(f"{question.table} has archived months then: {remedy}")
    if repairing.concerned(question):
        raise ReadError(f"repaired as of a time reads whole histories: {remedy}")


def encoded(rows: "pa.Table", form: str) -> bytes:
    """`rows` as a file of one of MEDIA; as JSON an array of objects, with times in ISO 8601 and null for NULL."""
    if form == "json":
        return _as_json(rows)
    from financehub_dagster.serving import file_formats

    into = io.BytesIO()
    writer = file_formats.writer(form, into, rows.schema)
    writer.write(rows)
    writer.close()
    return into.getvalue()


def _as_json(rows: "pa.Table") -> bytes:
    """An array of objects, made of some rows at a time: as Python's objects all of them take five times their space."""
    into = io.BytesIO(b"[")
    into.seek(1)
    for part in rows.to_batches(max_chunksize=ROWS_AT_ONCE):
        text = json.dumps(part.to_pylist(), default=_as_text, allow_nan=False, ensure_ascii=False)[1:-1]
        into.write((", " if into.tell() > 1 and text else "").encode() + text.encode())
    into.write(b"]")
    return into.getvalue()


def _as_text(value: object) -> str:
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def _is_true(name: str, text: str) -> bool:
    if text not in ("true", "false"):
        raise ReadError(f"{name} {text}: write true or false")
    return text == "true"
