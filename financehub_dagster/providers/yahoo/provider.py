"""Yahoo Finance, by way of yfinance: bars, actions and quotes of stocks, ETFs, indices, currencies and cryptos.

Belongs here: the resource and its limits. Does not belong here: what an answer on the wire means (errors), reading
charts (charts), and keeping yfinance from asking more than it should (client).
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import ClassVar
from zoneinfo import ZoneInfo

from pydantic import Field

from financehub_dagster.gateway.client import VendorClient
from financehub_dagster.gateway.errors import BadRequest
from financehub_dagster.gateway.policy import Meaning
from financehub_dagster.gateway.request_context import Call, calling
from financehub_dagster.market.exchanges import NO_MARKET
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.providers import intraday
from financehub_dagster.providers.base import Answers, DailyBars, IntradayBars
from financehub_dagster.providers.listings import power_of_told, symbol_at
from financehub_dagster.providers.reading import AnswerRows, Tally, batches
from financehub_dagster.providers.resource import EVERY_KIND, Parts, Vendor
from financehub_dagster.providers.yahoo import errors
from financehub_dagster.storage.rate_limits.limiter import Limit

NAME = "yahoo"
SYMBOLS = 50
"""In one request of quotes; the address stays well below what servers take."""


FX_DAYS = "Europe/London"
"""Yahoo's days of currencies begin at midnight there (exchangeTimezoneName of their charts)."""
ONE_COUNTRY = timedelta(hours=3)
"""How far the clocks of one country's exchanges may be apart: New York and Los Angeles, Sydney and Perth."""


class YahooProvider(Vendor):
    """Yahoo Finance. It publishes no limits; what it tolerates from one address is about one request per second."""

    name: ClassVar[str] = NAME
    serves: ClassVar[Mapping[str, frozenset[AssetType]]] = {
        "daily_bars": EVERY_KIND,
        "intraday_bars": EVERY_KIND,
        "quotes": EVERY_KIND,
    }

    requests_per_second: float = Field(default=1.0, gt=0, description="Most requests per second from this address.")

    def daily_bars(self, instrument: Instrument, start: date, end: date) -> DailyBars:
        """Finished sessions from `start` to `end`, both included, and the actions in that range; raises ProviderError.

        One request. Prices are split-adjusted as of today; adj_close is adjusted for dividends as well. Days of
        currencies end at 17:00 in New York.
        """
        if instrument.asset_type is AssetType.FX:
            return self._fx_daily(instrument, start, end)
        return self._daily(instrument, start, end, instrument.timezone)

    def _fx_daily(self, instrument: Instrument, start: date, end: date) -> DailyBars:
        """Days of a pair that end at 17:00 in New York, made of Yahoo's hours as far back as it keeps them.

        Earlier ones are Yahoo's own, which end at midnight in London, for one more request.
        """
        import pandas as pd

        from financehub_dagster.providers.yahoo import charts
        from financehub_dagster.providers.yahoo import intraday as hours

        of = hours.hours_of_sessions(instrument, max(start, hours.oldest_day()), end)
        parts, calls, actions = [], 0, charts.NO_ACTIONS.copy()
        if start < hours.oldest_day():
            earlier = self._daily(instrument, start, min(end, hours.oldest_day() - timedelta(days=1)), FX_DAYS)
            parts, calls = [earlier.bars], earlier.calls
        if of is not None:
            found = self.intraday_bars(instrument, 60, of.start, of.end)
            parts.append(hours.sessions(found, instrument))
            calls += found.calls
        bars = pd.concat(parts, ignore_index=True) if parts else charts.NO_BARS.copy()
        return DailyBars(instrument.symbol, bars, actions, NAME, datetime.now(UTC), calls, all_actions=True)

    def _daily(self, instrument: Instrument, start: date, end: date, zone: str) -> DailyBars:
        """Days as Yahoo cuts them; zone: where the days of the range begin."""
        from financehub_dagster.providers.yahoo import charts, client

        symbol = yahoo_symbol(instrument)
        with calling(self._call("daily_bars", instrument.symbol, symbol)) as call:
            answer = client.history(symbol, zone, start, end + timedelta(days=1))
        bars, actions, listed_since = charts.NO_BARS.copy(), charts.NO_ACTIONS.copy(), None
        if answer is not None:
            errors.require_kind(instrument, answer.instrument_type)
            power = power_of_told(NAME, instrument, answer.quoted)
            _require_zone(instrument, answer.opens)
            bars = answer.bars(start, end, power, call.clock)
            actions, listed_since = answer.told(start, end, power), answer.listed_since(start)
        return DailyBars(
            instrument.symbol,
            bars,
            actions,
            NAME,
            datetime.now(UTC),
            call.requests,
            all_actions=True,
            listed_since=listed_since,
            holes=() if answer is None else answer.holes(start, end),
        )

    def intraday_bars(self, instrument: Instrument, interval: int, start: datetime, end: datetime) -> IntradayBars:
        """Finished bars of `interval` minutes within regular sessions that open in [start, end); raises ProviderError.

        One request per seven days of minutes. Yahoo keeps minutes for 30 days, bars of 5 and 15 minutes for 60, hours,
        which begin with the session, for 730: of earlier ones told_since is the end, NotInPlan when that is all.
        """
        from financehub_dagster.providers.yahoo import client
        from financehub_dagster.providers.yahoo import intraday as charts

        symbol = yahoo_symbol(instrument)
        whole = intraday.asked(NAME, instrument, interval, start, end)
        kept = charts.INTERVALS[interval]
        of, told_since = intraday.within_reach(NAME, whole, kept.reach)
        parts, traded_to = [], None
        with calling(self._call("intraday_bars", instrument.symbol, symbol, kept.name)) as call:
            for page in charts.pages(of):
                found = client.minutes(symbol, page)
                if found is None:
                    continue
                errors.require_kind(instrument, found.instrument_type)
                power = power_of_told(NAME, instrument, found.quoted)
                _require_zone(instrument, found.opens)
                parts.append(charts.scaled(found.minutes, power))
                traded_to = found.traded_to
        found_all = intraday.Minutes.joined(parts)
        return intraday.answer(
            of, found_all, NAME, call.requests, call.reply, traded_to=traded_to, told_since=told_since
        )

    def quotes(self, instruments: Sequence[Instrument]) -> Answers:
        """The last price of each, one request per 50; raises ProviderError when there is none for Yahoo's own reasons.

        The first of a process takes two more, for the cookie and the crumb that quotes need.
        """

        def parts(served: Sequence[Instrument]) -> Parts:
            return ((list(of.values()), of) for of in batches(served, SYMBOLS, yahoo_symbol))

        return self.ask_in_parts("quotes", instruments, parts)

    def ask(self, capability: str, question: Mapping[str, Instrument], tally: Tally) -> AnswerRows:
        """The quotes of these instruments, by Yahoo's symbols, in one request; raises ProviderError."""
        from financehub_dagster.providers.yahoo import quotes

        with calling(self._call(capability, None)) as call:
            try:
                return quotes.read(quotes.ask(list(question)), question)
            finally:
                tally.calls += call.requests

    def test_connection(self) -> str:
        """Ask for the last week of SPY, the cheapest question Yahoo answers; raises ProviderError."""
        from financehub_dagster.providers.yahoo import client

        today = datetime.now(UTC).date()
        with calling(self._call("test_connection", "SPY")):
            answer = client.history("SPY", "America/New_York", today - timedelta(days=7), today + timedelta(days=1))
        return "SPY has no bars" if answer is None else f"SPY last traded {answer.last_trade}"

    def _call(
        self, capability: str, symbol: str | None, asked: str | None = None, interval: str = errors.INTERVAL
    ) -> Call:
        policy = self.policy(Meaning(refusal=partial(errors.refusal, interval=interval)))
        return Call(VendorClient(policy), capability, symbol, self.override(), asked=asked)

    def limits(self) -> tuple[Limit, ...]:
        """What this address keeps to."""
        return (Limit("requests", 1, 1.0 / self.requests_per_second),)


def _require_zone(instrument: Instrument, opens: datetime) -> None:
    """Raise BadRequest where Yahoo's exchange keeps another continent's time than the instrument's: another listing."""
    if instrument.exchange == NO_MARKET:
        return
    theirs, ours = opens.utcoffset(), opens.astimezone(ZoneInfo(instrument.timezone)).utcoffset()
    if theirs is not None and ours is not None and abs(theirs - ours) > ONE_COUNTRY:
        problem = f"is traded in {opens.tzinfo} there, not in {instrument.timezone}"
        remedy = "correct the instrument's exchange or its yahoo alias"
        raise BadRequest(NAME, f"{problem}: {remedy}", symbol=instrument.symbol)


def yahoo_symbol(instrument: Instrument) -> str:
    """What Yahoo calls an instrument, in upper case, as its answers do."""
    return (symbol_at(NAME, instrument) or instrument.symbol).upper()
