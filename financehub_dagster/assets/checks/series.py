"""The checks of how bars follow each other, and of days on which there is nothing to trade.

Belongs here: one function per check from the rows a run covered, and the last row before them, to a finding. Does not
belong here: what makes a step suspicious (market.quality), the checks of single bars (`bars`). All of them warn.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from financehub_dagster.assets.checks.bars import SHOWN, Check, Evidence, Finding, finding
from financehub_dagster.market.instruments import Instrument

if TYPE_CHECKING:
    import pandas as pd


def _steps(evidence: Evidence) -> "pd.DataFrame":
    """Each bar that has one before it, the first ones of the evidence too."""
    import pandas as pd

    from financehub_dagster.market.quality import series

    columns, whole_days = ["symbol", "date", "close"], {"date": "datetime64[s]"}
    frames = [frame[columns].astype(whole_days) for frame in (evidence.before, evidence.rows) if len(frame)]
    return series.steps(pd.concat(frames, ignore_index=True) if frames else evidence.rows[columns].astype(whole_days))


def _units(evidence: Evidence) -> Finding:
    from financehub_dagster.market.quality import series

    steps = _steps(evidence)
    return _finding(
        len(steps), steps[series.unit_steps(steps)], "closes differ from the one before by about 100 or 1,000 times"
    )


def _securities(evidence: Evidence) -> Finding:
    from financehub_dagster.market.quality import series

    steps = _steps(evidence)
    return _finding(
        len(steps),
        steps[series.other_security_steps(steps)],
        "closes differ by more than 50 times from the one before a pause",
    )


def _splits(evidence: Evidence) -> Finding:
    import pandas as pd

    from financehub_dagster.market.quality import series
    from financehub_dagster.storage.queries import checks

    # A split that took effect after the last bar before the window shows in the first bar of it.
    steps, days = _steps(evidence), evidence.window
    since = None if days is None or not len(steps) else min(days[0], steps["previous_date"].min().date())
    until = None if days is None else days[1]
    splits = checks.splits(evidence.connection, evidence.symbols, since, until)
    found = series.split_steps(steps, splits)
    # Prices that a vendor has not adjusted are adjusted before they are stored; a person should know of them.
    served = checks.splits_not_applied(evidence.connection, evidence.symbols, since, until)
    found = pd.concat([found, served], ignore_index=True) if len(served) else found
    return _finding(len(splits), found, "splits show in the prices as a step", ("ratio",))


def _sessions(evidence: Evidence) -> Finding:
    import numpy as np

    from financehub_dagster.market import calendars

    bars = evidence.rows.sort_values(["symbol", "date"], ignore_index=True)
    days = bars["date"].to_numpy("datetime64[D]")
    stray = np.zeros(len(bars), np.bool_)
    for instrument, symbols in _by_calendar(evidence.members):
        own = bars["symbol"].isin(symbols).to_numpy(bool)
        if own.any():
            first, end = days[own].min().item(), min(days[own].max().item(), calendars.known_to(instrument))
            sessions = calendars.known(instrument, first, end).dates
            stray |= own & (days <= np.datetime64(end)) & ~np.isin(days, sessions)
    return _finding(len(bars), bars[stray], "bars are of days without session", ("volume",))


def _by_calendar(instruments: Sequence[Instrument]) -> Iterator[tuple[Instrument, list[str]]]:
    """One instrument of each calendar, and the symbols of all of them."""
    from financehub_dagster.market.calendars import numbers_by_market

    groups = ([instruments[number] for number in numbers] for numbers in numbers_by_market(instruments).values())
    return ((group[0], [each.symbol for each in group]) for group in groups)


def _finding(examined: int, found: "pd.DataFrame", what: str, more: Sequence[str] = ()) -> Finding:
    names = [name for name in ("symbol", "date", "close", "previous_date", "previous_close", *more) if name in found]
    rows = [
        {
            name: str(value)[:10] if name in ("date", "previous_date") else value
            for name, value in zip(names, row, strict=True)
        }
        for row in found[names].head(SHOWN).itertuples(index=False)
    ]
    return finding(examined, len(found), what, rows)


ONE_UNIT = Check(
    "one_unit",
    "No close is about 100 or 1,000 times the one before, or a part of it: pounds among pence, dollars among cents.",
    _units,
    by="rows",
)
ONE_SECURITY = Check(
    "one_security",
    "No close after a pause of 5 days is more than 50 times the one before, or a part of it: a symbol given anew.",
    _securities,
    by="rows",
)
SPLITS_APPLIED = Check(
    "splits_applied",
    "No split shows in the closes as a step by its ratio, stored or as the vendor serves them: prices before it are"
    " adjusted, and once.",
    _splits,
    by="rows",
)
IN_SESSION = Check(
    "in_session",
    "No bar is of a day on which the instrument's exchange has no session, as far as that is known.",
    _sessions,
    by="rows",
)
