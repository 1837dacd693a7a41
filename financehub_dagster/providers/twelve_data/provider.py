"""Twelve Data: daily bars and quotes of stocks, ETFs, currencies and cryptos, paid in credits.

Belongs here: the resource, its limits and its questions. Does not belong here: what its answers mean
(twelve_data_wire), HTTP and frames. Source: https://twelvedata.com/docs.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial
from itertools import groupby
from typing import Any, ClassVar

from pydantic import Field

from financehub_dagster.gateway.api_keys import Auth
from financehub_dagster.gateway.errors import NotInPlan
from financehub_dagster.gateway.response import Reply
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.providers.base import ConnectionReport, DailyBars, Fundamentals, PlanUsage, Quotes
from financehub_dagster.providers.frames import FUNDAMENTALS, QUOTES, actions_table, bars_table
from financehub_dagster.providers.listings import mic_at
from financehub_dagster.providers.reading import Part, Question, Tally, Verdict, batches
from financehub_dagster.providers.rest import RestProvider
from financehub_dagster.providers.twelve_data import responses as wire
from financehub_dagster.storage.rate_limits.quotas import Quota, Reading

NAME = wire.NAME
MOST_SYMBOLS = 120
"""In one batch (twelvedata-python, README)."""
MOST_BARS = 5000
"""In one answer."""
STATISTICS_CREDITS = 50
"""What the statistics of one company cost (https://twelvedata.com/docs#statistics)."""
COMPANIES = frozenset({AssetType.STOCK})
PRICED = frozenset({AssetType.STOCK, AssetType.ETF, AssetType.FX, AssetType.CRYPTO, AssetType.INDEX})


class TwelveDataProvider(RestProvider):
    """Twelve Data counts credits per key, one per symbol: on the Basic plan 8 a minute and 800 a day."""

    name: ClassVar[str] = NAME
    address: ClassVar[str] = "https://api.twelvedata.com"
    auth: ClassVar[Auth] = Auth(header="Authorization", prefix="apikey ")
    serves: ClassVar[Mapping[str, frozenset[AssetType]]] = {
        "daily_bars": PRICED,
        "quotes": PRICED,
        "fundamentals": COMPANIES,
    }

    credits_per_minute: int = Field(default=8, ge=1, description="Most credits per minute with one key.")
    credits_per_day: int | None = Field(
        default=800, ge=1, description="Most credits per UTC day with one key; null: the plan has no such limit."
    )

    def quotas(self) -> tuple[Quota, ...]:
        """The plan's."""
        minute = Quota("minute", self.credits_per_minute, per="minute")
        return (minute,) if self.credits_per_day is None else (minute, Quota("day", self.credits_per_day, per="day"))

    def readings(self, reply: Reply) -> Sequence[Reading]:
        """The header api-credits-left, of the minute."""
        left = reply.headers.get("api-credits-left", "")
        return [Reading("minute", int(left))] if left.isdigit() else []

    def refused(self, reply: Reply, document: Any) -> Verdict:
        """Twelve Data's words."""
        return wire.refusal(reply, document)

    def daily_bars(self, instrument: Instrument, start: date, end: date) -> DailyBars:
        """Finished sessions, split-adjusted, one credit per 5,000; adj_close is not known; raises ProviderError."""
        self.check("daily_bars", instrument)
        tally = Tally()
        bars, last = [], end
        while last >= start:
            params = {
                **wire.params_of(instrument),
                "interval": "1day",
                "start_date": start.isoformat(),
                "end_date": (last + timedelta(days=1)).isoformat(),
                "outputsize": str(MOST_BARS),
                "timezone": "UTC",
                "order": "desc",
            }
            read = partial(wire.read_bars, of=instrument, first=start, last=last + timedelta(days=1))
            question = Question("/time_series", params, read, instrument.symbol)
            page = self.ask("daily_bars", question, tally)
            bars += page
            if len(page) < MOST_BARS:
                break
            last = min(bar.date for bar in page) - timedelta(days=1)
        table = bars_table(bars, instrument, start, end, tally.clock)
        return DailyBars(instrument.symbol, table, actions_table([], start, end), NAME, datetime.now(UTC), tally.calls)

    def quotes(self, instruments: Sequence[Instrument]) -> Quotes:
        """The last price of each, as many in one request as the minute's credits allow, one credit each."""

        def parts(served: Sequence[Instrument]) -> Iterable[tuple[Sequence[Instrument], Question[Part]]]:
            for _, members in groupby(sorted(served, key=_market), key=_market):
                for of in batches(members, self._batch(), wire.symbol_of):
                    first = next(iter(of.values()))
                    params = {**wire.params_of(first), "symbol": ",".join(of), "timezone": "UTC"}
                    read, symbol = partial(wire.read_quotes, of=of), first.symbol if len(of) == 1 else None
                    yield list(of.values()), Question("/quote", params, read, symbol, weight=len(of))

        return Quotes(**vars(self.ask_in_parts("quotes", instruments, parts, QUOTES)))

    def fundamentals(self, instruments: Sequence[Instrument]) -> Fundamentals:
        """The statistics of each, from the Pro plan on: each costs 50 credits; NotInPlan where there are fewer."""
        if self.credits_per_minute < STATISTICS_CREDITS:
            raise NotInPlan(
                NAME, f"fundamentals cost {STATISTICS_CREDITS} credits each, the plan has fewer in a minute"
            )

        def parts(served: Sequence[Instrument]) -> Iterable[tuple[Sequence[Instrument], Question[Part]]]:
            for each in served:
                read = partial(wire.read_statistics, of=each)
                yield (
                    [each],
                    Question("/statistics", wire.params_of(each), read, each.symbol, STATISTICS_CREDITS),
                )

        return Fundamentals(**vars(self.ask_in_parts("fundamentals", instruments, parts, FUNDAMENTALS)))

    def usage(self) -> PlanUsage:
        """What Twelve Data counted for the key, for one credit; raises ProviderError."""
        tally = Tally()
        windows = self.ask("usage", Question("/api_usage", {}, wire.read_usage), tally)
        return PlanUsage(NAME, windows, tally.calls)

    def test_connection(self) -> ConnectionReport:
        """The key's own description; raises ProviderError."""
        return self.connection(Question("/api_usage", {}, wire.usage_in_words))

    def _batch(self) -> int:
        return min(self.credits_per_minute, MOST_SYMBOLS)


def _market(instrument: Instrument) -> str:
    """The market that is named beside the symbols of one question."""
    return mic_at(NAME, instrument) or ""
