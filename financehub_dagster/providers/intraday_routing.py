"""Which vendors are asked for the bars within days, in which order, and how many instruments at once.

Belongs here: the orders, as configuration that the webserver shows, and asking along them. Does not belong here: what
orders of any kind have in common (`routing`), when the next vendor is asked (gateway.failover), or anything of one
vendor.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from financehub_dagster.market.instruments import Instrument
from financehub_dagster.providers import former_names
from financehub_dagster.providers.base import IntradayAnswers, IntradayBars
from financehub_dagster.providers.reading import in_turn
from financehub_dagster.providers.routing import BarsRouter

if TYPE_CHECKING:
    from financehub_dagster.gateway.errors import ProviderError


class IntradayRouter(BarsRouter):
    """Bars of 1, 5, 15 or 60 minutes."""

    capability: ClassVar[str] = "intraday_bars"

    fx: list[str] = Field(
        default=["yahoo", "twelve_data"], description="Providers of bars of currency pairs, in order."
    )

    def batches(self, instruments: Sequence[Instrument]) -> list[list[Instrument]]:
        """The instruments in groups that cost the fewest requests when each group is asked for together.

        A vendor without requests for several instruments, or one that is off, makes groups of one.
        """
        groups: list[list[Instrument]] = []
        by_first = sorted(instruments, key=self._first_asked)
        for name, members in groupby(by_first, key=self._first_asked):
            listed, vendor = list(members), self._bound().get(name)
            size = vendor.batch_size() if vendor is not None and hasattr(vendor, "intraday_batch") else 1
            groups += [listed[start : start + size] for start in range(0, len(listed), size)]
        return groups

    def intraday_bars(
        self, instruments: Sequence[Instrument], interval: int, start: datetime, end: datetime
    ) -> IntradayAnswers:
        """Finished bars of `interval` minutes that open in [start, end), of each instrument; raises nothing.

        An instrument whose providers are all without a key has NotConfigured for a reason. Several threads may ask at
        once.
        """
        parts, failed = self.in_turn(instruments, partial(_ask, interval=interval, start=start, end=end))
        return IntradayAnswers({symbol: bars for part in parts for symbol, bars in part.answers.items()}, failed)

    def _first_asked(self, instrument: Instrument) -> str:
        return next(iter(self.askable(instrument)), "")


def _ask(
    provider: Any, instruments: Sequence[Instrument], interval: int, start: datetime, end: datetime
) -> IntradayAnswers:
    """One provider's answers: of several instruments in one request where it has such, else one after another.

    What would hit the next instrument too (a limit, a key, no connection) ends the asking.
    """
    if len(instruments) > 1 and hasattr(provider, "intraday_batch"):
        together: IntradayAnswers = provider.intraday_batch(instruments, interval, start, end)
        return together
    failed: dict[str, ProviderError] = {}

    def ask(of: Instrument) -> IntradayBars:
        return former_names.intraday_bars(provider, of, interval, start, end)

    found = {bars.symbol: bars for bars in in_turn((([each], each) for each in instruments), ask, failed)}
    return IntradayAnswers(found, failed)
