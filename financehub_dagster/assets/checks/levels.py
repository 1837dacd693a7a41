"""The check of tables that have a row for the session after each bar: levels and pivot points.

Belongs here: whether every trade date that has a bar before it has its row. Does not belong here: computing the rows
(`ingest.derived`). Such tables are not in the ledger, whose sessions have all finished: their newest row is for a
session that is still to come.
"""

from datetime import date, timedelta
from typing import TYPE_CHECKING

from financehub_dagster.assets.checks.bars import SHOWN, Check, Evidence, Finding, finding
from financehub_dagster.tables import BARS_OF, DERIVED

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

LOOKBACK = timedelta(days=28)
"""How long before the first trade date its previous session may lie; the longest closures last two weeks."""


def _no_missing_levels(evidence: Evidence) -> Finding:
    lacking: list[Mapping[str, object]] = []
    examined = 0
    for source in DERIVED[evidence.table].inputs:
        symbols = [each.symbol for each in evidence.members if each.asset_type in BARS_OF[source]]
        if not symbols:
            continue
        expected = _expected(evidence, source, symbols)
        examined += sum(len(days) for days in expected.values())
        for symbol, days in _missing(evidence, expected).items():
            lacking += [{"symbol": symbol, "date": day.item()} for day in days]
    return finding(examined, len(lacking), "trade dates have no row", lacking[:SHOWN])


def _expected(evidence: Evidence, source: str, symbols: list[str]) -> "dict[str, np.ndarray]":
    """By symbol the trade dates of the window that the stored bars of `source` make a row of."""
    import numpy as np

    from financehub_dagster.ingest.derived import made_of
    from financehub_dagster.storage.queries import bars

    start, end = evidence.window or (None, None)
    stored = bars.read_bars(evidence.connection, source, symbols, None if start is None else start - LOOKBACK, end)
    rows = made_of(evidence.connection, evidence.table, source, stored)
    dates = rows.date.astype("datetime64[D]")
    inside = dates >= np.datetime64(start or date.min, "D")
    inside &= dates <= np.datetime64(end or date.max, "D")
    found = {symbol: dates[inside & (rows.instruments == row)] for row, symbol in enumerate(stored.symbols)}
    if evidence.window is not None:
        return found
    # Of a whole table those are due that have traded since: the session after the last bar of a stretch may lie in a
    # partition that nobody has filled.
    own = zip(stored.offsets[:-1], stored.offsets[1:], strict=True)
    return {
        symbol: days[np.isin(days, stored.date[start:stop])]
        for (symbol, days), (start, stop) in zip(found.items(), own, strict=True)
    }


def _missing(evidence: Evidence, expected: "Mapping[str, np.ndarray]") -> "dict[str, np.ndarray]":
    import numpy as np

    from financehub_dagster.storage.queries import history

    since = {symbol: days.min().item() for symbol, days in expected.items() if days.size}
    stored = history.stored_dates(evidence.connection, evidence.table, since)
    nothing = np.zeros(0, "datetime64[D]")
    found = {symbol: np.setdiff1d(days, stored.get(symbol, nothing)) for symbol, days in expected.items()}
    return {symbol: days for symbol, days in found.items() if days.size}


NO_MISSING_LEVELS = Check(
    "no_missing_levels",
    "Every trade date with a bar of the session before it has a row.",
    _no_missing_levels,
    by="members",
    audited=True,
)
