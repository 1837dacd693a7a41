"""Which of the bars that are about to be written are doubtful, judged among the stored ones around them.

Belongs here: what bars are judged with, and their column `flags`. Does not belong here: the rules
(market.quality.doubts), and bars that are doubtful for their own range, for which the next vendors are asked
(`substitute_bars`).

Most writes need no more than the neighbours. The past from which thresholds are made is read for those instruments
alone whose bars step far, pay something or have no volume.
"""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from financehub_dagster.storage.database.engine import Connection
from financehub_dagster.storage.queries import history, neighbours

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from financehub_dagster.market.quality.series_arrays import Series


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
    days = rows.groupby("symbol")["date"].agg(["min", "max"])
    spans = {
        str(symbol): (first.date(), last.date())
        for symbol, first, last in zip(days.index, days["min"], days["max"], strict=True)
    }
    known = _with_stored(history.actions_around(connection, spans), actions)
    near = neighbours.bars_around(connection, table, spans, doubts.BEFORE, doubts.AFTER)
    series, bits = _judged(rows, near, known, complete)
    past = _needing_past(rows, near, series, bits)
    if past:
        spans = {symbol: spans[symbol] for symbol in past}
        near = neighbours.bars_around(connection, table, spans, PAST + doubts.BEFORE, doubts.AFTER)
        chosen = np.flatnonzero(rows["symbol"].isin(past).to_numpy(bool))
        _, bits[chosen] = _judged(rows.iloc[chosen], near, known, complete)
    nothing = np.empty(1, object)
    nothing[0] = ()
    flags = np.repeat(nothing, len(rows))
    for row in np.flatnonzero(bits).tolist():
        flags[row] = doubts.names(int(bits[row]))
    return rows.assign(flags=pd.Series(flags, rows.index, dtype=object))


def _judged(
    rows: "pd.DataFrame", near: "pd.DataFrame", actions: "pd.DataFrame", complete: Collection[str]
) -> "tuple[Series, NDArray[np.uint32]]":
    """The bars with those around them as a series, and the rules that each of `rows` breaks."""
    import numpy as np
    import pandas as pd

    from financehub_dagster.market.quality import doubts, series_arrays

    names = ["symbol", "date", *neighbours.COLUMNS]
    frames = [frame[names].astype({"date": "datetime64[s]"}) for frame in (rows, near) if len(frame)]
    series = series_arrays.arrange(pd.concat(frames, ignore_index=True), actions, set(complete))
    found = np.zeros(len(series), np.uint32)
    found[series.rows()] = doubts.judge(series)
    return series, found[: len(rows)]


def _needing_past(
    rows: "pd.DataFrame", near: "pd.DataFrame", series: "Series", bits: "NDArray[np.uint32]"
) -> Sequence[str]:
    """The symbols whose judgement depends on more of their past than is there."""
    import numpy as np
    import pandas as pd

    depends = np.zeros(len(series), np.bool_)
    depends[series.rows()] = series.depends_on_past
    symbols = pd.concat([rows["symbol"], near["symbol"]], ignore_index=True)
    return sorted({str(each) for each in symbols[depends].unique()} | {str(each) for each in rows["symbol"][bits > 0]})


def _with_stored(stored: "pd.DataFrame", told: "pd.DataFrame") -> "pd.DataFrame":
    """Actions about to be stored, and the stored ones that they do not replace."""
    import pandas as pd

    names = ["symbol", "date", "kind", "value"]
    frames = [frame[names].astype({"date": "datetime64[s]"}) for frame in (told, stored) if len(frame)]
    if not frames:
        return stored
    return pd.concat(frames, ignore_index=True).drop_duplicates(["symbol", "date", "kind"], ignore_index=True)
