"""How the bars of one instrument follow each other: steps between closes that no single security makes.

Belongs here: what two neighbouring bars say about a series, over frames of many instruments. Does not belong here: what
one bar must satisfy (`bar_rules`), comparing two vendors (`agreement`), missing sessions (`calendars`). Imports numpy
and pandas: import it inside functions.

These are plain warnings: each names a step that a person should look at, and none changes a row.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

type Mask = NDArray[np.bool_]

UNITS = (100.0, 1000.0)
"""By how much the major and the minor unit of a currency differ: pounds and pence, rand and cents; dinars and fils."""
UNIT_ROOM = 1.25
"""How far from such a factor a step may be: what a price moves beside it, within a day or over a pause of some."""
LEAST_SPLIT = 1.3
"""Ratios nearer to 1 than this are not told from a day's move."""
SPLIT_ROOM = 0.3
"""How near to a split's ratio a step must be, as a share of the ratio's logarithm: 2:1 shows between 1.62 and 2.46."""
ANOTHER = 50.0
"""The factor from which on a step after a pause is taken for another security under the same symbol. LUNA, whose token
was replaced in May 2022, came back after eight days at 180,000 times the price; no halted listing has moved so far."""
PAUSE_DAYS = 5
"""Calendar days from which on a pause is longer than a weekend with holidays around it."""


def steps(bars: pd.DataFrame) -> pd.DataFrame:
    """Each bar that has one before it, in order: symbol, date, close, previous_date, previous_close and their factor.

    bars has symbol, date and close, in any order.
    """
    ordered = bars[["symbol", "date", "close"]].sort_values(["symbol", "date"], ignore_index=True)
    before = ordered.shift(1)
    found = ordered.assign(previous_date=before["date"], previous_close=before["close"])
    found = found[(ordered["symbol"] == before["symbol"]) & (before["close"] > 0) & (ordered["close"] > 0)]
    return found.assign(factor=found["close"] / found["previous_close"]).reset_index(drop=True)


def unit_steps(found: pd.DataFrame) -> Mask:
    """Steps by about the factor between two units of a currency."""
    size = np.abs(np.log(found["factor"].to_numpy(np.float64)))
    near = [np.abs(size - np.log(unit)) <= np.log(UNIT_ROOM) for unit in UNITS]
    return np.asarray(np.logical_or.reduce(near))


def other_security_steps(found: pd.DataFrame) -> Mask:
    """Steps after a pause that are too large for one security, and are not those between two units."""
    pause = (found["date"] - found["previous_date"]) >= pd.Timedelta(days=PAUSE_DAYS)
    size = np.abs(np.log(found["factor"].to_numpy(np.float64)))
    return np.asarray(pause.to_numpy(bool) & (size > np.log(ANOTHER)) & ~unit_steps(found))


def split_steps(found: pd.DataFrame, splits: pd.DataFrame) -> pd.DataFrame:
    """Steps by the ratio of a split, down or up, on its first session: the split was not applied, or twice.

    splits has symbol, date and value (new shares for an old one); the result has the steps with the `ratio`.
    """
    told = splits[splits["value"] > 0].rename(columns={"value": "ratio", "date": "split_date"})
    both = found.merge(told, on="symbol")
    both = both[(both["previous_date"] < both["split_date"]) & (both["split_date"] <= both["date"])]
    ratio, factor = (np.log(both[name].to_numpy(np.float64)) for name in ("ratio", "factor"))
    off = np.minimum(np.abs(factor + ratio), np.abs(factor - ratio))
    shown = (off <= SPLIT_ROOM * np.abs(ratio)) & (np.abs(ratio) >= np.log(LEAST_SPLIT))
    result: pd.DataFrame = both[shown].reset_index(drop=True)
    return result
