"""Bars that break a rule, and better ones from the next vendors.

Belongs here: judging one vendor's answer, asking the next vendors for the sessions in question, and deciding whose bar
is kept. Does not belong here: the rules (market.quality), who is asked in which order (providers.routing), and writing.

A bar in doubt is kept where nobody has a better one, since a hole is worse. An impossible one never is. Vendors are
asked once: not again for a session that is stored, nor before an empty answer is due to be asked about again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import partial
from typing import TYPE_CHECKING

from financehub_dagster.gateway.errors import ProviderError
from financehub_dagster.ingest import agreement
from financehub_dagster.market.instruments import Instrument
from financehub_dagster.providers.base import DailyBars
from financehub_dagster.providers.routing import DailyBarsRouter
from financehub_dagster.storage.database.engine import transaction
from financehub_dagster.storage.queries import sources
from financehub_dagster.tables import TABLES

if TYPE_CHECKING:
    import pandas as pd

NEIGHBOUR = 0.5
"""How far the close of another vendor's bar may be from the nearest close that is not in question. Daily moves of half
the price are rare, and a bar that is refused leaves a gap that is asked for again; other units are 100 times off."""


@dataclass(frozen=True)
class Judged:
    """What is kept of one vendor's answer, and other vendors' bars in place of those that break a rule.

    kept still has the impossible bars, which no table accepts. passed_over: bars in doubt that are not kept, since
    another vendor has a better one, with their `rule`.
    """

    kept: DailyBars
    others: Sequence[DailyBars]
    passed_over: "pd.DataFrame"


def judge(table: str, router: DailyBarsRouter, instrument: Instrument, got: DailyBars, *, anew: bool = False) -> Judged:
    """Tell which bars of `got` are kept, asking the next vendors for those that break a rule.

    anew: the whole history is replaced, so that what is stored of a session is no answer. Asks vendors: call it outside
    of transactions.
    """
    from financehub_dagster.market.quality import acceptance, bar_rules

    if bar_rules.all_kept(lambda name: got.bars[name].to_numpy("float64"), (*bar_rules.RULES, *bar_rules.DOUBTS)):
        return Judged(got, (), got.bars.iloc[:0])
    possible, rejected, _ = acceptance.judge(TABLES[table].limits, TABLES[table].rules, got.bars)
    sure, doubtful = bar_rules.judge(possible, bar_rules.DOUBTS)
    in_doubt, impossible = _dates(doubtful), _dates(rejected)
    with transaction() as connection:
        known = sources.known_sessions(connection, table, got.symbol, [*in_doubt, *impossible], datetime.now(UTC))
    if anew:
        known = {}
    # Where the whole history comes anew, what is stored may be on the basis before a split.
    agrees = None if anew else partial(agreement.require_bars, table, router, instrument)
    ask = partial(router.daily_bars, instrument, require=agrees)
    wanted = {day for day in (*in_doubt, *impossible) if day not in known}
    others = _ask(router, instrument, ask, got.source, wanted, _references(sure, doubtful, rejected))
    others = [replace(other, bars=_adjusted_like(other.bars, doubtful)) for other in others]
    replaced = {day for other in others for day in _dates(other.bars)}
    # A stored bar of another vendor has taken the place of this one before.
    replaced |= {day for day in in_doubt if known.get(day, got.source) not in (got.source, None)}
    passed_over = doubtful[doubtful["date"].dt.date.isin(replaced).to_numpy(bool)]
    kept = got.bars.drop(index=passed_over.index).reset_index(drop=True)
    return Judged(replace(got, bars=kept), others, passed_over)


def _ask(
    router: DailyBarsRouter,
    instrument: Instrument,
    ask: Callable[..., DailyBars],
    after: str,
    left: set[date],
    references: Mapping[date, tuple[float, float]],
) -> list[DailyBars]:
    """The bars that the vendors after `after` have for the sessions `left`, of each those it is the first to have.

    One question per vendor, over the span of what is still left; whoever cannot answer ends the asking.
    """
    found: list[DailyBars] = []
    while left and router.asked_after(instrument, after):
        try:
            answer = ask(start=min(left), end=max(left), after=after)
        except ProviderError:
            break
        after = answer.source
        better = _better(answer.bars, left, references)
        if len(better):
            found.append(replace(answer, bars=better, actions=answer.actions.iloc[:0]))
            left = left.difference(_dates(better))
    return found


def _better(bars: "pd.DataFrame", wanted: set[date], references: Mapping[date, tuple[float, float]]) -> "pd.DataFrame":
    """Of `bars` those of the sessions wanted that keep every rule and are near the price that is known already."""
    from financehub_dagster.market.quality import bar_rules

    asked = bars[bars["date"].dt.date.isin(wanted).to_numpy(bool)]
    sure, _ = bar_rules.judge(asked, (*bar_rules.RULES, *bar_rules.DOUBTS))
    closes = [references.get(day) for day in _dates(sure)]
    near = [
        reference is None or abs(close - reference[0]) <= reference[1] * reference[0]
        for close, reference in zip(sure["close"], closes, strict=True)
    ]
    return sure[near].reset_index(drop=True)


def _adjusted_like(bars: "pd.DataFrame", doubtful: "pd.DataFrame") -> "pd.DataFrame":
    """`bars` with the first vendor's adjustment for dividends: other vendors have none, or one of another day."""
    ratios = (doubtful["adj_close"] / doubtful["close"]).set_axis(doubtful["date"])
    own = bars["date"].map(ratios) * bars["close"]
    return bars.assign(adj_close=own.where(own.notna(), bars["adj_close"]))


def _references(
    sure: "pd.DataFrame", doubtful: "pd.DataFrame", rejected: "pd.DataFrame"
) -> dict[date, tuple[float, float]]:
    """For each session in question a close that another vendor's must be near, and how near, as a share of it.

    That is the own close of a bar in doubt; of an impossible bar the nearest one that is not in question.
    """
    from financehub_dagster.market.quality.bar_rules import PLAUSIBLE

    own = {day: (float(close), PLAUSIBLE) for day, close in zip(_dates(doubtful), doubtful["close"], strict=True)}
    if not len(sure):
        return own
    nearest = {day: (sure["date"].dt.date - day).abs().idxmin() for day in _dates(rejected)}
    return own | {day: (float(sure.loc[row, "close"]), NEIGHBOUR) for day, row in nearest.items()}


def _dates(frame: "pd.DataFrame") -> list[date]:
    return list(frame["date"].dt.date)
