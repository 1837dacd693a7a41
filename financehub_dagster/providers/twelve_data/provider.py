"""Twelve Data: daily and intraday bars and quotes of stocks, ETFs, currencies and cryptos, paid in credits.

Belongs here: the resource, its limits and its questions. Does not belong here: what its answers mean
(responses), HTTP and frames. Source: https://twelvedata.com/docs.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any, ClassVar

from pydantic import Field

from financehub_dagster.gateway.api_keys import Auth
from financehub_dagster.gateway.errors import NotInPlan, ProviderError
from financehub_dagster.gateway.response import Reply
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.providers import intraday
from financehub_dagster.providers.base import (
    Answers,
    DailyBars,
    IntradayAnswers,
    IntradayBars,
)
from financehub_dagster.providers.listings import mic_at
from financehub_dagster.providers.reading import (
    AnswerRows,
    Refusal,
    Tally,
    VendorRequest,
    batches,
    in_turn,
    require_any,
)
from financehub_dagster.providers.resource import EVERY_KIND, Parts
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


class TwelveDataProvider(RestProvider):
    """Twelve Data counts credits per key, one per symbol: on the Basic plan 8 a minute and 800 a day."""

    name: ClassVar[str] = NAME
    refused: ClassVar[Refusal] = staticmethod(wire.refusal)
    cheapest: ClassVar[VendorRequest[str]] = VendorRequest("/api_usage", {}, wire.usage_in_words)
    address: ClassVar[str] = "https://api.twelvedata.com"
    auth: ClassVar[Auth] = Auth(header="Authorization", prefix="apikey ")
    serves: ClassVar[Mapping[str, frozenset[AssetType]]] = {
        "daily_bars": EVERY_KIND,
        "intraday_bars": EVERY_KIND,
        "quotes": EVERY_KIND,
        "fundamentals": frozenset({AssetType.STOCK}),
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
            question = VendorRequest("/time_series", params, read, instrument.symbol)
            page = self.ask("daily_bars", question, tally)
            bars += page
            if len(page) < MOST_BARS:
                break
            last = min(bar.date for bar in page) - timedelta(days=1)
        return self.daily(instrument, start, end, bars, tally)

    def intraday_bars(self, instrument: Instrument, interval: int, start: datetime, end: datetime) -> IntradayBars:
        """Finished bars of `interval` minutes within regular sessions that open in [start, end); raises ProviderError.

        One credit per 5,000 bars; split-adjusted.
        """
        self.check("intraday_bars", instrument)
        of = intraday.asked(NAME, instrument, interval, start, end)
        tally = Tally()
        found = self._minutes(of, tally)
        return intraday.answer(of, found, NAME, tally.calls, tally.reply)

    def intraday_batch(
        self, instruments: Sequence[Instrument], interval: int, start: datetime, end: datetime
    ) -> IntradayAnswers:
        """Like intraday_bars of each, as many in one request as the minute's credits allow, one credit each.

        One that has more than 5,000 bars costs another request. Raises ProviderError where nobody got an answer.
        """
        answers: dict[str, IntradayBars] = {}
        served, failed = self.fit("intraday_bars", instruments)
        parts = (
            (
                list(together.values()),
                {name: intraday.asked(NAME, each, interval, start, end) for name, each in together.items()},
            )
            for together in self._batches(served)
        )
        for found, unserved in in_turn(parts, self._batch_of_minutes, failed):
            answers.update(found)
            failed.update(unserved)
        require_any(answers, failed)
        return IntradayAnswers(answers, failed)

    def batch_size(self) -> int:
        """How many instruments one request may have."""
        return min(self.credits_per_minute, MOST_SYMBOLS)

    def _batches(self, served: Sequence[Instrument]) -> Iterator[dict[str, Instrument]]:
        """The instruments of one request each, which are of one market."""
        return batches(served, self.batch_size(), wire.symbol_of, lambda each: mic_at(NAME, each) or "")

    def _batch_of_minutes(
        self, of: Mapping[str, intraday.Range]
    ) -> tuple[dict[str, IntradayBars], dict[str, ProviderError]]:
        """One request for one range of several instruments of one market, by their symbols there."""
        some = next(iter(of.values()))
        if len(of) == 1:
            alone = Tally()
            found = self._minutes(some, alone)
            return {some.instrument.symbol: intraday.answer(some, found, NAME, alone.calls, alone.reply)}, {}
        tally = Tally()
        params = {**wire.params_of(some.instrument), "symbol": ",".join(of), **_range_of(some)}
        question = VendorRequest("/time_series", params, partial(wire.read_batch, of=of), weight=len(of))
        batch = self.ask("intraday_bars", question, tally)
        answers, calls = {}, tally.calls
        for each in of.values():
            symbol, more = each.instrument.symbol, Tally()
            if symbol not in batch.minutes:
                continue
            minutes = batch.minutes[symbol]
            if batch.sizes[symbol] >= MOST_BARS and len(minutes.opens):
                earlier = self._minutes(replace(each, last=int(minutes.opens.min())), more)
                minutes = intraday.Minutes.joined([earlier, minutes])
            answers[symbol] = intraday.answer(each, minutes, NAME, calls + more.calls, tally.reply)
            calls = 0
        return answers, dict(batch.failed)

    def _minutes(self, of: intraday.Range, tally: Tally) -> intraday.Minutes:
        """All bars of a range, the newest 5,000 first."""
        parts = []
        while of.last > of.first:
            params = {**wire.params_of(of.instrument), **_range_of(of)}
            read = partial(_with_size, of=of)
            page, size = self.ask(
                "intraday_bars", VendorRequest("/time_series", params, read, of.instrument.symbol), tally
            )
            parts.append(page)
            if size < MOST_BARS or not len(page.opens):
                break
            of = replace(of, last=int(page.opens.min()))
        return intraday.Minutes.joined(parts)

    def quotes(self, instruments: Sequence[Instrument]) -> Answers:
        """The last price of each, as many in one request as the minute's credits allow, one credit each."""

        def parts(served: Sequence[Instrument]) -> Parts:
            for of in self._batches(served):
                members = list(of.values())
                params = {**wire.params_of(members[0]), "symbol": ",".join(of), "timezone": "UTC"}
                read, symbol = partial(wire.read_quotes, of=of), members[0].symbol if len(of) == 1 else None
                yield members, VendorRequest("/quote", params, read, symbol, weight=len(of))

        return self.ask_in_parts("quotes", instruments, parts)

    def fundamentals(self, instruments: Sequence[Instrument]) -> Answers:
        """The statistics of each, from the Pro plan on: each costs 50 credits; NotInPlan where there are fewer."""
        if self.credits_per_minute < STATISTICS_CREDITS:
            raise NotInPlan(
                NAME, f"fundamentals cost {STATISTICS_CREDITS} credits each, the plan has fewer in a minute"
            )

        def question(each: Instrument) -> VendorRequest[AnswerRows]:
            read = partial(wire.read_statistics, of=each)
            return VendorRequest("/statistics", wire.params_of(each), read, each.symbol, STATISTICS_CREDITS)

        return self.ask_each("fundamentals", instruments, question)


def _range_of(of: intraday.Range) -> dict[str, str]:
    """A range in UTC; both ends are inside at Twelve Data."""
    return {
        "interval": wire.INTERVALS[of.interval],
        "start_date": f"{of.start:%Y-%m-%d %H:%M:%S}",
        "end_date": f"{of.end - timedelta(seconds=1):%Y-%m-%d %H:%M:%S}",
        "outputsize": str(MOST_BARS),
        "timezone": "UTC",
        "order": "desc",
    }


def _with_size(document: Any, of: intraday.Range) -> tuple[intraday.Minutes, int]:
    """The bars of an answer, and how many rows it had."""
    values = document.get("values") if isinstance(document, Mapping) else None
    return wire.read_minutes(document, of), len(values) if isinstance(values, list) else 0
