"""How two vendors' bars of one instrument differ, and which of three vendors is off.

Belongs here: comparing values, with tolerances. Does not belong here: whether two series are of one security before any
of them is stored (`agreement`), asking vendors (ingest.reconciliation). Imports numpy and pandas: import it inside
functions.
"""

from dataclasses import dataclass
from datetime import date
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from financehub_dagster.market.instruments import AssetType

type Floats = NDArray[np.float64]
type Kind = Literal["value", "basis", "unit"]

TOLERANCES = {"open": 0.01, "high": 0.01, "low": 0.01, "close": 0.005, "volume": 1.0}
"""How far two vendors' values of one session may differ, as a log ratio. Vendors take open, high and low from one
exchange or from all, close from the auction or the last trade, and count volumes by half or double."""
OWN_VOLUMES = frozenset({AssetType.CRYPTO, AssetType.FX})
"""Kinds of instruments of which vendors count the trades of different markets, in units or in money: those of one
exchange, as Binance, or of all, as Yahoo."""
SAME_BASIS = 0.02
"""Log ratio from which on all closes together are on another basis: more than any vendor's rounding."""
STEADY = 0.005
"""How far the ratios of such closes may lie from their median, on average."""
UNITS, UNIT_ROOM = (100.0, 1000.0), 0.05
"""Units of one currency, and how near to their ratio, as a logarithm, the ratio of the closes must be."""
FEWEST = 5
"""Common sessions from which on a basis can be told."""


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """A value of a session that two vendors have differently; of another basis or unit, the newest close alone."""

    date: date
    column: str
    kind: Kind
    stored: float
    told: float


def compare(
    stored: pd.DataFrame, told: pd.DataFrame, *, volumes: bool = True
) -> tuple[list[Discrepancy], dict[str, int]]:
    """What differs beyond tolerance, and how many values were compared, by column.

    Both have date and the columns of TOLERANCES; sessions that only one of them has are left out.
    """
    both, ratios = aligned(stored, told, volumes=volumes)
    compared = {name: int(np.isfinite(ratio).sum()) for name, ratio in ratios.items()}
    kind = basis(ratios["close"])
    if kind is not None:
        last = both.iloc[-1]
        found = Discrepancy(last["date"].date(), "close", kind, float(last["close"]), float(last["close_told"]))
        return [found], compared
    found_all = []
    for name, tolerance in TOLERANCES.items():
        for row in np.flatnonzero(np.isfinite(ratios[name]) & (np.abs(ratios[name]) > tolerance)):
            own = both.iloc[row]
            values = float(own[name]), float(own[f"{name}_told"])
            found_all.append(Discrepancy(own["date"].date(), name, "value", *values))
    return found_all, compared


def aligned(
    stored: pd.DataFrame, told: pd.DataFrame, *, volumes: bool = True
) -> tuple[pd.DataFrame, dict[str, Floats]]:
    """The sessions that both have, in order, with what is told as `…_told`; and the log ratios of each column.

    volumes: are they counted alike? Otherwise their ratios are NaN.
    """
    names = list(TOLERANCES)
    both = stored.merge(told[["date", *names]], on="date", suffixes=("", "_told")).sort_values("date")
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = {name: np.log((both[f"{name}_told"] / both[name]).to_numpy(np.float64)) for name in names}
    return both, ratios if volumes else {**ratios, "volume": np.full(len(both), np.nan)}


def basis(ratios: Floats) -> Kind | None:
    """The kind of the one factor, if there is one, by which all closes differ."""
    known = ratios[np.isfinite(ratios)]
    if len(known) < FEWEST:
        return None
    middle = float(np.median(known))
    if abs(middle) <= SAME_BASIS or float(np.median(np.abs(known - middle))) > STEADY:
        return None
    return "unit" if near_unit(np.array([middle]))[0] else "basis"


def near_unit(ratios: Floats) -> NDArray[np.bool_]:
    """Which log ratios are about that of two units."""
    return np.asarray(np.logical_or.reduce([np.abs(np.abs(ratios) - np.log(unit)) <= UNIT_ROOM for unit in UNITS]))


def odd_one_out(column: str, stored: float, second: float, third: float) -> int | None:
    """Which of three values differs from two that agree: 0, 1 or 2; None where no two agree, or all do."""
    values = np.log(np.maximum([stored, second, third], 1e-300))
    alike = [abs(values[one] - values[other]) <= TOLERANCES[column] for one, other in ((1, 2), (0, 2), (0, 1))]
    return alike.index(True) if sum(alike) == 1 else None


def rotation(symbols: list[str], day: date, size: int) -> list[str]:
    """The `size` symbols whose turn it is: each comes once before any comes again, as long as the list is the same."""
    ordered = sorted(symbols)
    if size >= len(ordered):
        return ordered
    first = day.toordinal() * size % len(ordered)
    return (ordered + ordered)[first : first + size]
