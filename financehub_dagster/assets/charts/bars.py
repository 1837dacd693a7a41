"""What a run over daily tables shows of its most important instruments: a table at once, and charts behind a button.

Belongs here: reading and drawing stored rows. Does not belong here: deciding when. The webserver shows tables in place
and pictures behind "[Show Markdown]", hence both. The drawing libraries are imported inside the functions, since every
process that loads the assets imports this module.
"""

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import dagster as dg

from financehub_dagster.assets.charts import PICTURES_TAG
from financehub_dagster.ingest.partitions import Window
from financehub_dagster.ingest.record_table import record_table
from financehub_dagster.settings import get_settings
from financehub_dagster.storage.database.engine import transaction
from financehub_dagster.storage.queries import checks
from financehub_dagster.tables import BARS_OF, DERIVED

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SESSIONS = 126
"""Half a year of sessions: candles stay readable at the width of the webserver's dialog."""
LISTED, DRAWN = 12, 6
"""Instruments in the table and in the picture: those the run did that have the largest market capitalisation."""
COLUMNS = 2
PANEL_INCHES = (5.5, 2.8)
FOOT_INCHES = 0.6
"""Room for what the colours mean."""
TICKS = "▁▂▃▄▅▆▇█"
POINTS = 30
"""Characters of a trend line."""
LINES = {"sma_20": "#1f77b4", "sma_50": "#ff7f0e", "bb_upper": "#9e9e9e", "bb_lower": "#9e9e9e"}
LABELS = {"sma_20": "SMA 20", "sma_50": "SMA 50", "bb_upper": "Bollinger bands, 20 sessions ± 2 σ"}
SHOWN_INDICATORS = ("sma_20", "sma_50", "bb_lower", "bb_upper", "rsi_14", "macd_hist")
CANDLES = "A candle is one session: green closed above its open, red below. Prices of shares are split-adjusted."
COLOURS = 64
"""Colours of a picture: it looks the same, and takes a third of the room in Dagster's database."""


@dataclass(frozen=True)
class Series:
    """The newest rows of one instrument; generated: how many of the last ones no exchange ever saw."""

    symbol: str
    currency: str
    rows: "pd.DataFrame"
    generated: int = 0

    @property
    def origin(self) -> str:
        """Where the prices come from, in a sample market; empty otherwise."""
        if not get_settings().sample_market:
            return ""
        if not self.generated:
            return "recorded"
        if self.generated == len(self.rows):
            return "generated"
        return f"recorded until {self.rows.index[-self.generated - 1]:%Y-%m-%d}, then generated"


def _is_drawn(run: dg.DagsterRun) -> bool:
    """Whether a run wants pictures: drawing takes a fifth of the time of a run over one instrument."""
    return run.tags.get(PICTURES_TAG) != "none"


def prices_shown(table: str, symbols: Sequence[str], window: Window, run: dg.DagsterRun) -> dict[str, dg.MetadataValue]:
    """Last closes and, if `run` wants pictures, candles of the most important of `symbols`, up to the window's end."""
    return _shown(run, _read([table], symbols, window), _prices_row, _draw_prices)


def indicators_shown(
    table: str, symbols: Sequence[str], window: Window, run: dg.DagsterRun
) -> dict[str, dg.MetadataValue]:
    """Last indicators in `table` and, as in `prices_shown`, candles with averages, bands and RSI."""
    return _shown(run, _read(DERIVED[table].inputs, symbols, window, table), _indicators_row, _draw_indicators)


def _read(tables: Sequence[str], symbols: Sequence[str], window: Window, beside: str | None = None) -> list[Series]:
    from financehub_dagster.storage.queries.instruments import list_instruments

    found = []
    with transaction() as connection:
        done = list_instruments(connection, symbols=list(symbols), active=None, all_known=False)
        for instrument in done[:LISTED]:
            table = next(name for name in tables if instrument.asset_type in BARS_OF[name])
            rows = checks.recent_rows(connection, table, instrument.symbol, window.end, SESSIONS)
            if beside is not None:
                values = checks.recent_rows(connection, beside, instrument.symbol, window.end, SESSIONS)
                # A column without any value yet, as in a warm-up, holds None instead of numbers.
                rows = rows.join(values[list({*LINES, *SHOWN_INDICATORS})].astype("float64"), how="inner")
            if not rows.empty:
                generated = _generated(instrument.symbol, rows)
                found.append(Series(instrument.symbol, instrument.currency, rows, generated))
    return found


def _generated(symbol: str, rows: "pd.DataFrame") -> int:
    """How many of the last rows lie after the sample market's recording of the instrument, if it has one."""
    if not get_settings().sample_market:
        return 0
    import pandas as pd

    from financehub_dagster.sandbox.market.recordings import recorded_span

    span = recorded_span(symbol)
    return len(rows) if span is None else int((rows.index > pd.Timestamp(span[1])).sum())


def _shown(
    run: dg.DagsterRun,
    found: Sequence[Series],
    row: Callable[[Series], Mapping[str, str]],
    draw: Callable[[Sequence[Series]], bytes],
) -> dict[str, dg.MetadataValue]:
    if not found:
        return {}
    rows = [{**row(series), **({"prices": series.origin} if series.origin else {})} for series in found]
    shown: dict[str, dg.MetadataValue] = {"latest": record_table(list(rows[0]), rows)}
    if _is_drawn(run):
        shown["picture"] = as_markdown(draw(found[:DRAWN]), _caption(found[:DRAWN]))
    return shown


def _prices_row(series: Series) -> dict[str, str]:
    close = series.rows["close"]
    change = f"{(close.iloc[-1] / close.iloc[-2] - 1) * 100:+.2f} %" if len(close) > 1 else ""
    return {**_head(series), "change": change, "half a year": trend(close.tolist())}


def _indicators_row(series: Series) -> dict[str, str]:
    last = series.rows.iloc[-1]
    values = {name: "" if last[name] != last[name] else f"{last[name]:,.6g}" for name in SHOWN_INDICATORS}
    return {**_head(series), **values}


def _head(series: Series) -> dict[str, str]:
    close = f"{series.rows['close'].iloc[-1]:,.6g} {series.currency}"
    return {"symbol": series.symbol, "date": f"{series.rows.index[-1]:%Y-%m-%d}", "close": close}


def trend(values: Sequence[float]) -> str:
    """The course of `values` as a line of text, from its lowest to its highest."""
    step = max(len(values) / POINTS, 1.0)
    points = [values[min(int(number * step), len(values) - 1)] for number in range(min(POINTS, len(values)))]
    points[-1] = values[-1]
    low, high = min(points), max(points)
    scale = (len(TICKS) - 1) / (high - low) if high > low else 0.0
    return "".join(TICKS[round((value - low) * scale)] for value in points)


def _draw_prices(found: Sequence[Series]) -> bytes:
    return _draw(found, 1, lambda series, axes: _candles(series, axes[0], ()))


def _draw_indicators(found: Sequence[Series]) -> bytes:
    return _draw(found, 2, _indicator_panels, LABELS)


def _indicator_panels(series: Series, axes: "Sequence[Axes]") -> None:
    price, strength = axes
    lines = [name for name in LINES if series.rows[name].notna().any()]
    _candles(series, price, lines)
    strength.plot(range(len(series.rows)), series.rows["rsi_14"].to_numpy(), color="#6a3d9a", linewidth=1)
    for level in (30, 70):
        strength.axhline(level, color="#9e9e9e", linewidth=0.6, linestyle="--")
    strength.set_ylim(0, 100)
    strength.set_ylabel("RSI 14 (0 to 100)", fontsize=7)
    strength.set_xticks([])
    strength.tick_params(labelsize=7)


def _draw(
    found: Sequence[Series],
    parts: int,
    panel: "Callable[[Series, Sequence[Axes]], None]",
    labels: Mapping[str, str] = MappingProxyType({}),
) -> bytes:
    """A panel of `parts` stacked axes for each instrument, in COLUMNS columns; `labels` say what lines mean."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    columns = min(COLUMNS, len(found))
    rows = -(-len(found) // columns)
    width = columns * PANEL_INCHES[0] * (1.0 if columns > 1 else 1.6)
    height = rows * PANEL_INCHES[1] * (1 + 0.4 * (parts - 1)) + FOOT_INCHES
    figure = Figure(figsize=(width, height), dpi=80)
    FigureCanvasAgg(figure)
    # A tight layout would find the margins by drawing twice, half of the time this takes.
    figure.subplots_adjust(
        left=0.6 / width, right=1 - 0.7 / width, bottom=(FOOT_INCHES + 0.25) / height, top=1 - 0.3 / height
    )
    grid = figure.add_gridspec(
        rows * parts, columns, height_ratios=[3, *[1] * (parts - 1)] * rows, hspace=0.45, wspace=0.2
    )
    for number, series in enumerate(found):
        line, column = divmod(number, columns)
        panel(series, [figure.add_subplot(grid[line * parts + part, column]) for part in range(parts)])
    figure.text(0.5, 0.1 / height, CANDLES, ha="center", fontsize=8)
    if labels:
        handles = [Line2D([], [], color=LINES[name], label=label) for name, label in labels.items()]
        place = (0.5, 0.25 / height)
        figure.legend(handles=handles, ncols=len(handles), loc="lower center", bbox_to_anchor=place, fontsize=8)
    return png_of(figure)


def _candles(series: Series, axes: "Axes", lines: Sequence[str]) -> None:
    import mplfinance

    rows = series.rows
    added = [mplfinance.make_addplot(rows[name], ax=axes, color=LINES[name], width=0.9) for name in lines]
    mplfinance.plot(
        rows[["open", "high", "low", "close", "volume"]].rename(columns=str.capitalize),
        type="candle",
        style="yahoo",
        ax=axes,
        xrotation=0,
        datetime_format="%Y-%m-%d",
        axtitle="",
        **({"addplot": added} if added else {}),
    )
    axes.set_title(f"{series.symbol}  {series.origin}".rstrip(), fontsize=9, loc="left")
    axes.set_ylabel(series.currency, fontsize=8)
    axes.tick_params(labelsize=7)
    if series.generated:
        axes.axvspan(len(rows) - series.generated - 0.5, len(rows) - 0.5, color="#f4e6c8", alpha=0.5, zorder=0)
        axes.text(
            0.98, 0.04, "generated", transform=axes.transAxes, ha="right", fontsize=16, color="#8a6d1f", alpha=0.6
        )


def _caption(found: Sequence[Series]) -> str:
    names = ", ".join(series.symbol for series in found)
    return f"{names}, daily bars{' of the sample market' if get_settings().sample_market else ''}"


def png_of(figure: "Figure", bbox_inches: str | None = None) -> bytes:
    """The figure as a PNG of few colours; bbox_inches as Matplotlib's savefig takes it."""
    from PIL import Image

    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", bbox_inches=bbox_inches)
    Image.open(drawn).convert("RGB").quantize(COLOURS).save(small, format="png", optimize=True)
    return small.getvalue()


def as_markdown(png: bytes, caption: str) -> dg.MarkdownMetadataValue:
    """A PNG as Markdown that the webserver opens without fetching anything."""
    return dg.MetadataValue.md(f"![{caption}](data:image/png;base64,{base64.b64encode(png).decode()})")
