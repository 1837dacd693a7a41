"""Which vendors are asked for quotes, markets of cryptos, fundamentals and news, in which order.

Belongs here: the orders, as configuration that the webserver shows, and asking each kind of instrument along its own.
Does not belong here: bars (`routing`), when the next vendor is asked (gateway.failover), or anything of one vendor.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

from pydantic import Field

from financehub_dagster.gateway.errors import ProviderError
from financehub_dagster.market.instruments import Instrument
from financehub_dagster.providers.base import Answers
from financehub_dagster.providers.routing import Router, answers_in_turn

_STOCK_QUOTES = ["yahoo", "finnhub", "twelve_data"]
_STOCK_NEWS = ["finnhub", "newsapi", "alpha_vantage"]
_REPORTS = ["finnhub", "alpha_vantage", "twelve_data"]


@dataclass
class Routed:
    """What several vendors said: their answers, and by symbol why an instrument has none.

    An instrument whose vendors are all without a key has NotConfigured for a reason.
    """

    answers: list[Answers] = field(default_factory=list)
    failed: dict[str, ProviderError] = field(default_factory=dict)


class AnswersRouter(Router):
    """Answers about many instruments, each from the first provider of its kind's list that has one.

    Kinds with one and the same list are asked about together.
    """

    capability: ClassVar[str]
    """What providers call the question."""
    able: ClassVar[tuple[str, ...]]
    """Providers that can be asked at all."""

    def ask(
        self,
        vendors: Mapping[str, Any],
        instruments: Sequence[Instrument],
        since: datetime | None = None,
        providers: Sequence[str] | None = None,
        believed: Callable[[Answers, Collection[str]], Answers] | None = None,
    ) -> Routed:
        """Ask `vendors`, by name, about `instruments`; `since` is for questions that have a beginning.

        `providers` takes the place of the lists; `believed` is what is believed of an answer about the symbols that
        another provider is the first choice for. Raises ValueError for a name that `vendors` does not have.
        """

        def ask(vendor: Any, of: Sequence[Instrument]) -> Answers:
            answer: Answers = getattr(vendor, self.capability)(of, *(() if since is None else (since,)))
            others = [each.symbol for each in of if self.order(each.asset_type)[:1] != [answer.source]]
            return believed(answer, others) if believed is not None and others else answer

        groups: dict[tuple[str, ...], list[Instrument]] = {}
        for each in instruments:
            groups.setdefault(tuple(providers or self.order(each.asset_type)), []).append(each)
        routed = Routed()
        for order, members in groups.items():
            answers, failed = answers_in_turn(vendors, order, members, ask)
            routed.answers += answers
            routed.failed |= failed
        return routed


class QuotesRouter(AnswersRouter):
    """Last prices."""

    capability: ClassVar[str] = "quotes"
    able: ClassVar[tuple[str, ...]] = (
        "yahoo",
        "binance",
        "finnhub",
        "twelve_data",
        "coingecko",
        "coinmarketcap",
        "alpha_vantage",
    )

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
    able: ClassVar[tuple[str, ...]] = ("coingecko", "coinmarketcap")

    crypto: list[str] = Field(
        default=["coingecko", "coinmarketcap"], description="Providers of the markets of cryptos, in order."
    )


class FundamentalsRouter(AnswersRouter):
    """What companies are worth and earn."""

    capability: ClassVar[str] = "fundamentals"
    able: ClassVar[tuple[str, ...]] = ("finnhub", "alpha_vantage", "twelve_data")

    stock: list[str] = Field(default=_REPORTS, description="Providers of fundamentals of stocks, in order.")


class NewsRouter(AnswersRouter):
    """Articles about instruments."""

    capability: ClassVar[str] = "news"
    able: ClassVar[tuple[str, ...]] = ("finnhub", "newsapi", "alpha_vantage")

    stock: list[str] = Field(default=_STOCK_NEWS, description="Providers of news about stocks, in order.")
    etf: list[str] = Field(default=_STOCK_NEWS, description="Providers of news about ETFs, in order.")
    crypto: list[str] = Field(default=["newsapi"], description="Providers of news about cryptos, in order.")


def answer_routers() -> dict[str, AnswersRouter]:
    """Every router with its defaults, keyed by the name of its resource."""
    return {
        "quotes_router": QuotesRouter(),
        "crypto_markets_router": CryptoMarketsRouter(),
        "fundamentals_router": FundamentalsRouter(),
        "news_router": NewsRouter(),
    }
