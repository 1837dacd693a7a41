"""Closes and exchange rates by day, as the journal looks them up.

Belongs here: the last close until a day, and rates made of currency pairs. Does not belong here: reading them.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import NamedTuple

OLDEST_RATE = timedelta(days=7)
"""Currencies trade on every weekday: an older rate is one that is missing."""
_FIRST_BETWEEN = "USD"


class Close(NamedTuple):
    """A close and its session."""

    price: float
    session: date


@dataclass(frozen=True, slots=True)
class Closes:
    """The closes of one instrument, in the order of their sessions."""

    days: Sequence[date] = ()
    prices: Sequence[float] = ()

    def until(self, day: date) -> Close | None:
        """The last close on or before `day`."""
        place = bisect_right(self.days, day)
        return Close(self.prices[place - 1], self.days[place - 1]) if place else None


@dataclass(frozen=True, slots=True)
class Rates:
    """Exchange rates from the closes of pairs: (EUR, USD) has the dollars that a euro costs."""

    pairs: Mapping[tuple[str, str], Closes] = field(default_factory=dict)

    def at(self, currency: str, into: str, day: date) -> float | None:
        """Units of `into` for one of `currency` at the close of `day`; None where no pairs lead there.

        Directly, the other way round, or by way of one other currency: the dollar first, then in alphabetical order.
        """
        direct = self._of(currency, into, day)
        if direct is not None:
            return direct
        for between in self._between():
            first, second = self._of(currency, between, day), self._of(between, into, day)
            if first is not None and second is not None:
                return first * second
        return None

    def _of(self, currency: str, into: str, day: date) -> float | None:
        if currency == into:
            return 1.0
        rate = self._fresh(self.pairs.get((currency, into)), day)
        if rate is not None:
            return rate
        inverse = self._fresh(self.pairs.get((into, currency)), day)
        return 1 / inverse if inverse else None

    @staticmethod
    def _fresh(closes: Closes | None, day: date) -> float | None:
        found = None if closes is None else closes.until(day)
        return found.price if found is not None and day - found.session <= OLDEST_RATE else None

    def _between(self) -> Iterable[str]:
        return sorted({name for pair in self.pairs for name in pair}, key=lambda name: (name != _FIRST_BETWEEN, name))


def pair_of(symbol: str, quoted: str) -> tuple[str, str] | None:
    """The currencies of a pair quoted in `quoted`: (EUR, USD) of EURUSD, EUR/USD and EURUSD=X; None if unclear."""
    letters = symbol.upper().removesuffix("=X").replace("/", "")
    if len(letters) == 6 and letters.isalpha() and letters.endswith(quoted):
        return letters[:3], quoted
    return ("USD", quoted) if letters == quoted != "USD" and symbol.endswith("=X") else None
