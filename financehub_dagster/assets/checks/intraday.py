"""Checks of bars within the day: each opens where a bar of its table does, and was stored once it was over.

Belongs here: judging rows by trading hours. Does not belong here: which minutes are missing (the ledger), and reading
rows (`evidence`). Imports numpy inside functions.
"""

from typing import TYPE_CHECKING

from financehub_dagster.assets.checks.bars import SHOWN, Check, Evidence, Finding, finding
from financehub_dagster.tables import TABLES

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

UNKNOWN, RIGHT, MISPLACED, EARLY = range(4)
"""What a bar may be: of an unknown instrument, as it should be, not one of its table's, fetched before its end."""
_WORDS = {MISPLACED: "no bar of this length opens then", EARLY: "fetched before it was over"}


def _final_bars(evidence: Evidence) -> Finding:
    frame = evidence.rows
    if frame.empty:
        return finding(0, 0, "bars", [])
    verdicts = _judge(frame, evidence)
    wrong = frame[verdicts > RIGHT]
    rows = [
        {
            "symbol": symbol,
            "ts": f"{ts:%Y-%m-%d %H:%M}",
            "reason": _WORDS[int(verdict)],
            "fetched_at": f"{fetched:%F %T}",
        }
        for symbol, ts, fetched, verdict in zip(
            wrong["symbol"].head(SHOWN), wrong["ts"], wrong["fetched_at"], verdicts[verdicts > RIGHT], strict=False
        )
    ]
    return finding(int((verdicts != UNKNOWN).sum()), len(wrong), "bars were stored early or out of place", rows)


def _judge(frame: "pd.DataFrame", evidence: Evidence) -> "np.ndarray":
    """One verdict for each row; bars of instruments that are not among the members are not judged."""
    import numpy as np
    import pandas as pd

    from financehub_dagster.market.intraday.resampling import bar_opening
    from financehub_dagster.market.intraday.trading_hours import by_market
    from financehub_dagster.providers.intraday import CLOCK_TOLERANCE

    length = TABLES[evidence.table].bar_minutes
    present = set(frame["symbol"].unique())
    members = [each for each in evidence.members if each.symbol in present]
    numbers = pd.Index([each.symbol for each in members]).get_indexer(pd.Index(frame["symbol"]))
    opens, fetched = (frame[name].dt.tz_convert(None).to_numpy("datetime64[s]") for name in ("ts", "fetched_at"))
    verdicts = np.full(len(frame), UNKNOWN, np.int8)
    for hours, own in by_market(members, assume=True) if members else ():
        mine = np.flatnonzero(np.isin(numbers, own))
        right = mine[bar_opening(hours, opens[mine], length) == opens[mine]]
        ends = np.minimum(opens[right] + np.timedelta64(length * 60, "s"), hours.stops[hours.interval_of(opens[right])])
        verdicts[mine] = MISPLACED
        early = fetched[right] + np.timedelta64(int(CLOCK_TOLERANCE), "s") < ends
        verdicts[right] = np.where(early, EARLY, RIGHT)
    return verdicts


FINAL_BARS = Check(
    "final_bars",
    "Each bar opens at an instant at which a bar of this table opens, within trading hours, and was fetched once it was"
    " over; a minute is allowed for clocks that differ.",
    _final_bars,
    by="rows",
    audited=True,
)
