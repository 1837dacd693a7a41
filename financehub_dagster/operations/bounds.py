"""How late rows of a table may be, and how long a scheduled run of it may take.

Belongs here: the bounds. Does not belong here: measuring (freshness, runtimes).
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

type Follows = Literal["sessions", "open markets", "always"]
"""When new rows are due: after each session's close; all the time that a market is open; at any time of any day."""


@dataclass(frozen=True)
class Bound:
    """What a table promises. runtime: of a scheduled run's step; None where freshness alone counts.

    late: how long after they are due rows may be missing. follows: when they are due; None where nobody can say, as
    with news. kinds: the kinds of instruments it holds. time: its column with the time of a row.
    """

    table: str
    kinds: tuple[str, ...] = ()
    follows: Follows | None = None
    late: timedelta = timedelta()
    time: str = "date"
    runtime: timedelta | None = None


_LISTED = ("stock", "etf", "index")

BOUNDS: tuple[Bound, ...] = (
    Bound("stock_prices_daily", _LISTED, "sessions", timedelta(hours=6), runtime=timedelta(hours=1)),
    Bound("crypto_prices_daily", ("crypto",), "sessions", timedelta(hours=3), runtime=timedelta(hours=1)),
    Bound("indicators_daily", (*_LISTED, "crypto"), "sessions", timedelta(hours=8), runtime=timedelta(minutes=30)),
    # Vendors' free plans tell prices up to a quarter of an hour late.
    Bound("quotes", (*_LISTED, "fx"), "open markets", timedelta(minutes=40), "quoted_at", timedelta(minutes=5)),
    Bound("quotes", ("crypto",), "open markets", timedelta(minutes=10), "quoted_at"),
    Bound("crypto_markets", ("crypto",), "always", timedelta(hours=3), "quoted_at", timedelta(minutes=15)),
    Bound("fundamentals", ("stock",), "always", timedelta(days=3), "date", timedelta(hours=2)),
    Bound("news_articles", runtime=timedelta(minutes=25)),
)
