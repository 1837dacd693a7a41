"""Pictures in the metadata of a materialization.

Belongs here: drawing stored rows of the most important instrument of a run. Does not belong here: deciding when. The
drawing libraries are imported inside the functions, since every process that loads the assets imports this module.
"""

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import dagster as dg

from financehub_dagster.assets.partitions import Window
from financehub_dagster.storage import audit
from financehub_dagster.storage.engine import transaction

if TYPE_CHECKING:
    import pandas as pd

# Half a year of sessions: candles stay readable at the width of the webserver's metadata column.
SESSIONS = 126
# Room for the labels of a price of six digits. A tight layout finds it by drawing twice, a third of a short run's time.
PADDING = {"left": 0.25, "right": 1.0, "top": 0.5, "bottom": 0.8}


def bars_picture(table: str, symbols: Sequence[str], window: Window) -> dg.MarkdownMetadataValue | None:
    """Candlesticks and volume of the first of `symbols` up to the window's end; None without rows."""
    if not symbols:
        return None
    with transaction() as connection:
        bars = audit.recent_rows(connection, table, symbols[0], window.end, SESSIONS)
    return None if bars.empty else _drawn(symbols[0], bars)


def indicators_picture(table: str, symbols: Sequence[str], window: Window) -> dg.MarkdownMetadataValue | None:
    """Candlesticks with moving averages, Bollinger bands and RSI of the first of `symbols`; None without rows."""
    if not symbols:
        return None
    with transaction() as connection:
        bars = audit.recent_rows(connection, table, symbols[0], window.end, SESSIONS)
        values = audit.recent_rows(connection, "indicators_daily", symbols[0], window.end, SESSIONS)
    both = bars.join(values.drop(columns="symbol"), how="inner")
    if both.empty:
        return None
    import mplfinance

    lines = [
        mplfinance.make_addplot(both[name], color=color, width=1, panel=panel, ylabel=label)
        for name, color, panel, label in (
            ("sma_20", "#1f77b4", 0, ""),
            ("sma_50", "#ff7f0e", 0, ""),
            ("bb_upper", "#9e9e9e", 0, ""),
            ("bb_lower", "#9e9e9e", 0, ""),
            ("rsi_14", "#6a3d9a", 2, "RSI"),
        )
        if both[name].notna().any()
    ]
    return _drawn(symbols[0], both, addplot=lines)


def _drawn(symbol: str, bars: "pd.DataFrame", **extra: object) -> dg.MarkdownMetadataValue:
    import matplotlib as mpl

    mpl.use("Agg")
    import mplfinance

    buffer = io.BytesIO()
    mplfinance.plot(
        bars[["open", "high", "low", "close", "volume"]].rename(columns=str.capitalize),
        type="candle",
        style="yahoo",
        volume=True,
        figsize=(9, 5),
        scale_padding=PADDING,
        axtitle=f"{symbol}  {bars.index[0]:%Y-%m-%d} to {bars.index[-1]:%Y-%m-%d}",
        savefig={"fname": buffer, "dpi": 70, "format": "png"},
        **extra,
    )
    return as_markdown(buffer.getvalue(), f"{symbol} daily bars")


def as_markdown(png: bytes, caption: str) -> dg.MarkdownMetadataValue:
    """A PNG as Markdown that the webserver opens without fetching anything."""
    return dg.MetadataValue.md(f"![{caption}](data:image/png;base64,{base64.b64encode(png).decode()})")
