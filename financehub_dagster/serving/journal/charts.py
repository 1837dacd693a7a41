"""The drawings of a journal, as SVG: the course of an account, and the gains of a week by position.

Belongs here: drawing. Does not belong here: computing. Matplotlib is imported inside the functions, since every process
that loads the assets imports this package.
"""

import io
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from financehub_dagster.market.journal.positions import Account, Point, Position

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_BARS = 10
"""Positions in the drawing that gained most, and as many that lost most."""
WIDTH = 10.0
GAIN, LOSS, LINE = "#1b7f4b", "#b3261e", "#1f4e79"


def has_course(account: Account) -> bool:
    """Whether there are two values to draw a line between."""
    return len(_known(account)) > 1


def course(account: Account) -> bytes:
    """What the lots of an account had gained by the end of each week, from the first known value on."""
    with _style():
        figure, axes = _figure(2.8)
        shown = [point for point in account.course if point.day >= _known(account)[0].day]
        days = [point.day for point in shown]
        gained = [float("nan") if point.value is None else point.value - point.paid for point in shown]
        axes.plot(days, gained, color=LINE, linewidth=1.8)  # type: ignore[arg-type]
        for sign, colour in ((1, GAIN), (-1, LOSS)):
            own = [value * sign > 0 for value in gained]
            axes.fill_between(days, gained, 0, where=own, interpolate=True, color=colour, alpha=0.15, linewidth=0)  # type: ignore[arg-type]
        axes.axhline(0, color="#66727f", linewidth=0.8)
        axes.margins(x=0.01)
        axes.set_ylabel(account.currency)
        return _svg(figure)


def _known(account: Account) -> list[Point]:
    return [point for point in account.course if point.value is not None and (point.value or point.paid)]


def gains(account: Account) -> bytes:
    """The gain of the week of each position, or of those that gained and lost most."""
    chosen = extremes(account.positions)
    with _style():
        figure, axes = _figure(0.7 + 0.3 * len(chosen))
        amounts = [each.week or 0.0 for each in chosen]
        places = range(len(chosen))
        axes.barh(places, amounts, color=[GAIN if amount >= 0 else LOSS for amount in amounts], height=0.66)
        axes.set_yticks(list(places), [_short(each.symbol) for each in chosen])
        axes.invert_yaxis()
        axes.axvline(0, color="#66727f", linewidth=0.8)
        for place, amount in zip(places, amounts, strict=True):
            beside = 4 if amount >= 0 else -4
            axes.annotate(
                f"{amount:+,.2f}",
                (amount, place),
                xytext=(beside, 0),
                textcoords="offset points",
                ha="left" if amount >= 0 else "right",
                va="center",
                fontsize=8,
            )
        axes.margins(x=0.14)
        axes.set_xlabel(account.currency)
        return _svg(figure)


def extremes(positions: Sequence[Position]) -> list[Position]:
    """The positions whose gain of the week is known, the largest gain first; of many the first and the last ones."""
    known = sorted((each for each in positions if each.week is not None), key=lambda each: -(each.week or 0.0))
    return known if len(known) <= 2 * MOST_BARS else [*known[:MOST_BARS], *known[-MOST_BARS:]]


def _style() -> AbstractContextManager[None]:
    from matplotlib import rc_context

    return rc_context(
        {
            "svg.fonttype": "none",  # text stays text, at a tenth of the size
            "svg.hashsalt": "financehub",  # the same drawing is the same file
            "font.family": "sans-serif",
            "text.parse_math": False,  # a name may hold dollar signs
            "axes.spines.top": False,
            "axes.spines.right": False,
        }
    )


def _figure(height: float) -> "tuple[Figure, Axes]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.add_subplot()
    axes.tick_params(labelsize=9)
    axes.grid(visible=True, color="#e3e7eb", linewidth=0.6)
    axes.set_axisbelow(True)
    return figure, axes


def _svg(figure: "Figure") -> bytes:
    from matplotlib.ticker import StrMethodFormatter

    axes = figure.axes[0]
    amounts = axes.xaxis if axes.get_xlabel() else axes.yaxis
    amounts.set_major_formatter(StrMethodFormatter("{x:,.10g}"))
    drawn = io.BytesIO()
    figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": None})
    return drawn.getvalue()


def _short(symbol: str) -> str:
    return symbol if len(symbol) <= 16 else f"{symbol[:15]}…"
