"""Right answers made wrong in their content: rows out of order or twice, numbers as text or as NaN, another's symbol.

Belongs here: what can be done to any vendor's JSON without knowing it. Does not belong here: faults of the wire.
"""

import json
import random
import re
from typing import Any, Literal
from urllib.parse import parse_qsl, quote, urlencode

from starlette.responses import Response
from starlette.types import Scope

Distortion = Literal["shuffled", "duplicated", "strings", "nan"]

_DECIMAL = re.compile(r"-?\d+\.\d+")
#: Keys of objects that are rows by date, as Alpha Vantage sends them.
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def distorted(response: Response, kind: Distortion) -> Response:
    """`response` with its JSON distorted; anything that is no JSON stays as it is."""
    if "json" not in response.headers.get("content-type", ""):
        return response
    content = json.dumps(_distort(json.loads(bytes(response.body)), kind), ensure_ascii=False, separators=(",", ":"))
    changed = Response(content, response.status_code)
    kept = {name: value for name, value in response.headers.items() if name != "content-length"}
    changed.headers.update(kept)
    return changed


def _distort(value: Any, kind: Distortion) -> Any:
    match value:
        case dict():
            members = [(name, _distort(each, kind)) for name, each in value.items()]
            by_date = all(_DATE.match(name) for name in value)
            return dict(_rows(members) if by_date and kind == "shuffled" else members)
        case list():
            # A list within a list is a row, whose members have their places.
            rows = [
                [_distort(part, kind) for part in each] if _is_row(each) else _distort(each, kind) for each in value
            ]
            return _rows(rows) if kind == "shuffled" else _doubled(rows) if kind == "duplicated" else rows
        case float() if kind == "nan":
            return float("nan")
        case str() if kind == "nan" and _DECIMAL.fullmatch(value):
            return "NaN"
        case int() | float() if kind == "strings" and not isinstance(value, bool):
            return json.dumps(value)
    return value


def _is_row(value: Any) -> bool:
    return isinstance(value, list) and not any(isinstance(each, list | dict) for each in value)


def _rows(rows: list[Any]) -> list[Any]:
    """Out of order, lists of one length alike, so that columns sent side by side stay aligned."""
    order = list(range(len(rows)))
    random.Random(len(rows)).shuffle(order)
    return [rows[place] for place in (order if order != sorted(order) else reversed(order))]


def _doubled(rows: list[Any]) -> list[Any]:
    """With the last and the first once more; a single one is no list of rows."""
    return [*rows, rows[-1], rows[0]] if len(rows) > 1 else rows


def asking_for(scope: Scope, swaps: dict[str, str]) -> Scope:
    """The request in `scope` with vendor symbols swapped, wherever the path or the query names them."""

    def swapped(text: str) -> str:
        if not swaps:
            return text
        names = "|".join(re.escape(name) for name in sorted(swaps, key=len, reverse=True))
        return re.sub(rf"(?<![\w.-])(?:{names})(?![\w.-])", lambda found: swaps[found.group()], text)

    query = urlencode([(name, swapped(text)) for name, text in parse_qsl(scope["query_string"].decode(), True)])
    *folders, last = scope["path"].split("/")
    path = "/".join([*(swapped(each) if each in swaps else each for each in folders), swapped(last)])
    return {**scope, "path": path, "raw_path": quote(path).encode(), "query_string": query.encode()}
