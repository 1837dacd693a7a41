"""Which vendors are asked for what, in which order.

Belongs here: the orders, as configuration that the webserver shows, and asking along them. Does not belong here: when
the next one is asked (gateway.failover), what a table is filled from (`table_sources`), or anything of one vendor: what
it serves it says itself.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import date, datetime
from functools import partial
from itertools import groupby
from typing import Any, ClassVar, Protocol, Self

from pydantic import Field, PrivateAttr

from financehub_dagster.gateway.api_keys import is_off, not_configured
from financehub_dagster.gateway.deadline import deadline
from financehub_dagster.gateway.errors import ProviderError
from financehub_dagster.gateway.failover import HASTE_SECONDS, Candidate, first_answer, goes_on, with_others
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.providers import all_providers, former_names, listings, vendor_types
from financehub_dagster.providers.base import Answers, DailyBars, IntradayAnswers, IntradayBars
from financehub_dagster.providers.reading import in_turn
from financehub_dagster.providers.resource import Resource

_BARS = ["yahoo", "twelve_data", "alpha_vantage", "finnhub"]
_STOCK_QUOTES = ["yahoo", "finnhub", "twelve_data"]
_STOCK_NEWS = ["finnhub", "newsapi", "alpha_vantage"]
_REPORTS = ["finnhub", "alpha_vantage", "twelve_data"]


class Router(Resource):
    """Lists of providers, one for each kind of instrument; providers without a key are left out.

    Every answer's `source` is the provider that gave it.
    """

    capability: ClassVar[str]
    """What providers call what they are asked for."""

    _providers: Mapping[str, Any] = PrivateAttr(default_factory=dict)
    _only: Sequence[str] | None = PrivateAttr(default=None)

    def over(self, providers: Mapping[str, Any], only: Sequence[str] | None = None) -> Self:
        """This router over these providers by name; without it, all providers with their defaults.

        only: ask these and nobody else, in this order, whatever is configured; as configured when empty.
        """
        self._providers = dict(providers)
        self._only = only or None
        return self

    @property
    def only(self) -> Sequence[str] | None:
        """The providers that the router is limited to; None: as configured."""
        return self._only

    def vendor(self, name: str) -> Any:
        """One of the providers that are asked."""
        return self._bound()[name]

    def _bound(self) -> Mapping[str, Any]:
        if not self._providers:
            self._providers = all_providers()
        return self._providers

    def able(self, kinds: Collection[AssetType]) -> list[str]:
        """Who can be asked about any of `kinds`: those of their lists, in order, and others that have it on request."""
        listed = [name for kind in self.kinds() if kind in kinds for name in self.order(kind)]
        served = {each.name: each.serves.get(self.capability, ()) for each in vendor_types()}
        return list(dict.fromkeys([*listed, *(name for name in served if not set(kinds).isdisjoint(served[name]))]))

    def kinds(self) -> list[AssetType]:
        """The kinds of instruments there is a list for."""
        return [kind for kind in AssetType if kind.value in type(self).model_fields]

    def order(self, kind: AssetType) -> list[str]:
        """The providers for one kind of instrument, in order."""
        return list(getattr(self, kind.value))

    def why_off(self, kinds: Collection[AssetType]) -> str | None:
        """One line that says what to set, when no provider for any of `kinds` has a key; None otherwise."""
        chosen = [kind for kind in self.kinds() if kind in kinds]
        names = list(dict.fromkeys(name for kind in chosen for name in self._only or self.order(kind)))
        if not names or any(not is_off(name) for name in names):
            return None
        return "off: set " + " or ".join(f"{name.upper()}_API_KEYS" for name in names)

    def precedence(self, instrument: Instrument) -> list[str]:
        """The configured order of providers for `instrument`: an earlier one's rows count for more than a later one's.

        It says nothing of who is asked: that may be restricted.
        """
        return self.order(instrument.asset_type)

    def asked(self, instrument: Instrument) -> Sequence[str]:
        """Who is asked about `instrument`, in order."""
        return self.precedence(instrument) if self._only is None else self._only

    def askable(self, instrument: Instrument, shut: Collection[str] = ()) -> list[str]:
        """Those of `asked` that may be asked now: they have a key or need none, and are not among `shut`."""
        return [name for name in self.asked(instrument) if name not in shut and not is_off(name)]

    def first_choice(self, instrument: Instrument) -> str | None:
        """The provider whose rows replace everybody's, if it is on and asked first; else None."""
        first = switched_on(self._bound(), self.asked(instrument))[:1]
        return first[0] if first and first == self.precedence(instrument)[:1] else None

    def earlier_than(self, instrument: Instrument, source: str) -> Sequence[str]:
        """The providers whose rows count for more than those of `source`."""
        order = self.precedence(instrument)
        return order[: order.index(source)] if source in order else order

    def asked_after(self, instrument: Instrument, source: str) -> Sequence[str]:
        """Who is asked about `instrument` where `source` has nothing good enough, in order."""
        order = list(self.asked(instrument))
        return order[order.index(source) + 1 :] if source in order else []

    def answers[A: Partial](
        self, instruments: Sequence[Instrument], ask: Callable[[Any, Sequence[Instrument]], A]
    ) -> tuple[list[A], dict[str, ProviderError]]:
        """`answers_in_turn` about many instruments; those with one and the same list are asked about together."""
        groups: dict[tuple[str, ...], list[Instrument]] = {}
        for each in instruments:
            groups.setdefault(tuple(self.asked(each)), []).append(each)
        answers: list[A] = []
        failed: dict[str, ProviderError] = {}
        for order, members in groups.items():
            found, without = answers_in_turn(self._bound(), order, members, ask)
            answers += found
            failed |= without
        return answers, failed


class BarsRouter(Router):
    """Bars of an instrument from the first provider of its list that can answer, whichever length they have."""

    stock: list[str] = Field(default=_BARS, description="Providers of bars of stocks, in order.")
    etf: list[str] = Field(default=_BARS, description="Providers of bars of ETFs, in order.")
    index: list[str] = Field(default=["yahoo", "twelve_data"], description="Providers of bars of indices, in order.")
    fx: list[str] = Field(
        default=["yahoo", "twelve_data", "alpha_vantage"], description="Providers of bars of currency pairs, in order."
    )
    crypto: list[str] = Field(
        default=["binance", "yahoo", "twelve_data"], description="Providers of bars of cryptos, in order."
    )


class DailyBarsRouter(BarsRouter):
    """Daily bars."""

    capability: ClassVar[str] = "daily_bars"

    def daily_bars(
        self,
        instrument: Instrument,
        start: date,
        end: date,
        require: Callable[[DailyBars], None] | None = None,
        *,
        after: str | None = None,
    ) -> DailyBars:
        """Finished sessions from `start` to `end`, both included; raises the ProviderError that says most.

        `require` raises ProviderError for an answer that is not to be believed: the next provider is asked. after: ask
        only who comes after this provider. Several threads may ask at once.
        """

        def ask(provider: Any) -> DailyBars:
            answer = former_names.daily_bars(provider, instrument, start, end)
            if require is not None:
                require(answer)
            return answer

        order = self.asked(instrument) if after is None else self.asked_after(instrument, after)
        return first_answer(candidates(self._bound(), order, instrument), ask)


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
        parts, failed = self.answers(instruments, partial(_minutes_of, interval=interval, start=start, end=end))
        return IntradayAnswers({symbol: bars for part in parts for symbol, bars in part.answers.items()}, failed)

    def _first_asked(self, instrument: Instrument) -> str:
        return next(iter(self.askable(instrument)), "")


class AnswersRouter(Router):
    """Answers about many instruments, each from the first provider of its kind's list that has one."""

    def ask(
        self,
        instruments: Sequence[Instrument],
        since: datetime | None = None,
        believed: Callable[[Answers, Collection[str]], Answers] | None = None,
    ) -> tuple[list[Answers], dict[str, ProviderError]]:
        """What vendors say of `instruments`, and by symbol why one has no answer; raises ValueError as `switched_on`.

        since: for questions that have a beginning. `believed` is what is believed of an answer about the symbols that
        another provider is the first choice for. An instrument whose vendors are all without a key has NotConfigured
        for a reason.
        """

        def ask(vendor: Any, of: Sequence[Instrument]) -> Answers:
            answer: Answers = getattr(vendor, self.capability)(of, *(() if since is None else (since,)))
            others = [each.symbol for each in of if self.precedence(each)[:1] != [answer.source]]
            return believed(answer, others) if believed is not None and others else answer

        return self.answers(instruments, ask)


class QuotesRouter(AnswersRouter):
    """Last prices."""

    capability: ClassVar[str] = "quotes"

    stock: list[str] = Field(default=_STOCK_QUOTES, description="Providers of quotes of stocks, in order.")
    etf: list[str] = Field(default=_STOCK_QUOTES, description="Providers of quotes of ETFs, in order.")
    index: list[str] = Field(default=["yahoo", "twelve_data"], description="Providers of quotes of indices, in order.")
    fx: list[str] = Field(default=["yahoo", "twelve_data"], description="Providers of currency pairs, in order.")
    crypto: list[str] = Field(
        default=["binance", "coingecko", "coinmarketcap", "yahoo"],
        description="Providers of quotes of cryptos, in order.",
    )


class CryptoMarketsRouter(AnswersRouter):
    """Market capitalisation, volume and supply of cryptos."""

    capability: ClassVar[str] = "crypto_markets"

    crypto: list[str] = Field(
        default=["coingecko", "coinmarketcap"], description="Providers of the markets of cryptos, in order."
    )


class FundamentalsRouter(AnswersRouter):
    """What companies are worth and earn."""

    capability: ClassVar[str] = "fundamentals"

    stock: list[str] = Field(default=_REPORTS, description="Providers of fundamentals of stocks, in order.")


class NewsRouter(AnswersRouter):
    """Articles about instruments."""

    capability: ClassVar[str] = "news"

    stock: list[str] = Field(default=_STOCK_NEWS, description="Providers of news about stocks, in order.")
    etf: list[str] = Field(default=_STOCK_NEWS, description="Providers of news about ETFs, in order.")
    crypto: list[str] = Field(default=["newsapi"], description="Providers of news about cryptos, in order.")


def candidates(providers: Mapping[str, Any], order: Sequence[str], instrument: Instrument) -> list[Candidate[Any]]:
    """Who can be asked about `instrument`, in order; raises ProviderError when that is nobody."""
    on = switched_on(providers, order)
    if not on:
        raise not_configured(order[0])
    named = [name for name in on if listings.symbol_at(name, instrument) is not None]
    if not named:
        raise listings.unnamed(on[0], instrument)
    return [Candidate(name, providers[name], name in instrument.aliases) for name in named]


class Partial(Protocol):
    """An answer about several instruments that says, by our symbol, of which it has nothing and why."""

    @property
    def failed(self) -> Mapping[str, ProviderError]:
        """Why instruments have no row."""
        ...


def answers_in_turn[A: Partial](
    providers: Mapping[str, Any],
    order: Sequence[str],
    instruments: Sequence[Instrument],
    ask: Callable[[Any, Sequence[Instrument]], A],
) -> tuple[list[A], dict[str, ProviderError]]:
    """The answers of one provider after another, each asked in one go for the instruments still without a row.

    Returns the answers, each with its `source`, and for each instrument without a row the first reason, followed by
    what the others said; NotConfigured when every provider is off.
    """
    answers: list[A] = []
    reasons: dict[str, list[ProviderError]] = {each.symbol: [] for each in instruments}
    left = list(instruments)
    on = switched_on(providers, order)
    if not on:
        return [], {each.symbol: not_configured(order[0]) for each in instruments}
    for position, name in enumerate(on):
        named = [each for each in left if listings.symbol_at(name, each) is not None]
        able = [each for each in named if all(goes_on(error, name in each.aliases) for error in reasons[each.symbol])]
        if not able:
            continue
        try:
            with deadline(HASTE_SECONDS if on[position + 1 :] else None):
                answer = ask(providers[name], able)
        except ProviderError as error:
            failed = {each.symbol: error for each in able}
        else:
            answers.append(answer)
            failed = dict(answer.failed)
        for symbol, reason in failed.items():
            reasons[symbol].append(reason)
        served = {each.symbol for each in able} - failed.keys()
        left = [each for each in left if each.symbol not in served]
    why = {each.symbol: reasons[each.symbol] or [listings.unnamed(on[0], each)] for each in left}
    return answers, {symbol: with_others(errors[0], errors[1:]) for symbol, errors in why.items()}


def switched_on(providers: Mapping[str, Any], order: Sequence[str]) -> list[str]:
    """The providers of an order that have a key or need none; raises ValueError for one that there is not."""
    unknown = [name for name in order if name not in providers]
    if unknown or not order:
        known = ", ".join(sorted(providers))
        raise ValueError(f"order of providers {list(order)}: choose at least one of {known}")
    return [name for name in order if not is_off(name)]


def _minutes_of(
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
