"""The ledger as a heat map: instruments × months.

Belongs here: drawing shares that somebody else has counted. Does not belong here: counting. The drawing library is
imported inside the functions, since every process that loads the assets imports this module.
"""

from typing import TYPE_CHECKING

import dagster as dg

from financehub_dagster.assets.charts.bars import as_markdown, png_of
from financehub_dagster.wording import counted

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from financehub_dagster.storage.coverage.gaps import Shares

MOST_ROWS = 120
"""Instruments drawn; of more, those that lack most. A row of fewer pixels would not carry its name."""
ROW_INCHES, COLUMN_INCHES = 0.15, 0.055
STATES = (
    ("nothing expected", "#ffffff"),
    ("all stored", "#1f4e79"),
    ("stored, or confirmed empty by the vendor", "#8fb4d9"),
    ("all confirmed empty", "#dedede"),
    ("some sessions missing", "#f5a623"),
    ("all missing", "#b2182b"),
)
"""What a month of an instrument can be, and its colour: told apart by lightness too, for grey prints and all eyes."""


def states_of(found: "Shares") -> "NDArray[np.int8]":
    """The place in STATES of each month of each instrument."""
    import numpy as np

    expected, accounted, stored = ~np.isnan(found.shares), found.shares, found.stored
    complete = accounted >= 1.0
    cases = [
        ~expected,
        complete & (stored >= 1.0),
        complete & (stored > 0.0),
        complete,
        accounted > 0.0,
    ]
    return np.select(cases, range(len(cases)), default=len(cases)).astype(np.int8)


def heat_map(title: str, found: "Shares") -> dg.MarkdownMetadataValue | None:
    """Each instrument's months, coloured by what became of their sessions; None without any."""
    if not found.symbols:
        return None
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure

    lacking = np.nansum(1.0 - found.shares, axis=1)
    chosen = np.sort(np.argsort(-lacking, kind="stable")[:MOST_ROWS])
    rows, columns = len(chosen), len(found.months)
    figure = Figure(figsize=(max(columns * COLUMN_INCHES, 5.0) + 1.6, max(rows * ROW_INCHES, 0.8) + 1.6), dpi=90)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    states = states_of(found)
    colours = ListedColormap([colour for _, colour in STATES])
    drawn = states[chosen]
    axes.imshow(drawn, aspect="auto", cmap=colours, vmin=-0.5, vmax=len(STATES) - 0.5, interpolation="nearest")
    _label(axes, [found.symbols[row] for row in chosen], found)
    known = counted(len(found.symbols), "instrument")
    shown = f"{rows} of {known}, those that lack most" if rows < len(found.symbols) else ""
    axes.set_title(f"{title}, by instrument and month{': ' if shown else ''}{shown}", fontsize=9, loc="left")
    _explain(axes, np.bincount(states.ravel(), minlength=len(STATES)).tolist())
    return as_markdown(png_of(figure, "tight"), title)


def _explain(axes: "Axes", counts: list[int]) -> None:
    """The legend: what each colour means, and how many months of all instruments have it."""
    from matplotlib.patches import Patch

    patches = [
        Patch(facecolor=colour, edgecolor="#9e9e9e", linewidth=0.5, label=f"{name} ({counted(count, 'month')})")
        for (name, colour), count in zip(STATES, counts, strict=True)
        if count
    ]
    below = -0.55 / axes.get_window_extent().height * axes.figure.dpi
    axes.legend(handles=patches, loc="upper left", bbox_to_anchor=(0, below), ncols=2, fontsize=7, frameon=False)


def _label(axes: "Axes", symbols: list[str], found: "Shares") -> None:
    """Every instrument by name, and the years, each at its first month."""
    axes.set_yticks(range(len(symbols)), symbols, fontsize=7)
    axes.set_ylabel("instrument, the largest first", fontsize=7)
    axes.set_xlabel("month", fontsize=7)
    years = [place for place, month in enumerate(found.months) if month.month == 1] or [0]
    if len(found.months) <= 24:
        years = list(range(0, len(found.months), 3))
    names = [
        f"{found.months[place]:%Y-%m}" if len(found.months) <= 24 else f"{found.months[place]:%Y}" for place in years
    ]
    axes.set_xticks(years, names, fontsize=7, rotation=90 if len(years) > 12 else 0)
