"""Which vendors are asked for quotes, markets of cryptos, fundamentals and news, in which order.

Belongs here: the orders, as configuration that the webserver shows, and asking each kind of instrument along its own.
Does not belong here: bars (`routing`), when the next vendor is asked (gateway.failover), or anything of one vendor.
"""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any, ClassVar

from pydantic import Field

from financehub_dagster.gateway.errors import ProviderError
from financehub_dagster.market.instruments import Instrument
from financehub_dagster.providers.base import Answers
from financehub_dagster.providers.routing import Router

_STOCK_QUOTES = ["yahoo", "finnhub", "twelve_data"]
_STOCK_NEWS = ["finnhub", "newsapi", "alpha_vantage"]
_REPORTS = ["finnhub", "alpha_vantage", "twelve_data"]


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

        return self.in_turn(instruments, ask)


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
