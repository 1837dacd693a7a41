"""The ledger as a heat map: instruments × months.

Belongs here: drawing shares that somebody else has counted. Does not belong here: counting. The drawing library is
imported inside the function, since every process that loads the assets imports this module.
"""

import io
from typing import TYPE_CHECKING

import dagster as dg

from financehub_dagster.assets.pictures import as_markdown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from financehub_dagster.storage.gaps import Shares

# Instruments drawn; of more, those that lack most. A row of fewer pixels would not carry its name.
MOST_ROWS = 120
ROW_INCHES, COLUMN_INCHES = 0.15, 0.055
# From dark blue to yellow in even steps of lightness, for people who see colours differently and for grey prints.
COLOURS = "cividis"
NOTHING_EXPECTED = "#ffffff"


def heat_map(title: str, found: "Shares") -> dg.MarkdownMetadataValue | None:
    """Each instrument's months, coloured by the share that is stored or confirmed empty; None without any."""
    if not found.symbols:
        return None
    import matplotlib as mpl
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lacking = np.nansum(1.0 - found.shares, axis=1)
    chosen = np.sort(np.argsort(-lacking, kind="stable")[:MOST_ROWS])
    rows, columns = len(chosen), len(found.months)
    figure = Figure(figsize=(max(columns * COLUMN_INCHES, 4.0) + 1.6, max(rows * ROW_INCHES, 0.8) + 1.2), dpi=90)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    colours = mpl.colormaps[COLOURS].with_extremes(bad=NOTHING_EXPECTED)
    image = axes.imshow(found.shares[chosen], aspect="auto", cmap=colours, vmin=0.0, vmax=1.0, interpolation="nearest")
    _label(axes, [found.symbols[row] for row in chosen], found)
    shown = f"{rows} of {len(found.symbols)} instruments, those that lack most" if rows < len(found.symbols) else ""
    axes.set_title(f"{title}{': ' if shown else ''}{shown}", fontsize=9, loc="left")
    bar = figure.colorbar(image, ax=axes, fraction=0.02, pad=0.01, format=lambda share, _: f"{share:.0%}")
    bar.ax.tick_params(labelsize=7)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", bbox_inches="tight")
    return as_markdown(buffer.getvalue(), title)


def _label(axes: "Axes", symbols: list[str], found: "Shares") -> None:
    """Every instrument by name, and the years, each at its first month."""
    axes.set_yticks(range(len(symbols)), symbols, fontsize=7)
    years = [place for place, month in enumerate(found.months) if month.month == 1] or [0]
    if len(found.months) <= 24:
        years = list(range(0, len(found.months), 3))
    names = [
        f"{found.months[place]:%Y-%m}" if len(found.months) <= 24 else f"{found.months[place]:%Y}" for place in years
    ]
    axes.set_xticks(years, names, fontsize=7, rotation=90 if len(years) > 12 else 0)
