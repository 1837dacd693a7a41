"""Asking one vendor about an instrument before it joins the universe.

Belongs here: whether the first vendor of the order knows it, in the unit and currency that it is added with. Does not
belong here: storing instruments or bars.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from financehub_dagster.gateway.deadline import deadline
from financehub_dagster.gateway.errors import BadRequest, ProviderError, UnknownSymbol
from financehub_dagster.market.instruments import Instrument
from financehub_dagster.providers import listings
from financehub_dagster.providers.routing import DailyBarsRouter

DAYS = timedelta(days=21)
"""How far back bars are asked for: longer than any exchange closes."""
SECONDS = 10.0
"""How long a person waits for a vendor that does not answer."""


@dataclass(frozen=True, slots=True)
class Introduction:
    """What the vendor `source` has of an instrument, under its own `symbol`: the newest bar and its close, if any.

    unanswered: why nobody could say; refused: the vendor does not know it so.
    """

    source: str | None = None
    symbol: str | None = None
    newest: date | None = None
    close: float | None = None
    unanswered: str | None = None
    refused: str | None = None


def introduce(instrument: Instrument, router: DailyBarsRouter | None = None) -> Introduction:
    """Ask the first vendor that answers for the last bars of an instrument that is not stored yet."""
    end = datetime.now(UTC).date()
    try:
        with deadline(SECONDS):
            answer = (router or DailyBarsRouter()).daily_bars(instrument, end - DAYS, end)
    except (UnknownSymbol, BadRequest) as error:
        return Introduction(refused=str(error))
    except ProviderError as error:
        return Introduction(unanswered=str(error))
    name = listings.symbol_at(answer.source, instrument)
    if not len(answer.bars):
        problem = f"{answer.source} knows {name}, and has no bar of the last {DAYS.days} days"
        return Introduction(answer.source, name, refused=f"{problem}: check the symbol, or whether it is delisted")
    last = answer.bars.iloc[-1]
    return Introduction(answer.source, name, last["date"].date(), float(last["close"]))
