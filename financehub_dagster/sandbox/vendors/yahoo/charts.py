"""Yahoo's chart document: bars, corporate actions and refusals of /v8/finance/chart.

Belongs here: the shape of that one document. Does not belong here: the endpoints around it (yahoo). Shapes were read
off recorded answers; numbers are float32 written out as doubles, which is how the vendor sends them.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.sandbox.market.history import History
from financehub_dagster.sandbox.market.market import Market
from financehub_dagster.sandbox.market.recordings import Floats
from financehub_dagster.sandbox.vendors.vendor import Quirk, Refused, json_response
from financehub_dagster.sandbox.vendors.yahoo.meta import VALID_RANGES, chart_meta, day_labels, shortest

_DAY = 86_400
_INTRADAY = {"1m": 60, "2m": 120, "5m": 300, "15m": 900, "30m": 1800, "60m": 3600, "90m": 5400, "1h": 3600}
#: Some minutes of the hours before and after the market, as offsets from open (negative) and close.
_EXTENDED = (-30, -15, -5, 0, 5, 30)
_NOT_SIMULATED = ("4h", "5d", "1wk", "1mo", "3mo")
_VALID_INTERVALS = "[1m, 2m, 5m, 15m, 30m, 60m, 90m, 1h, 4h, 1d, 5d, 1wk, 1mo, 3mo]"
#: Days per request and days back from now that Yahoo serves of each intraday interval.
_MINUTE_REACH = (8, 30)
_HOUR_REACH = (730, 730)
_OTHER_REACH = (60, 60)


def chart_error(code: str, description: str) -> dict[str, Any]:
    """The error document of the chart endpoint."""
    return {"chart": {"result": None, "error": {"code": code, "description": description}}}


def _refused(status: int, code: str, description: str) -> Refused:
    """A refusal in Yahoo's words."""
    return Refused(json_response(chart_error(code, description), status))


def chart_document(
    market: Market, instrument: Instrument, query: dict[str, str], quirk: Quirk | None = None
) -> tuple[dict[str, Any], str]:
    """The chart of one instrument and the origin of its bars; raises Refused.

    query holds Yahoo's own parameters: period1 and period2 (epoch seconds, both included) or range, interval, events.
    """
    interval = query.get("interval", "1d")
    if interval in _NOT_SIMULATED:
        raise _refused(501, "Not Implemented", f"the sandbox has no {interval} bars; ask for 1d")
    if interval != "1d" and interval not in _INTRADAY:
        description = f"Invalid input - interval={interval} is not supported. Valid intervals: {_VALID_INTERVALS}"
        raise _refused(400, "Bad Request", description)
    history = market.daily(instrument, "yahoo")
    start, end = _window(query, history, market.now())
    meta = chart_meta(instrument, history, market.sessions(instrument), market.now())
    meta |= {"dataGranularity": interval, "range": query.get("range", "")}
    if interval == "1d":
        result, origin = _daily(instrument, history, start, end, query.get("events", ""), market.now(), meta)
    else:
        extended = query.get("includePrePost", "false").lower() == "true" or quirk == "extended_hours"
        beside = _EXTENDED if extended else (0,) if quirk == "closing_bar" else ()
        result, origin = _intraday(market, instrument, interval, start, end, meta, beside)
        if quirk == "null_rows" and "timestamp" in result:
            quotes = result["indicators"]["quote"][0]
            result["indicators"]["quote"] = [{name: _with_nulls(column) for name, column in quotes.items()}]
    return {"chart": {"result": [result], "error": None}}, origin


def _window(query: dict[str, str], history: History, now: float) -> tuple[int, int]:
    """First and last epoch second asked for."""
    if "period1" not in query and "period2" not in query:
        return _range_start(query.get("range", "1d"), history, now), int(now)
    try:
        start, end = int(query.get("period1", 0)), int(query.get("period2", now))
    except ValueError:
        raise _refused(400, "Bad Request", "Invalid input - period1 and period2 are epoch seconds") from None
    if start > end:
        bounds = f"startDate = {start}, endDate = {end}"
        raise _refused(400, "Bad Request", f"Invalid input - start date cannot be after end date. {bounds}")
    if not len(history) or end < history.opens[0]:
        raise _refused(400, "Bad Request", f"Data doesn't exist for startDate = {start}, endDate = {end}")
    return start, end


def _range_start(asked: str, history: History, now: float) -> int:
    """The session day on which a range such as 5d, 3mo or ytd begins; d counts sessions, the rest the calendar."""
    if asked not in VALID_RANGES:
        description = f"Invalid input - range={asked} is not supported. Valid ranges: [{', '.join(VALID_RANGES)}]"
        raise _refused(422, "Unprocessable Entity", description)
    if asked == "max":
        return 0
    if asked in ("1d", "5d"):
        sessions = int(asked[0])
        return int(history.opens[-sessions]) if len(history) >= sessions else 0
    today = datetime.fromtimestamp(now, UTC)
    if asked == "ytd":
        return int(datetime(today.year, 1, 1, tzinfo=UTC).timestamp())
    days = int(asked[:-2]) * 30.44 if asked.endswith("mo") else int(asked[:-1]) * 365.25
    return int((today - timedelta(days=days)).timestamp())


def _daily(
    instrument: Instrument, history: History, start: int, end: int, events: str, now: float, meta: dict[str, Any]
) -> tuple[dict[str, Any], str]:
    labels = day_labels(instrument, history)
    chosen = (labels >= start) & (labels <= min(end, now))
    if not chosen.any():
        return {"meta": meta, "indicators": {"quote": [{}]}}, "none"
    first = int(np.argmax(chosen))
    meta["chartPreviousClose"] = shortest(history.close[max(first - 1, 0)])
    bars = history[chosen]
    stamps = labels[chosen].copy()
    if bars.closes[-1] > now and instrument.asset_type is not AssetType.FX:
        # The running session is labelled by the time of its last trade, not by its open.
        stamps[-1] = int(now) if instrument.asset_type is not AssetType.CRYPTO else int(now) // 60 * 60
    adjusted = history.dividend_adjusted()[chosen]
    result: dict[str, Any] = {"meta": meta, "timestamp": stamps}
    if found := _events(bars, events):
        result["events"] = found
    volume = bars.volume * bars.close if instrument.asset_type is AssetType.CRYPTO else bars.volume
    quote = _quote(bars.open, bars.high, bars.low, bars.close, volume)
    result["indicators"] = {"quote": [quote], "adjclose": [{"adjclose": _float32(adjusted)}]}
    return result, bars.origin


def _with_nulls(column: Any) -> list[Any]:
    """Every seventh row without a value, as Yahoo writes minutes in which it saw no trade."""
    return [None if row % 7 == 3 else value for row, value in enumerate(list(column))]


def _events(bars: History, asked: str) -> dict[str, dict[str, dict[str, object]]]:
    """Dividends and splits on these bars, of the kinds asked for, keyed by the session's open."""
    kinds = set(asked.replace("|", ",").split(","))
    found: dict[str, dict[str, dict[str, object]]] = {}
    if kinds & {"div", "dividends"}:
        found["dividends"] = {
            str(bars.opens[row]): {"amount": shortest(bars.dividend[row]), "date": int(bars.opens[row])}
            for row in np.flatnonzero(bars.dividend)
        }
    if kinds & {"split", "splits"}:
        found["splits"] = {
            str(bars.opens[row]): {"date": int(bars.opens[row]), **_ratio(float(bars.split[row]))}
            for row in np.flatnonzero(bars.split != 1)
        }
    return {kind: events for kind, events in found.items() if events}


def _ratio(split: float) -> dict[str, object]:
    numerator, denominator = split.as_integer_ratio() if split >= 1 else (1 / split).as_integer_ratio()[::-1]
    return {"numerator": numerator, "denominator": denominator, "splitRatio": f"{numerator}:{denominator}"}


def _intraday(
    market: Market,
    instrument: Instrument,
    interval: str,
    start: int,
    end: int,
    meta: dict[str, Any],
    beside: Sequence[int],
) -> tuple[dict[str, Any], str]:
    """beside: minutes before the open and after the close at which there are bars too."""
    _check_reach(interval, start, end, market.now())
    sessions = market.sessions(instrument)
    touched = (sessions.closes > start) & (sessions.opens <= end)
    meta["tradingPeriods"] = [
        [{"timezone": meta["timezone"], "start": int(opens), "end": int(closes), "gmtoffset": meta["gmtoffset"]}]
        for opens, closes in zip(sessions.opens[touched], sessions.closes[touched], strict=True)
    ]
    bars = market.intraday(instrument, _INTRADAY[interval], start, end, vendor="yahoo")
    if beside:
        bars = bars.with_more(market.beside(instrument, start, end, beside, float(beside != (0,))))
    if not len(bars):
        return {"meta": meta, "indicators": {"quote": [{}]}}, "none"
    stamps = bars.open_time.copy()
    if stamps[-1] + _INTRADAY[interval] > market.now():
        # The running bar is labelled by the time of its last trade, not by its open.
        stamps[-1] = int(market.now())
    quote = _quote(bars.open, bars.high, bars.low, bars.close, bars.volume)
    return {"meta": meta, "timestamp": stamps, "indicators": {"quote": [quote]}}, bars.origin


def _check_reach(interval: str, start: int, end: int, now: float) -> None:
    """Refuse what Yahoo does not keep: too many days in one request, or too long ago."""
    if interval == "1m":
        per_request, back = _MINUTE_REACH
    else:
        per_request, back = _HOUR_REACH if interval in ("60m", "1h") else _OTHER_REACH
    prefix = f"{interval} data not available for startTime={start} and endTime={end}."
    if end - start > per_request * _DAY and interval == "1m":
        limit = f"Only {per_request} days worth of 1m granularity data are allowed to be fetched per request."
        raise _refused(422, "Unprocessable Entity", f"{prefix} {limit}")
    if start < now - back * _DAY - _DAY:
        limit = f"The requested range must be within the last {back} days."
        raise _refused(422, "Unprocessable Entity", f"{prefix} {limit}")


def _quote(open_: Floats, high: Floats, low: Floats, close: Floats, volume: Floats) -> dict[str, object]:
    return {
        "open": _float32(open_),
        "high": _float32(high),
        "low": _float32(low),
        "close": _float32(close),
        "volume": volume.astype(np.int64)
        if np.isfinite(volume).all()
        else [int(number) if np.isfinite(number) else None for number in volume],
    }


def _float32(values: NDArray[np.float64]) -> Floats:
    """Rounded to float32 and widened again, as in every recorded answer."""
    return values.astype(np.float32).astype(np.float64)
