"""Of which kind the errors of vendors' bars are: the kinds, declared once, and how a bar comes by one.

Belongs here: the kinds, and telling them from quality rules and from the comparison of two vendors' bars. Does not
belong here: the rules (`bar_rules`, `doubts`), tolerances (`reconciliation`), asking vendors (ingest.reconciliation).
Imports numpy and pandas: import it inside functions.

A rule about one vendor's bars decides by itself; one that presumes an error among a price's neighbours does so where
another vendor has another price. A difference of two vendors is decided where a third agrees with one of them;
otherwise it counts as undecided for both.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from financehub_dagster.market.adjustments import CASH
from financehub_dagster.market.bar_arrays import DAILY_VALUES
from financehub_dagster.market.quality import agreement, doubts, reconciliation
from financehub_dagster.market.quality.reconciliation import FEWEST, SAME_BASIS, TOLERANCES

type Days = NDArray[np.datetime64]
type Floats = NDArray[np.float64]
type Texts = NDArray[np.object_]

OF_SPLIT = 0.02
"""How near to a split's the ratio of two closes must be, as a logarithm."""
MOST, NEARLY_ALL = 0.5, 0.9
"""The share of closes that differ where a series is another one, and of those that agree once it is moved by a day."""
SAME_PAYMENT, NEAR_DAY = 0.01, np.timedelta64(15, "D")
"""How far amounts of one payment may differ, as a share, and its days."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of error; rules: the quality rules and flags that tell it from one vendor's bars alone."""

    name: str
    description: str
    rules: tuple[str, ...] = ()


KINDS: tuple[Kind, ...] = (
    Kind("missing", "no bar at a session for which another vendor has one"),
    Kind("no_session", "a bar on a day without a session of the exchange"),
    Kind("unreadable", "a price or volume that is missing, a text or infinite", ("finite", "adj_close_finite")),
    Kind(
        "negative",
        "a price that is not above zero, or a volume below zero",
        ("positive", "not_negative", "volume_not_negative"),
    ),
    Kind("disordered", "low above high, or open or close outside of low to high", ("ordered", "outside_range")),
    Kind("unit", "a price in another unit, 100 or 1,000 times off, such as pence for pounds", ("unit_100x",)),
    Kind(
        "split",
        "a split that is not divided out of earlier prices, or that is divided out or reported twice",
        ("split_not_applied", "split_applied_twice", "split_told_twice"),
    ),
    Kind(
        "dividend",
        "a payment that adjusted closes do not take out, take out twice or in another amount, or that is no amount",
        (
            "dividend_not_adjusted",
            "dividend_adjusted_twice",
            "dividend_unit_100x",
            "dividend_mismatch",
            "dividend_not_in_price",
            "adjusted_above_close",
        ),
    ),
    Kind("dividend_day", "a payment on another day than another vendor reports it for"),
    Kind("other_instrument", "most closes differ, by no common factor: another security under the same letters"),
    Kind("shifted", "most closes differ and are those of the session before or after"),
    Kind("basis", "all closes are off by one factor, neither a unit's nor a split's: another adjustment or currency"),
    Kind("stale", "prices and volume repeat the bar before", ("stale",)),
    Kind("spike", "a close leaves the price before by far and is back with the next bar", ("spike", "extreme_return")),
    Kind("close", "any other close that is off by more than 0.5 %"),
    Kind("range", "the close is right; open, high or low is off by more than 1 %"),
    Kind("volume", "prices are right; the volume is off by more than a factor of 2.7, or is missing", ("no_volume",)),
)
"""In the order in which tables show them."""

NAMES = tuple(kind.name for kind in KINDS)
_KIND_OF = {rule: kind.name for kind in KINDS for rule in kind.rules}
_PRESUMED = {"unit": doubts.DETACHED[0] / 2, "spike": doubts.DETACHED[0] / 2, "stale": 1e-4}
"""Kinds that a rule presumes of a price among its neighbours: another vendor's close that is as near, as a log ratio,
disproves it, and where no other has one it is not decided. One that is within half of the least spike has made the same
move. A close that repeats the last one is often near the right one."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A bar of `vendor` with an error of `kind`, or with a difference from `against` that is not decided.

    told is what it has in `column`, None where it has nothing that can be read; other is what `against` has, the right
    value where it is decided.
    """

    vendor: str
    kind: str
    date: date
    decided: bool
    column: str
    told: float | None
    other: float | None
    against: str


def kind_of(rule: str) -> str | None:
    """The kind of error that breaking a quality rule is; None: it is no error of the vendor's."""
    if rule in _KIND_OF:
        return _KIND_OF[rule]
    column = next((name for name in DAILY_VALUES if rule.startswith(f"{name}_")), None)
    return None if column is None else _KIND_OF.get(rule.removeprefix(f"{column}_"))


def by_comparison(
    stored: pd.DataFrame,
    vendor: str,
    told: pd.DataFrame,
    third: pd.DataFrame | None,
    splits: pd.DataFrame,
    *,
    volumes: bool = True,
) -> list[Finding]:
    """What differs between stored bars, each of its `source`, and those that `vendor` told, at most once for a bar.

    third: the bars of a vendor that judges, if there is one. splits: date and value of those that are known. volumes:
    are they counted alike?
    """
    both, ratios = reconciliation.aligned(stored, told, volumes=volumes)
    if not len(both):
        return []
    kinds = _kinds(both, ratios, splits)
    columns = _columns(ratios)
    judged = None if third is None else both[["date"]].merge(third, on="date", how="left")
    found = []
    for row in np.flatnonzero(kinds != "").tolist():
        bar, column = both.iloc[row], columns[row]
        source, own, other = str(bar["source"]), float(bar[column]), float(bar[f"{column}_told"])
        value = np.nan if judged is None else float(judged[column].iloc[row])
        place = reconciliation.odd_one_out(column, own, other, value) if value > 0 else None
        day, kind = bar["date"].date(), str(kinds[row])
        if place != 1:
            found.append(Finding(source, kind, day, place == 0, column, own, other, vendor))
        if place != 0:
            found.append(Finding(vendor, kind, day, place == 1, column, other, own, source))
    return found


def _columns(ratios: dict[str, Floats]) -> list[str]:
    """The column that shows how two bars differ: close first, volume last."""
    order = ("close", "open", "high", "low", "volume")
    off = np.array([np.abs(np.nan_to_num(ratios[name])) > TOLERANCES[name] for name in order])
    return [order[place] for place in off.argmax(axis=0)]


def _kinds(both: pd.DataFrame, ratios: dict[str, Floats], splits: pd.DataFrame) -> Texts:
    """The kind of each pair of bars, "" where they agree; the first that applies."""
    off = {name: np.abs(np.nan_to_num(ratio)) > TOLERANCES[name] for name, ratio in ratios.items()}
    ratio, differs = ratios["close"], off["close"]
    kinds = np.full(len(both), "", object)
    kinds[off["volume"]] = "volume"
    kinds[off["open"] | off["high"] | off["low"]] = "range"
    common = _of_the_series(both, ratio, differs)
    if common != "close":
        kinds[kinds != ""] = common
    kinds[differs] = common
    kinds[differs & _is_split(both["date"].to_numpy(), ratio, differs, splits)] = "split"
    kinds[differs & reconciliation.near_unit(ratio)] = "unit"
    return kinds


def _of_the_series(both: pd.DataFrame, ratio: Floats, differs: NDArray[np.bool_]) -> str:
    """What the closes that differ have in common."""
    known = ratio[np.isfinite(ratio)]
    if len(known) < FEWEST or differs.sum() < MOST * len(known):
        return "close"
    own, told = (both[name].to_numpy(np.float64) for name in ("close", "close_told"))
    for moved in (np.log(told[1:] / own[:-1]), np.log(told[:-1] / own[1:])):
        if (np.abs(moved) <= TOLERANCES["close"]).mean() >= NEARLY_ALL:
            return "shifted"
    if reconciliation.basis(ratio) is not None:
        return "basis"
    return "other_instrument" if np.median(np.abs(known)) > SAME_BASIS else "close"


def _is_split(days: Days, ratio: Floats, differs: NDArray[np.bool_], splits: pd.DataFrame) -> NDArray[np.bool_]:
    """Which closes differ by the ratio of later known splits, or several by one that is usual."""
    size = np.abs(ratio)
    found = np.zeros(len(days), np.bool_)
    later = np.zeros(len(days))
    for day, value in zip(splits["date"].to_numpy(), np.log(splits["value"].to_numpy(np.float64)), strict=True):
        before = days < day
        later[before] += value
        found |= before & (np.abs(size - abs(value)) <= OF_SPLIT)
    found |= (later != 0) & (np.abs(size - np.abs(later)) <= OF_SPLIT)
    for usual in agreement.SPLITS:
        alike = differs & (np.abs(size - np.log(usual)) <= OF_SPLIT)
        if alike.sum() >= FEWEST and np.median(np.abs(size[alike] - np.median(size[alike]))) <= reconciliation.STEADY:
            found |= alike
    return found


def by_rules(
    vendor: str,
    broken: Iterable[tuple[date, str, str, float | None]],
    other: pd.DataFrame,
    against: str,
    third: pd.DataFrame | None = None,
    paid: Collection[date] = (),
) -> list[Finding]:
    """What rules tell of bars of `vendor`: of each the day, the rule, a column and what it has there.

    other: the bars of the vendor compared with, `against`, and third those of another, if one was asked: by their
    closes and volumes what is merely doubtful is no error. paid: the days of payments that both vendors have: these
    were paid, whether or not the price fell.
    """
    bars = [_by_day(each) for each in (other, third) if each is not None]
    found: dict[tuple[str, date], Finding] = {}
    for day, rule, column, told in broken:
        kind = kind_of(rule)
        if kind is None or (rule == "dividend_not_in_price" and day in paid):
            continue
        others = [_number(each, day, column) for each in bars]
        known = [value for value in others if value is not None]
        if kind in _PRESUMED and any(_are_near(told, value, _PRESUMED[kind]) for value in known):
            continue
        if kind == "volume" and any(value <= 0 for value in known):
            continue
        decided = bool(known) or kind not in (*_PRESUMED, "volume")
        found[kind, day] = Finding(vendor, kind, day, decided, column, told, others[0], against)
    return list(found.values())


def _by_day(bars: pd.DataFrame) -> dict[date, dict[Any, Any]]:
    return {day.date(): row for day, row in zip(bars["date"], bars.to_dict("records"), strict=True)}


def _number(bars: Mapping[date, Mapping[Any, Any]], day: date, column: str) -> float | None:
    """What a vendor has there; None for no bar and for what is no number."""
    value = bars[day][column] if day in bars else None
    return float(value) if value is not None and np.isfinite(value) else None


def _are_near(told: float | None, other: float, room: float) -> bool:
    return told is not None and told > 0 and other > 0 and bool(abs(np.log(told / other)) <= room)


def column_of(rule: str, bar: Mapping[Any, Any]) -> str:
    """The column that shows how a bar breaks a rule: of one in two units, the high or low that is in the other."""
    kind = kind_of(rule)
    if kind == "unit" and bar["high"] > doubts.UNITS[0] / 2 * bar["low"] > 0:
        ends = sorted((bar["open"], bar["close"]))
        return "high" if bar["high"] * bar["low"] > ends[0] * ends[1] else "low"
    return "volume" if kind == "volume" else "adj_close" if kind == "dividend" else "close"


def same_payments(one: pd.DataFrame, other: pd.DataFrame) -> set[date]:
    """The days of payments that both of these actions have in the same amount."""
    first, second = (frame[frame["kind"].isin(CASH)][["date", "value"]] for frame in (one, other))
    both = first.merge(second, on="date", suffixes=("", "_other"))
    same = np.abs(both["value_other"] / both["value"] - 1) <= SAME_PAYMENT
    return set(both["date"][same].dt.date)


def payments_on_other_days(
    first: pd.DataFrame, vendor: str, told: pd.DataFrame, third: pd.DataFrame | None
) -> list[Finding]:
    """Payments that stored actions, each of its `source`, and those of `vendor` have on different days.

    All have date, kind and value, and are complete for the days compared; third judges, if there is one.
    """
    mine, theirs = (frame[frame["kind"].isin(CASH)] for frame in (first, told))
    mine, theirs = mine[~mine["date"].isin(theirs["date"])], theirs[~theirs["date"].isin(mine["date"])]
    found = []
    for day, value, source in zip(mine["date"], mine["value"], mine["source"], strict=True):
        near = theirs[
            (np.abs(theirs["date"] - day) <= NEAR_DAY) & (np.abs(theirs["value"] / value - 1) <= SAME_PAYMENT)
        ]
        if not len(near):
            continue
        other = near["date"].iloc[0]
        days = None if third is None else set(third["date"][third["kind"].isin(CASH)])
        off = None if days is None or (day in days) == (other in days) else day not in days
        for name, its, decided, against in ((source, day, off is True, vendor), (vendor, other, off is False, source)):
            if decided or off is None:
                found.append(Finding(name, "dividend_day", its.date(), decided, "dividend", value, value, against))
    return found


def together(rules: Sequence[Finding], compared: Sequence[Finding]) -> list[Finding]:
    """All findings, each bar once, beside those of payments, which are no fault of its price.

    What stands first in KINDS counts. A difference that a rule explains is no second error, of either vendor.
    """
    ordered = sorted(rules, key=lambda each: NAMES.index(each.kind), reverse=True)
    prices = {(each.vendor, each.date): each for each in ordered if each.kind != "dividend"}
    payments = [each for each in rules if each.kind == "dividend"]
    days = {day for _, day in prices}
    found = {
        (each.vendor, each.date): each
        for each in compared
        if (each.vendor, each.date) not in prices and (each.decided or each.date not in days)
    }
    return [*payments, *prices.values(), *found.values()]
