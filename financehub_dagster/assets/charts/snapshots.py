"""What a run over vendors' answers shows in the webserver: movers, markets, companies, headlines.

Belongs here: tables and lists over stored rows of the run's days. Does not belong here: deciding when, and drawings
(`bars`).
"""

import re
from datetime import date
from typing import TYPE_CHECKING

import dagster as dg

from financehub_dagster.ingest.record_table import record_table
from financehub_dagster.storage.database.engine import Connection
from financehub_dagster.storage.queries import checks, news

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 10
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~])")


def movers(connection: Connection, table: str, _start: date, _end: date) -> dg.TableMetadataValue:
    """The newest quotes that differ most from the session before, cryptos: from 24 hours ago."""
    rows = checks.newest_rows(connection, table)
    before = rows["previous_close"].fillna(rows["open"]).astype(float)
    rows = rows.assign(change=(rows["price"] / before - 1) * 100)
    rows = rows.reindex(rows["change"].abs().sort_values(ascending=False, na_position="last").index)
    return _table(rows, {"change": "{:+.2f} %", "price": "{:,.10g}"}, ("symbol", "price", "change", "currency"))


def markets(connection: Connection, table: str, _start: date, _end: date) -> dg.TableMetadataValue:
    """The largest cryptos."""
    rows = checks.newest_rows(connection, table)
    rows = rows.sort_values("market_cap", ascending=False, na_position="last")
    formats = {"price": "{:,.10g}", "market_cap": "{:,.0f}", "volume_24h": "{:,.0f}", "change_24h": "{:+.2f} %"}
    return _table(rows, formats, ("symbol", "price", "change_24h", "market_cap", "volume_24h", "currency"))


def companies(connection: Connection, table: str, _start: date, _end: date) -> dg.TableMetadataValue:
    """The largest companies."""
    rows = checks.newest_rows(connection, table)
    rows = rows.sort_values("market_cap", ascending=False, na_position="last")
    formats = {"market_cap": "{:,.0f}", "pe_ratio": "{:.1f}", "eps": "{:.2f}", "dividend_yield": "{:.2%}"}
    return _table(rows, formats, ("symbol", "market_cap", "pe_ratio", "eps", "dividend_yield", "currency"))


def headlines(connection: Connection, _table: str, start: date, end: date) -> dg.MarkdownMetadataValue:
    """The newest articles as links."""
    lines = [
        f"- {article.published_at:%Y-%m-%d %H:%M} {_linked(str(article.title), str(article.url))} {article.symbols}"
        for article in news.headlines(connection, start, end, SHOWN).itertuples()
    ]
    return dg.MetadataValue.md("\n".join(lines) or "no articles")


def _linked(title: str, url: str) -> str:
    """A Markdown link; only the title where no browser should open the address, or where it would end the link."""
    shown = _MARKDOWN.sub(r"\\\1", " ".join(title.split()))
    return f"[{shown}](<{url}>)" if re.fullmatch(r"https?://[^\s<>]+", url) else shown


def _table(rows: "pd.DataFrame", formats: dict[str, str], columns: tuple[str, ...]) -> dg.TableMetadataValue:
    shown = (*columns, "source")
    return record_table(
        shown,
        ({name: _text(row[name], formats.get(name, "{}")) for name in shown} for _, row in rows.head(SHOWN).iterrows()),
    )


def _text(value: object, form: str) -> str:
    return "" if value is None or value != value else form.format(value)  # NaN alone differs from itself
