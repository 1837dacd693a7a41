"""Which of the bars that are about to be written are doubtful, judged among the stored ones around them.

Belongs here: what bars are judged with, and their column `flags`. Does not belong here: the rules
(market.quality.doubts), and bars that are doubtful for their own range, for which the next vendors are asked
(`substitute_bars`).

Most writes need no more than a few bars before. What follows, and the past from which thresholds are made, is read for
those instruments alone whose bars step far, pay something or have no volume.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from financehub_dagster.market.bar_arrays import DAILY_VALUES
from financehub_dagster.storage.database.engine import Connection
from financehub_dagster.storage.queries import history, neighbours

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from financehub_dagster.market.quality.series_arrays import Series


@dataclass(frozen=True)
class _Asked:
    """Bars to be judged: the place of each one's symbol in `symbols`, and arrays of shape (bars,)."""

    symbols: "pd.Index[Any]"
    place: "NDArray[np.intp]"
    day: "NDArray[np.datetime64]"
    columns: "Mapping[str, NDArray[np.float64]]"

    def spans(self) -> dict[str, tuple[date, date]]:
        """The first and last session of each symbol, in the order of `symbols`."""
        import numpy as np

        days = self.day.astype(np.int64)
        first, last = np.full(len(self.symbols), days.max()), np.full(len(self.symbols), days.min())
        np.minimum.at(first, self.place, days)
        np.maximum.at(last, self.place, days)
        starts, ends = (each.astype("datetime64[D]").tolist() for each in (first, last))
        return dict(zip(self.symbols, zip(starts, ends, strict=True), strict=True))

    def of(self, which: "NDArray[np.bool_]") -> "tuple[_Asked, NDArray[np.intp]]":
        """The bars of those symbols, and where they stand among all."""
        import numpy as np

        rows = np.flatnonzero(which[self.place])
        place = (np.cumsum(which) - 1)[self.place[rows]]
        columns = {name: values[rows] for name, values in self.columns.items()}
        return _Asked(self.symbols[which], place, self.day[rows], columns), rows


def with_flags(
    connection: Connection, table: str, rows: "pd.DataFrame", actions: "pd.DataFrame", complete: Collection[str]
) -> "pd.DataFrame":
    """Bars of a daily table with the column `flags`: tuples of the names of the rules that each breaks.

    actions are those about to be stored beside the bars; the stored ones are read. complete: the symbols whose vendor
    reports all of their actions.
    """
    import numpy as np
    import pandas as pd

    from financehub_dagster.market.quality import doubts
    from financehub_dagster.market.quality.series_arrays import PAST

    rows = rows.reset_index(drop=True)
    if not len(rows):
        return rows.assign(flags=np.empty(0, object))
    asked = _asked(rows)
    known = _with_stored(history.actions_around(connection, asked.spans()), actions)
    near = neighbours.bars_around(connection, table, asked.spans(), doubts.FIRST_LOOK, 0)
    series, bits = _judged(asked, near, known, complete)
    past = _needing_past(asked, series, bits)
    if past.any():
        asked, chosen = asked.of(past)
        near = neighbours.bars_around(connection, table, asked.spans(), PAST + doubts.BEFORE, doubts.AFTER)
        _, bits[chosen] = _judged(asked, near, known, complete)
    nothing = np.empty(1, object)
    nothing[0] = ()
    flags = np.repeat(nothing, len(rows))
    for row in np.flatnonzero(bits).tolist():
        flags[row] = doubts.names(int(bits[row]))
    rows["flags"] = pd.Series(flags, rows.index, dtype=object)
    return rows


def _asked(rows: "pd.DataFrame") -> _Asked:
    import pandas as pd

    place, symbols = pd.factorize(pd.Index(rows["symbol"]))
    columns = {name: rows[name].to_numpy("float64") for name in DAILY_VALUES}
    return _Asked(symbols.astype(object), place, rows["date"].to_numpy().astype("datetime64[D]"), columns)


def _judged(
    asked: _Asked, near: neighbours.Around, actions: "pd.DataFrame", complete: Collection[str]
) -> "tuple[Series, NDArray[np.uint32]]":
    """The bars with those around them as a series, and the rules that each of the bars asked about breaks."""
    import numpy as np

    from financehub_dagster.market.quality import doubts, series_arrays

    columns = {name: np.concatenate([asked.columns[name], near.columns[name]]) for name in DAILY_VALUES}
    place, date = np.concatenate([asked.place, near.place]), np.concatenate([asked.day, near.date])
    series = series_arrays.arrange_arrays(asked.symbols, place, date, columns, actions, set(complete))
    found = np.zeros(len(series), np.uint32)
    found[series.rows()] = doubts.judge(series)
    return series, found[: len(asked.place)]


def _needing_past(asked: _Asked, series: "Series", bits: "NDArray[np.uint32]") -> "NDArray[np.bool_]":
    """Which symbols' judgement depends on more of their past than is there."""
    import numpy as np

    depends = np.zeros(len(series), np.bool_)
    depends[series.rows()] = series.depends_on_past
    needing = np.zeros(len(asked.symbols), np.bool_)
    needing[asked.place[depends[: len(asked.place)] | (bits > 0)]] = True
    needing[series.code[series.large]] = True
    return needing


def _with_stored(stored: "pd.DataFrame", told: "pd.DataFrame") -> "pd.DataFrame":
    """Actions about to be stored, and the stored ones that they do not replace."""
    import pandas as pd

    names = ["symbol", "date", "kind", "value"]
    frames = [frame[names].astype({"date": "datetime64[s]"}) for frame in (told, stored) if len(frame)]
    if not frames:
        return stored
    return pd.concat(frames, ignore_index=True).drop_duplicates(["symbol", "date", "kind"], ignore_index=True)
