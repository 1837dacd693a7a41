"""TradingView's UDF protocol over the stored bars: its charts work with the address of this server and `/udf`.

Belongs here: the protocol's answers. Does not belong here: reading rows (`rows`), sessions (`market.calendars`).

The protocol: https://www.tradingview.com/charting-library-docs/latest/connecting_data/UDF. Times are seconds since
1970; a daily bar has the midnight in UTC of its session's date, a bar within the day the time it opens at. Prices are
as stored, adjusted for splits. Charts make weeks and months of days themselves.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse

from financehub_dagster.market.exchanges import exchanges
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.serving import rows
from financehub_dagster.serving.errors import ReadError, unknown
from financehub_dagster.storage.database.errors import DatabaseError
from financehub_dagster.tables import ACTIONS, BARS_OF, TABLES

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

PRICES = ("open", "high", "low", "close")
DAY = "1D"
WITHIN_DAY = {
    str(table.bar_minutes): name
    for name, table in TABLES.items()
    if table.bar_minutes and set(PRICES) <= {column.name for column in table.columns}
}
"""The table of each resolution below a day, which is a number of minutes."""
RESOLUTIONS = [*sorted(WITHIN_DAY, key=int), DAY, "1W", "1M"]
MOST_FOUND = 30
"""Instruments that a search finds, unless it is asked for another number."""
WIDENED = 8
"""How often a stretch of time that has too few bars is taken four times as long; a week becomes 1,255 years."""
MARKS = {"dividend": ("D", "blue"), "capital_gain": ("D", "blue"), "split": ("S", "red")}
"""The label and the colour of a corporate action on the time scale."""
_RECENT = timedelta(days=60)
_EARLIEST = datetime(1800, 1, 1, tzinfo=UTC)


class ToldInside(rows.InTurn):
    """A route whose errors are told as the protocol has it: in an answer of status 200."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, and what it answers in place of an error."""
        answer = super().get_route_handler()

        async def told(request: Request) -> Response:
            try:
                return await answer(request)
            except (ReadError, DatabaseError) as error:
                return _error(str(error))
            except RequestValidationError as error:
                [*_, name] = error.errors()[0]["loc"]
                return _error(f"parameter {name}: {error.errors()[0]['msg']}")

        return told


def _error(text: str) -> JSONResponse:
    return JSONResponse({"s": "error", "errmsg": text})


router = APIRouter(prefix="/udf", route_class=ToldInside)


@router.get("/config")
def config() -> dict[str, Any]:
    """What charts may ask for."""
    markets = [{"value": each.mic, "name": each.mic, "desc": each.name} for each in exchanges().values()]
    kinds = [{"name": kind.value, "value": kind.value} for kind in AssetType]
    return {
        "supported_resolutions": RESOLUTIONS,
        "supports_search": True,
        "supports_group_request": False,
        "supports_marks": False,
        "supports_timescale_marks": True,
        "supports_time": True,
        "exchanges": [{"value": "", "name": "All", "desc": "All exchanges"}, *markets],
        "symbols_types": [{"name": "All", "value": ""}, *kinds],
    }


@router.get("/time")
def server_time() -> PlainTextResponse:
    """The server's time."""
    return PlainTextResponse(str(int(time.time())))


@router.get("/search")
def search(query: str = "", type: str = "", exchange: str = "", limit: int = MOST_FOUND) -> list[dict[str, str]]:  # noqa: A002 - the protocol's name
    """Instruments whose symbol begins with `query`, or whose name has it."""
    from financehub_dagster.storage.database.engine import transaction
    from financehub_dagster.storage.queries.instruments import search_instruments

    with transaction() as connection:
        found = search_instruments(connection, query, type, exchange, max(0, min(limit, MOST_FOUND)))
    return [
        {
            "symbol": each.symbol,
            "ticker": each.symbol,
            "full_name": f"{each.exchange}:{each.symbol}",
            "description": each.name,
            "exchange": each.exchange,
            "type": each.asset_type.value,
        }
        for each in found
    ]


@router.get("/symbols")
def symbols(symbol: str) -> dict[str, Any]:
    """What an instrument is, and when it trades."""
    found, now = _instrument(symbol), datetime.now(UTC)
    last = _last_bars(_daily(found), found.symbol, now, now, 1)
    within = [minutes for minutes, name in WITHIN_DAY.items() if found.asset_type in TABLES[name].instruments]
    return {
        "name": found.symbol,
        "ticker": found.symbol,
        "description": found.name,
        "type": found.asset_type.value,
        "exchange": found.exchange,
        "listed_exchange": found.exchange,
        "currency_code": found.currency,
        "timezone": "Etc/UTC" if found.timezone == "UTC" else found.timezone,
        "session": _session(found),
        "format": "price",
        "minmov": 1,
        "pricescale": 10 ** _decimals(found, last["close"][-1].as_py() if last.num_rows else 1.0),
        "has_intraday": bool(within),
        "intraday_multipliers": sorted(within, key=int),
        "has_daily": True,
        "supported_resolutions": RESOLUTIONS if within else RESOLUTIONS[len(WITHIN_DAY) :],
        "volume_precision": 4 if found.asset_type is AssetType.CRYPTO else 0,
        "data_status": "endofday",
        "expired": found.delisted_on is not None,
    }


@router.get("/history")
def history(symbol: str, resolution: str, to: int, start: int = Query(0, alias="from"), countback: int = 0) -> Any:
    """Bars from `from` to before `to`; with countback so many before `to`, whatever `from` is."""
    found = _instrument(symbol)
    table = _daily(found) if resolution in (DAY, "D") else WITHIN_DAY.get(resolution)
    if table is None:
        raise unknown("resolution", resolution, [*WITHIN_DAY, DAY], "")
    before = _instant(to)
    first = min(_instant(start), before)
    bars = _last_bars(table, found.symbol, first, before, max(0, countback))
    if not bars.num_rows:
        earlier = _last_bars(table, found.symbol, first, first, 1)
        return {"s": "no_data", **({"nextTime": _seconds(earlier)[-1]} if earlier.num_rows else {})}
    volumes = {} if bars["volume"].null_count == bars.num_rows else {"v": bars["volume"].to_pylist()}
    prices = {name[0]: bars[name].to_pylist() for name in PRICES}
    return {"s": "ok", "t": _seconds(bars), **prices, **volumes}


@router.get("/timescale_marks")
def timescale_marks(symbol: str, to: int, start: int = Query(0, alias="from")) -> list[dict[str, Any]]:
    """Dividends and splits, for the time scale."""
    found = _instrument(symbol)
    texts = {"symbols": found.symbol, "start": f"{_instant(start):%Y-%m-%d}", "end": f"{_instant(to):%Y-%m-%d}"}
    actions = rows.answer(ACTIONS, texts, [])
    return [
        {
            "id": f"{action['date']}-{action['kind']}",
            "label": MARKS[action["kind"]][0],
            "color": MARKS[action["kind"]][1],
            "time": at,
            "tooltip": [f"{action['kind'].replace('_', ' ')} {action['value']:g}"],
        }
        for action, at in zip(actions.to_pylist(), _seconds(actions), strict=True)
    ]


def _instrument(symbol: str) -> Instrument:
    """The instrument of a symbol, which may have its exchange before it; raises ReadError."""
    from financehub_dagster.serving.explain import find_instrument
    from financehub_dagster.storage.database.engine import transaction

    with transaction() as connection:
        return find_instrument(connection, symbol.rpartition(":")[2])


def _daily(of: Instrument) -> str:
    """The table of daily bars of an instrument's kind."""
    return next(name for name, kinds in BARS_OF.items() if of.asset_type in kinds)


def _last_bars(table: str, symbol: str, first: datetime, before: datetime, count: int) -> "pa.Table":
    """The bars from `first` to before `before`, and earlier ones until there are `count`."""
    length = max(before - first, timedelta(days=7))
    found = _bars(table, symbol, first, before)
    for _ in range(WIDENED):
        if found.num_rows >= count or first <= _EARLIEST:
            break
        length *= 4
        first = max(before - length, _EARLIEST) if length < before - _EARLIEST else _EARLIEST
        found = _bars(table, symbol, first, before)
    return found.slice(max(0, found.num_rows - count)) if count else found


def _bars(table: str, symbol: str, first: datetime, before: datetime) -> "pa.Table":
    last = before - timedelta(microseconds=1)
    texts = {"symbols": symbol, "start": first.isoformat(), "end": max(first, last).isoformat()}
    found = rows.answer(table, {**texts, "columns": ",".join((*PRICES, "volume"))}, [])
    return found if first < before else found.slice(0, 0)


def _seconds(found: "pa.Table") -> list[int]:
    """The times of rows, in seconds since 1970."""
    name = "ts" if "ts" in found.column_names else "date"
    seconds: list[int] = found[name].to_numpy().astype("datetime64[s]").astype(int).tolist()
    return seconds


def _instant(seconds: int) -> datetime:
    """A time of a request; those that no calendar has are the first or the last that we know."""
    latest = datetime.now(UTC) + timedelta(days=366)
    try:
        return min(max(datetime.fromtimestamp(seconds, UTC), _EARLIEST), latest)
    except (OverflowError, ValueError, OSError):
        return _EARLIEST if seconds < 0 else latest


def _session(of: Instrument) -> str:
    """The regular hours in the instrument's time zone, those of most sessions of late, without the lunch break."""
    if of.asset_type is AssetType.CRYPTO:
        return "24x7"
    if of.asset_type is AssetType.FX:
        return "24x5"
    from financehub_dagster.market import calendars

    today, zone = datetime.now(UTC).date(), ZoneInfo(exchanges()[of.exchange].timezone)
    recent = calendars.schedule(of.exchange, today - _RECENT, today, assume=True)
    bounds = zip(recent.opens, recent.break_starts, recent.break_ends, recent.closes, strict=True)
    hours = Counter(tuple(_clock(at, zone) for at in each) for each in bounds)
    [((opens, pause, goes_on, closes), _)] = hours.most_common(1)
    return f"{opens}-{closes}" if pause is None else f"{opens}-{pause},{goes_on}-{closes}"


def _clock(at: "np.datetime64", zone: ZoneInfo) -> str | None:
    moment = at.item()
    return f"{moment.replace(tzinfo=UTC).astimezone(zone):%H%M}" if isinstance(moment, datetime) else None


def _decimals(of: Instrument, price: float) -> int:
    """Decimals to show: cents of stocks, mills below 1; five digits of cryptos and currencies, 2 to 8 decimals."""
    if of.asset_type in (AssetType.CRYPTO, AssetType.FX):
        return min(8, max(2, 4 - math.floor(math.log10(price))))
    return 2 if price >= 1 else 4
