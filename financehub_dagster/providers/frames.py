"""The frames in providers' answers: their columns and types, whoever answered.

Belongs here: declaring columns and making frames of rows. Does not belong here: reading a vendor's document (`values`
and each vendor's file).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from financehub_dagster.market.bar_arrays import DAILY_VALUES
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.tables import TABLES
from financehub_dagster.tables.columns import ORIGIN

if TYPE_CHECKING:
    import pandas as pd

UTC_TIME = "datetime64[us, UTC]"

_TYPES = {"text": "str", "double precision": "float64", "timestamp with time zone": UTC_TIME}


def _columns(table: str) -> dict[str, str]:
    """What vendors tell of the columns of a table: all but the day of asking and the origin, which we add."""
    added = {"date", *(column.name for column in ORIGIN)}
    return {column.name: _TYPES[column.type] for column in TABLES[table].columns if column.name not in added}


COLUMNS: dict[str, dict[str, str]] = {
    "quotes": _columns("quotes"),
    "crypto_markets": _columns("crypto_markets"),
    "fundamentals": _columns("fundamentals"),
    "news": {**_columns("news_articles"), "symbols": "object"},
}
"""By capability the columns of rows and their types; the tables say what they mean, and in which units.

What may be unknown is NaN or missing where the vendor does not say. symbols: a sorted tuple of our symbols.
"""


def table(capability: str, rows: Iterable[Mapping[str, Any]]) -> "pd.DataFrame":
    """Rows as a frame of the columns and types of `capability`; what a row does not have is missing."""
    import pandas as pd

    listed = list(rows)
    frame = {}
    for name, dtype in COLUMNS[capability].items():
        values: list[Any] = [row.get(name) for row in listed]
        frame[name] = pd.Series(pd.DatetimeIndex(values, tz="UTC") if dtype == UTC_TIME else values, dtype=dtype)
    return pd.DataFrame(frame)


def merged(news: "pd.DataFrame") -> "pd.DataFrame":
    """Articles by address, newest first; one found for several instruments is about all of them."""
    import pandas as pd

    about: dict[str, set[str]] = {}
    for url, symbols in zip(news["url"], news["symbols"], strict=True):
        about.setdefault(url, set()).update(symbols)
    once = news.drop_duplicates("url")
    linked = [tuple(sorted(about[url])) for url in once["url"]]
    once = once.assign(symbols=pd.Series(linked, index=once.index, dtype="object"))
    return once.sort_values(["published_at", "url"], ascending=[False, True], ignore_index=True)


@dataclass(frozen=True, slots=True)
class Bar:
    """One day: prices in the instrument's currency, adjusted for the splits known at the time of asking."""

    date: date
    open: float
    high: float
    low: float
    close: float
    volume: float
    adj_close: float = float("nan")


@dataclass(frozen=True, slots=True)
class Action:
    """One dividend or split; value is money per share, or new shares per old one."""

    date: date
    kind: str
    value: float


def bars_table(bars: Iterable[Bar], of: Instrument, start: date, end: date, now: datetime) -> "pd.DataFrame":
    """Finished sessions of [start, end] in date order, each once, the last said wins; `now`: the vendor's clock.

    Of currencies, vendors cut the day at midnight UTC: a day is finished when that has passed, too.
    """
    import numpy as np
    import pandas as pd

    from financehub_dagster.market import calendars

    listed = [bar for bar in bars if start <= bar.date <= end]
    dates = np.array([bar.date for bar in listed], dtype="datetime64[D]")
    frame = pd.DataFrame({"date": pd.Series(dates.astype("datetime64[s]"))})
    for name in DAILY_VALUES:
        frame[name] = np.array([getattr(bar, name) for bar in listed], dtype="float64")
    finished = calendars.finished(of, dates, now)
    if of.asset_type is AssetType.FX:
        finished &= dates < np.datetime64(now.astimezone(UTC).date(), "D")
    frame = frame[finished] if listed else frame
    return frame.drop_duplicates("date", keep="last").sort_values("date", ignore_index=True)


def actions_table(actions: Iterable[Action], start: date, end: date) -> "pd.DataFrame":
    """Actions of [start, end] in date order."""
    import pandas as pd

    listed = sorted({(each.date, each.kind, each.value) for each in actions if start <= each.date <= end})
    return pd.DataFrame(
        {
            "date": pd.Series([each[0] for each in listed], dtype="datetime64[s]"),
            "kind": pd.Series([each[1] for each in listed], dtype="str"),
            "value": pd.Series([each[2] for each in listed], dtype="float64"),
        }
    )
