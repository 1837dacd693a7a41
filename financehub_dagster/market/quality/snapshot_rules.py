"""What a quote, a market or a row of fundamentals must satisfy to enter its table.

Belongs here: rules that a row keeps or breaks by its own numbers. Does not belong here: bars and the judging itself
(`bar_rules`), types of columns (`schemas`). Imports numpy, so it is itself imported only where rows are judged.
"""

import re
from datetime import UTC, datetime

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from financehub_dagster.market.quality import bar_rules
from financehub_dagster.market.quality.bar_rules import Column, Rule

CLOCK_SECONDS = 300.0
"""How far a vendor's clock may be ahead of ours. One row from the future would make all that follow it look old."""
EARLIEST = datetime(1990, 1, 1, tzinfo=UTC).timestamp()
"""No quote is older. A time of zero, and milliseconds of which some took seconds, are in 1970."""


_ADDRESS = re.compile(r"https?://[^\s]+$")
"""Matched text by text: a column of texts cannot hold half of a surrogate pair, which vendors send."""


def _price_above_zero(of: Column) -> NDArray[np.bool_]:
    return np.asarray((of("price") > 0) & np.isfinite(of("price")))


def _low_to_high(low: str, high: str) -> Rule:
    return Rule("ordered", f"{low} is not above {high}", lambda of: ~(of(low) > of(high)))


_POSITIVE = Rule("positive", "price is a number above zero", _price_above_zero)
_NOT_AHEAD = Rule(
    "not_ahead",
    f"it was not made more than {CLOCK_SECONDS:.0f} s after we were told",
    lambda of: of("seconds_ahead") <= CLOCK_SECONDS,
)

_DATED = Rule("dated", "it was made in 1990 or later", lambda of: of("made") >= EARLIEST)

RULES: dict[str, tuple[Rule, ...]] = {
    "quote": (_POSITIVE, _low_to_high("low", "high"), _NOT_AHEAD, _DATED),
    "market": (_POSITIVE, _NOT_AHEAD, _DATED),
    "company": (_low_to_high("low_52w", "high_52w"),),
}
"""By the name under which tables declare them, in the order they are tried; the first rule broken is named."""


def judge(rules: str, rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Split rows into those that keep every one of the named `rules` and the others, which get a column `rule`."""
    if "quoted_at" not in rows:
        return bar_rules.judge(rows, RULES[rules])
    made = (pd.to_datetime(rows["quoted_at"], utc=True) - pd.Timestamp(0, tz=UTC)).dt.total_seconds()
    times = {"made": made, "seconds_ahead": _seconds_ahead(rows, "quoted_at")}
    good, rejected = bar_rules.judge(rows.assign(**times), RULES[rules])
    return good.drop(columns=[*times]), rejected.drop(columns=[*times])


def judge_news(articles: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Split articles into those at the address of a page and of a known past, and the others with a column `rule`."""
    broken = np.where(_seconds_ahead(articles, "published_at") > CLOCK_SECONDS, "not_ahead", "").astype(object)
    addressed = [isinstance(url, str) and _ADDRESS.match(url) is not None for url in articles["url"]]
    broken[~np.array(addressed, np.bool_)] = "address"
    broken[articles["published_at"].isna().to_numpy()] = "dated"
    good = broken == ""
    return articles[good], articles[~good].assign(rule=broken[~good])


def _seconds_ahead(rows: pd.DataFrame, column: str) -> "pd.Series[float]":
    """How long after we were told a row says it was made."""
    made, told = (pd.to_datetime(rows[name], utc=True) for name in (column, "fetched_at"))
    return (made - told).dt.total_seconds()
