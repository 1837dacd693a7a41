"""Alpha Vantage: bars, quotes, fundamentals and news of stocks and ETFs, and daily bars of currencies.

Belongs here: the resource, its limits and its questions. Does not belong here: what its answers mean
(responses), HTTP and frames. Source: https://www.alphavantage.co/documentation and /premium.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from pydantic import Field

from financehub_dagster.gateway.api_keys import Auth
from financehub_dagster.gateway.errors import NotInPlan
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.providers import intraday
from financehub_dagster.providers.alpha_vantage import responses as wire
from financehub_dagster.providers.base import Answers, DailyBars, IntradayBars
from financehub_dagster.providers.frames import Bar
from financehub_dagster.providers.listings import LISTED, pair_of, power_of_untold, require_symbol
from financehub_dagster.providers.reading import Refusal, Tally, VendorRequest
from financehub_dagster.providers.resource import Parts
from financehub_dagster.providers.rest import RestProvider
from financehub_dagster.storage.rate_limits.limiter import Limit
from financehub_dagster.storage.rate_limits.quotas import Quota

NAME = wire.NAME
COMPACT = 100
"""Bars a free key gets, the newest ones."""
COMPACT_REACH = timedelta(minutes=80)
"""A compact answer holds the newest 100 bars: with room for our clock, bars of a minute so far back."""
MOST_ARTICLES = 1000
DAY_SECONDS = 86_400.0


class AlphaVantageProvider(RestProvider):
    """Alpha Vantage counts per key: on the free plan 1 call a second and 25 a day, one instrument each."""

    name: ClassVar[str] = NAME
    refused: ClassVar[Refusal] = staticmethod(wire.refusal)
    cheapest: ClassVar[VendorRequest[str]] = VendorRequest(
        "/query", {"function": "MARKET_STATUS"}, wire.read_market_status
    )
    address: ClassVar[str] = "https://www.alphavantage.co"
    auth: ClassVar[Auth] = Auth(query="apikey")
    serves: ClassVar[Mapping[str, frozenset[AssetType]]] = {
        "daily_bars": LISTED | {AssetType.FX},
        "intraday_bars": LISTED,
        "quotes": LISTED,
        "fundamentals": frozenset({AssetType.STOCK}),
        "news": LISTED,
    }

    requests_per_second: int = Field(default=1, ge=1, description="Most requests per second with one key.")
    requests_per_day: int | None = Field(
        default=25, ge=1, description="Most requests in any 24 hours with one key; null: as many as there are seconds."
    )
    premium: bool = Field(default=False, description="Are the keys of a premium plan, with full and adjusted history?")

    def limits(self) -> tuple[Limit, ...]:
        """The plan's."""
        return (Limit("second", self.requests_per_second, 1.0, weighted=False),)

    def quotas(self) -> tuple[Quota, ...]:
        """The vendor does not say when its day begins: any 24 hours count."""
        return () if self.requests_per_day is None else (Quota("day", self.requests_per_day, period=DAY_SECONDS),)

    def daily_bars(self, instrument: Instrument, start: date, end: date) -> DailyBars:
        """Finished sessions, split-adjusted; raises ProviderError.

        Two requests with a free key, which gets the newest 100 sessions: prices as traded, and the splits. NotInPlan
        for a range before these; of one that begins before, told_since says what is answered. One request with a
        premium key: also adj_close, dividends and all history.
        """
        self.check("daily_bars", instrument)
        if instrument.asset_type is AssetType.FX:
            return self._fx_daily(instrument, start, end)
        tally, told_since = Tally(), None
        if self.premium:
            read = partial(wire.read_adjusted, of=instrument)
            question = _question("TIME_SERIES_DAILY_ADJUSTED", instrument, read, outputsize="full")
            bars, actions = self.ask("daily_bars", question, tally)
        else:
            # Both are booked with the first: at the end of a day's budget one without the other would be wasted.
            series = _question("TIME_SERIES_DAILY", instrument, partial(wire.read_daily, of=instrument), weight=2)
            traded = self.ask("daily_bars", series, tally)
            told_since = _told_since(instrument, traded, end)
            splits = _question("SPLITS", instrument, wire.read_splits, weight=0)
            actions = self.ask("daily_bars", splits, tally)
            bars = wire.split_adjusted(traded, actions)
            actions = [action for action in actions if action.value > 0]
        all_actions = self.premium and not power_of_untold(NAME, instrument)
        return self.daily(instrument, start, end, bars, tally, actions, all_actions=all_actions, told_since=told_since)

    def _fx_daily(self, instrument: Instrument, start: date, end: date) -> DailyBars:
        """Days of a pair, which end at midnight UTC, for one request; a free key gets the newest 100. No volume: 0."""
        base, quoted = pair_of(NAME, instrument)
        tally = Tally()
        params = {"function": "FX_DAILY", "from_symbol": base, "to_symbol": quoted}
        params["outputsize"] = "full" if self.premium else "compact"
        read = partial(wire.read_fx_daily, pair=(base, quoted))
        bars = self.ask("daily_bars", VendorRequest("/query", params, read, instrument.symbol), tally)
        told_since = None if self.premium else _told_since(instrument, bars, end)
        return self.daily(instrument, start, end, bars, tally, told_since=told_since)

    def intraday_bars(self, instrument: Instrument, interval: int, start: datetime, end: datetime) -> IntradayBars:
        """Finished bars within regular sessions that open in [start, end), split-adjusted; raises ProviderError.

        For premium keys. One request per month, and for days before today one for the splits; of 1, 5 or 15 minutes,
        since its hours begin at full hours and not with the session.
        """
        self.check("intraday_bars", instrument)
        of = intraday.asked(NAME, instrument, interval, start, end, hours=False)
        if not self.premium:
            raise NotInPlan(NAME, "only premium keys get intraday bars", symbol=instrument.symbol)
        tally = Tally()
        read = partial(wire.read_minutes, of=of)
        parts = []
        for month in _months(of):
            options = {"interval": f"{interval}min", "adjusted": "false", "extended_hours": "false"}
            span = {"outputsize": "compact"} if month is None else {"outputsize": "full", "month": month}
            params = {"function": "TIME_SERIES_INTRADAY", "symbol": require_symbol(NAME, instrument), **options, **span}
            question = VendorRequest("/query", params, read, instrument.symbol)
            parts.append(self.ask("intraday_bars", question, tally))
        found = intraday.Minutes.joined(parts)
        reply = tally.reply
        if of.start.astimezone(wire.EASTERN).date() < tally.clock.astimezone(wire.EASTERN).date():
            splits = self.ask("intraday_bars", _question("SPLITS", instrument, wire.read_splits), tally)
            found = wire.split_adjusted_minutes(found, ZoneInfo(instrument.timezone), splits)
        return intraday.answer(of, found, NAME, tally.calls, reply)

    def quotes(self, instruments: Sequence[Instrument]) -> Answers:
        """The last price of each, one request per instrument; the time is known to the session only."""
        return self.ask_each(
            "quotes", instruments, lambda each: _question("GLOBAL_QUOTE", each, partial(wire.read_quote, of=each))
        )

    def fundamentals(self, instruments: Sequence[Instrument]) -> Answers:
        """The overview of each, one request per instrument."""
        return self.ask_each(
            "fundamentals", instruments, lambda each: _question("OVERVIEW", each, partial(wire.read_overview, of=each))
        )

    def news(self, instruments: Sequence[Instrument], since: datetime) -> Answers:
        """Articles since `since`, one request per instrument: of several, it would find what is about all of them."""

        def parts(served: Sequence[Instrument]) -> Parts:
            ours = {require_symbol(NAME, each): each.symbol for each in served}
            span = {"time_from": f"{since.astimezone(UTC):%Y%m%dT%H%M}", "limit": str(MOST_ARTICLES)}
            for each in served:
                params = {"function": "NEWS_SENTIMENT", "tickers": require_symbol(NAME, each), **span}
                read = partial(wire.read_news, ours=ours, since=since)
                yield [each], VendorRequest("/query", params, read, each.symbol)

        return self.ask_in_parts("news", instruments, parts)


def _told_since(instrument: Instrument, bars: Sequence[Bar], end: date) -> date | None:
    """The first session of a full compact answer; raises NotInPlan where that is after `end`."""
    since = min(bar.date for bar in bars) if len(bars) >= COMPACT else None
    if since is not None and since > end:
        problem = f"a free key gets the newest {COMPACT} sessions only, since {since}"
        raise NotInPlan(NAME, problem, symbol=instrument.symbol)
    return since


def _months(of: intraday.Range) -> list[str | None]:
    """The months of a range in New York; None for one that the newest bars of a compact answer hold."""
    if of.start >= datetime.now(UTC) - COMPACT_REACH * of.interval:
        return [None]
    first, last = (edge.astimezone(wire.EASTERN).date() for edge in (of.start, of.end))
    count = 12 * (last.year - first.year) + last.month - first.month + 1
    return [f"{first.year + (first.month - 1 + n) // 12}-{(first.month - 1 + n) % 12 + 1:02}" for n in range(count)]


def _question[T](
    function: str, of: Instrument, read: Callable[[Any], T], *, weight: int = 1, **params: str
) -> VendorRequest[T]:
    return VendorRequest(
        "/query", {"function": function, "symbol": require_symbol(NAME, of), **params}, read, of.symbol, weight
    )
