"""Bars and articles out of a vendor's answer, each judged alone.

Belongs here: reading one item after another so that a bad one harms no other, and telling an answer to another
question. Does not belong here: which field holds what, and the rules by which a row with an
unreadable number or time is rejected (market.quality).
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from itertools import pairwise
from typing import Any

from financehub_dagster.gateway.errors import BadRequest
from financehub_dagster.market.currencies import scaled
from financehub_dagster.market.instruments import Instrument
from financehub_dagster.providers.frames import Bar
from financehub_dagster.providers.reading import UNREADABLE
from financehub_dagster.providers.values import OtherQuestion, maybe, number, price, text

WEEK = 5
"""Days between any two bars that are not of days but of weeks or months; sessions lie closer, sometimes at least."""
FEW = 3
"""So few bars tell nothing of what lies between them: a share may be halted."""


def known(value: Any) -> float:
    """The double nearest to a number or a decimal in a string; NaN for anything else."""
    try:
        return number(value)
    except UNREADABLE:
        return math.nan


def last_price(vendor: str, of: Instrument, value: Any, power: int = 0) -> float:
    """A price times 10 to the `power`; raises BadRequest where there is none, which vendors write as zero or null."""
    found = maybe(value, power)
    if not found or math.isnan(found):
        raise BadRequest(vendor, "has no last price there: it may be paused or delisted", symbol=of.symbol)
    return price(found)


def read_or_none[T](read: Callable[[Any], T], value: Any) -> T | None:
    """What `read` makes of a value; None where it cannot."""
    try:
        return read(value)
    except UNREADABLE:
        return None


def read_text(value: Any) -> str | None:
    """A text that an item may lack, so that one that cannot be read costs nothing else; None where there is none."""
    return read_or_none(text, value)


def read_articles(
    listed: Any, read: Callable[[Any], Mapping[str, Any] | None], since: datetime
) -> list[Mapping[str, Any]]:
    """The articles of a list since `since`; those `read` makes None of are left out, and those it cannot read.

    One without a readable time stays, to be rejected and written down. Raises ValueError for anything but a list.
    """
    if not isinstance(listed, list):
        raise ValueError("the answer is not a list of articles")
    found = []
    for each in listed:
        try:
            article = read(each)
        except UNREADABLE:
            continue
        if article is not None and (article["published_at"] is None or article["published_at"] >= since):
            found.append(article)
    return found


def read_bars[R](rows: Iterable[R], read: Callable[[R], Bar], power: int = 0) -> list[Bar]:
    """A bar of each row, its prices multiplied by 10 to the `power`; rows without a date are left out.

    Raises ValueError where there are rows and not one is a usable bar, or bars that are not of days.
    """
    bars, problem = [], None
    for row in rows:
        try:
            bar = read(row)
        except UNREADABLE as error:
            problem = f"a bar cannot be read: {error}"
        else:
            bars.append(_scaled(bar, power) if power else bar)
    usable = [bar for bar in bars if not any(map(math.isnan, (bar.open, bar.high, bar.low, bar.close)))]
    if bars and not usable:
        problem = f"the prices of {bars[0].date} cannot be read"
    if problem is not None and not usable:
        raise ValueError(problem)
    require_days([bar.date for bar in bars])
    return bars


def require_days(dates: Sequence[date]) -> None:
    """Raise OtherQuestion where bars lie too far apart to be of days."""
    days = sorted(set(dates))
    if len(days) > FEW:
        closest = min((later - earlier).days for earlier, later in pairwise(days))
        if closest >= WEEK:
            raise OtherQuestion(f"asked for daily bars, got bars at least {closest} days apart")


def require_any_inside(bars: Sequence[Bar], first: date, last: date) -> None:
    """Raise OtherQuestion where a vendor that was told the range sent bars, and none of them is in it."""
    if bars and not any(first <= bar.date <= last for bar in bars):
        raise OtherQuestion(f"asked for {first} to {last}, got bars of {bars[0].date}")


def _scaled(bar: Bar, power: int) -> Bar:
    opened, high, low, close, adjusted = (
        scaled(price, power) for price in (bar.open, bar.high, bar.low, bar.close, bar.adj_close)
    )
    return Bar(bar.date, opened, high, low, close, bar.volume, adjusted)
