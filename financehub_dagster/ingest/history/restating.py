"""When a vendor's prices stand on another basis than the stored ones, and what is stored then.

Belongs here: telling that a split or dividend moved the vendor's history, asking for the whole of it, and bringing rows
that the answer lacks to the new basis. Does not belong here: the arithmetic (market.adjustments), SQL, and actions or
bars that a vendor no longer tells (`taking_back`).

The stored sessions at the edges of an answer tell: where their adjusted close or close differs, everything before them
moved too. The whole stored history is then asked for in one call more, and written in one transaction. Nothing is
written while that call has not come back, so that readers see the old basis or the new one, never both.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, timedelta
from math import isclose, isnan, nan
from typing import TYPE_CHECKING, NamedTuple

from financehub_dagster.gateway.errors import Transient
from financehub_dagster.market.instruments import Instrument
from financehub_dagster.providers.base import DailyBars
from financehub_dagster.providers.routing import DailyBarsRouter
from financehub_dagster.storage.database.engine import Connection, transaction
from financehub_dagster.storage.queries import history, sources
from financehub_dagster.storage.queries.history import Session, Surroundings

if TYPE_CHECKING:
    import pandas as pd

    from financehub_dagster.market.adjustments import Applied

NEAR = timedelta(days=14)
"""How far a stored session may be from what is asked for to be asked for along with it: longer than any exchange closes
(Shanghai, 11 days in 2020), so that the months of a history overlap."""
SAME_FACTOR_OF_OTHERS = 1e-3
"""Two vendors' ratios of adjusted close to close that differ by less stand on one basis: each rounds its own."""


class Span(NamedTuple):
    """What is asked of vendors: sessions `start` to `end` are stored, `first` to `last` are asked for.

    The sessions more are stored ones, which show whether the basis moved.
    """

    start: date
    end: date
    first: date
    last: date


@dataclass(frozen=True)
class Reading:
    """A vendor's answer as it is to be stored.

    got: its sessions of the span, or of the whole stored history when `whole`; seen: all that it sent, with what was
    only asked for to compare. start and end are those of `got`. moved names what moved the basis (split, dividend).
    owner: the vendor's rows may replace all that is stored. applied: splits that were taken out here. twice: rows of
    actions that tell of a split again.
    """

    got: DailyBars
    seen: DailyBars
    start: date
    end: date
    owner: bool
    twice: "pd.DataFrame"
    whole: bool = False
    moved: frozenset[str] = frozenset()
    applied: "Sequence[Applied]" = ()


def widened(connection: Connection, table: str, spans: Mapping[str, tuple[date, date]]) -> dict[str, Span]:
    """The spans to store, and to ask for: on to the nearest stored session on either side that is NEAR."""
    near = history.surroundings(connection, table, spans)
    found = {}
    for symbol, (start, end) in spans.items():
        before, after = near[symbol].before, near[symbol].after
        first = before.date if before is not None and start - before.date <= NEAR else start
        last = after.date if after is not None and after.date - end <= NEAR else end
        found[symbol] = Span(start, end, first, last)
    return found


def read(
    table: str,
    router: DailyBarsRouter,
    instrument: Instrument,
    span: Span,
    known: Surroundings,
    ask: Callable[[date, date], DailyBars],
    *,
    stale: bool = False,
) -> Reading:
    """Ask for a span, and once more for the whole stored history where the basis moved; raises ProviderError.

    known is what is stored around the sessions asked for; stale: it is known to stand on several bases.
    """
    first = _adjusted(ask(span.first, span.last), span)
    if not _is_owner(table, router, instrument, first.got):
        return _beside_others(table, router, instrument, first, known)
    with transaction() as connection:
        causes = why_restate(connection, known, first.seen)
        causes = frozenset({"dividend"}) if stale and causes is None else causes
        whole = history.stored_spans(connection, table, [instrument.symbol]) if causes is not None else {}
    if causes is None or instrument.symbol not in whole:
        return first
    stored = whole[instrument.symbol]
    if span.start <= stored[0] and stored[1] <= span.end:
        return replace(first, whole=True)
    start, end = min(stored[0], span.start), max(stored[1], span.end)
    again = ask(start, end)
    if again.source != first.got.source:
        problem = f"did not tell the whole history after {' and '.join(sorted(causes)) or 'a change'}; ask again"
        raise Transient(first.got.source, problem, symbol=instrument.symbol)
    second = _adjusted(again, Span(start, end, start, end))
    return replace(second, whole=True, moved=causes)


def _adjusted(answer: DailyBars, span: Span) -> Reading:
    """An answer with the splits taken out that its prices show not to be, cut to what is to be stored."""
    from financehub_dagster.market import adjustments

    found = adjustments.with_splits_applied(answer.bars, answer.actions)
    seen = replace(answer, bars=found.bars, actions=found.actions)
    got = seen
    if (span.first, span.last) != (span.start, span.end):
        import pandas as pd

        days = found.bars["date"]
        inside = (days >= pd.Timestamp(span.start)) & (days <= pd.Timestamp(span.end))
        got = replace(seen, bars=found.bars[inside].reset_index(drop=True))
    return Reading(got, seen, span.start, span.end, owner=True, applied=found.applied, twice=found.twice)


def why_restate(connection: Connection, known: Surroundings, seen: DailyBars) -> frozenset[str] | None:
    """What shows that sessions outside of an answer stand on another basis than it; None when nothing does.

    Where no session is both stored and in the answer, news of an action counts, and that the sessions outside were
    asked for on an earlier day: then nobody knows what happened in between. News counts as well where a session cannot
    tell: its adjusted close is not known any more, or it is not older than the action.
    """
    if not len(seen.bars):
        return None
    causes: frozenset[str] = frozenset()
    today, is_old = seen.fetched_at.astimezone(UTC).date(), False
    news_until: date | None = None
    for edge, beyond in ((known.first, known.before), (known.last, known.after)):
        if beyond is None:
            continue
        found = _compared(edge, seen)
        if found is None:
            is_old |= beyond.fetched_at.astimezone(UTC).date() < today
        else:
            causes |= found.causes
        if beyond is known.before:
            news_until = date.max if found is None or found.unknown else found.day
    if causes or not seen.all_actions:
        return causes or None
    news = frozenset() if news_until is None else _news(connection, seen, news_until)
    return news if news or is_old else None


class _Compared(NamedTuple):
    """A session that is stored and in an answer: what moved the basis, and is its adjusted close unknown now?"""

    day: date
    causes: frozenset[str]
    unknown: bool


def anchor(known: Surroundings, seen: DailyBars) -> date | None:
    """The first session that shows whether what is stored before an answer stands on its basis."""
    found = _compared(known.first, seen)
    return None if found is None else found.day


def _compared(edge: Sequence[Session], seen: DailyBars, **tolerance: float) -> _Compared | None:
    """The first session of `edge` that the answer has and its vendor sent, on both bases; None without one."""
    from financehub_dagster.market import adjustments

    for session in edge:
        found = _at(seen, session.date)
        if session.source == seen.source and found is not None:
            move = adjustments.moved((session.close, session.adj_close), found, **tolerance)
            causes = frozenset(name for name, is_so in (("split", move.prices), ("dividend", move.factor)) if is_so)
            return _Compared(session.date, causes, isnan(found[1]) and not isnan(session.adj_close))
    return None


def _at(seen: DailyBars, day: date) -> tuple[float, float] | None:
    """Close and adjusted close of a session of an answer that has a price for it."""
    import numpy as np

    days = seen.bars["date"].to_numpy()
    at = int(np.searchsorted(days, np.datetime64(day).astype(days.dtype)))
    if at == len(days) or days[at] != np.datetime64(day).astype(days.dtype):
        return None
    close = float(seen.bars["close"].iloc[at])
    adjusted = float(seen.bars["adj_close"].iloc[at])
    return (close, adjusted if adjusted > 0 else nan) if close > 0 else None


def _news(connection: Connection, seen: DailyBars, until: date) -> frozenset[str]:
    """The kinds of actions until a day that this vendor tells otherwise than it did, for as far as its bars reach."""
    first, last = (seen.bars["date"].iloc[place].date() for place in (0, -1))
    last = min(last, until)
    if until < date.max and not (seen.actions["date"].dt.date <= until).any():
        return frozenset()
    stored = history.stored_actions(connection, seen.symbol, first, last, seen.source)
    told = {
        (day, str(kind)): float(value)
        for day, kind, value in zip(
            seen.actions["date"].dt.date, seen.actions["kind"], seen.actions["value"], strict=True
        )
        if first <= day <= last and value > 0
    }
    changed = [
        key
        for key in stored.keys() | told.keys()
        if not isclose(stored.get(key, nan), told.get(key, nan), rel_tol=1e-9)
    ]
    return frozenset("split" if kind == "split" else "dividend" for _, kind in changed)


def carried_over(
    connection: Connection, table: str, reading: Reading, known: Surroundings, good: "pd.DataFrame"
) -> "pd.DataFrame | None":
    """Stored rows that an answer on another basis lacks, brought to its basis; None when there are none.

    good are the bars of the answer that are about to be written, known is what is stored around them.
    """
    compared = [_compared(edge, reading.got) for edge in (known.first, known.last)]
    if not len(good) or not frozenset().union(reading.moved, *(each.causes for each in compared if each is not None)):
        return None
    import numpy as np
    import pandas as pd

    from financehub_dagster.market import adjustments

    stored = history.rows_of(connection, table, reading.got.symbol).astype({"date": good["date"].dtype})
    both = stored.merge(good[["date", "close", "adj_close"]], on="date", how="left", suffixes=("", "_now"))
    lacking = both["close_now"].isna().to_numpy()
    if not lacking.any():
        return None
    paired = ~lacking & (both["source"] == reading.got.source).to_numpy()
    days = both["date"].to_numpy().astype("datetime64[D]")
    events = np.unique(reading.got.actions["date"].to_numpy().astype("datetime64[D]"))
    stretch = np.searchsorted(events, days[lacking], side="right")
    prices, adjusted = (
        adjustments.ratios_by_stretch(
            events, days[paired], (both[f"{name}_now"] / both[name]).to_numpy(np.float64)[paired]
        )[stretch]
        for name in ("close", "adj_close")
    )
    prices = np.where(np.abs(prices - 1) > adjustments.SAME_PRICE, prices, 1.0)
    rows = stored[lacking].reset_index(drop=True)
    known_now = bool(good["adj_close"].notna().any())
    rows = rows.assign(
        **{name: rows[name] * prices for name in ("open", "high", "low", "close")},
        adj_close=rows["adj_close"] * adjusted if known_now else np.nan,
        volume=rows["volume"] / prices,
    )
    return rows.assign(fetched_at=pd.to_datetime(rows["fetched_at"], utc=True))


def _is_owner(table: str, router: DailyBarsRouter, instrument: Instrument, got: DailyBars) -> bool:
    """Is nothing stored that this vendor may not replace?"""
    earlier = router.earlier_than(instrument, got.source)
    if not earlier:
        return True
    with transaction() as connection:
        return not sources.has_rows_before(connection, table, instrument.symbol, earlier, date.max)


def _beside_others(
    table: str, router: DailyBarsRouter, instrument: Instrument, reading: Reading, known: Surroundings
) -> Reading:
    """What a fallback vendor may add to the rows of an earlier one.

    A new split that would restate those is refused: stored as known, it would never have them asked for again. Adjusted
    closes are left out unless a common session shows that they stand on the basis of the stored ones.
    """
    import numpy as np

    got, earlier = reading.got, router.earlier_than(instrument, reading.got.source)
    splits = _splits(got)
    if splits:
        with transaction() as connection:
            stored = history.stored_actions(connection, instrument.symbol, min(splits), max(splits))
            new = splits - {day for day, kind in stored if kind == "split"}
            kept = new and sources.has_rows_before(connection, table, instrument.symbol, earlier, max(new))
        if kept:
            problem = f"tells of a new split, and the stored history has to come anew from {' or '.join(earlier)}"
            raise Transient(got.source, problem, symbol=instrument.symbol)
    theirs = [each for each in (*known.first, *known.last) if each.source in earlier]
    for session in theirs:
        seen = replace(reading.seen, source=session.source)
        found = _compared([session], seen, tolerance=SAME_FACTOR_OF_OTHERS)
        if found is not None and "dividend" not in found.causes:
            return replace(reading, owner=False)
    return replace(reading, owner=False, got=replace(got, bars=got.bars.assign(adj_close=np.nan)))


def _splits(got: DailyBars) -> set[date]:
    is_split = got.actions["kind"].to_numpy() == "split"
    return set(got.actions.loc[is_split, "date"].dt.date) if is_split.any() else set()
