"""CoinMarketCap: prices and markets of cryptos, 100 for one credit.

Belongs here: the resource, its limits, its questions and what its answers mean. Does not belong here: HTTP and frames.
Source: https://coinmarketcap.com/api/documentation. A coin is named by its id, the instrument's `coinmarketcap` alias.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import Any, ClassVar, Literal

from pydantic import Field

from financehub_dagster.gateway.api_keys import Auth
from financehub_dagster.gateway.errors import BadKey, BadRequest, NotInPlan, Transient, UnknownSymbol
from financehub_dagster.gateway.response import Reply, banned, burst_limit
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.providers.base import Answers
from financehub_dagster.providers.items import last_price
from financehub_dagster.providers.listings import require_symbol
from financehub_dagster.providers.reading import (
    AnswerRows,
    Refusal,
    VendorRequest,
    Verdict,
    batches,
    each_of,
    quota_spent,
    until_next,
)
from financehub_dagster.providers.resource import CRYPTOS, Parts
from financehub_dagster.providers.rest import RestProvider
from financehub_dagster.providers.values import instant, maybe, maybe_price, member
from financehub_dagster.storage.rate_limits.quotas import Quota

NAME = "coinmarketcap"
PER_CREDIT = 100
"""Coins that one credit pays for."""
WRONG_KEY = {1001, 1002, 1005, 1007}
"""Invalid, missing, required, disabled."""
NOT_IN_PLAN = {1003, 1004, 1006}
"""Not paid for, expired, not part of the plan."""
MINUTE, DAY, MONTH, ADDRESS = 1008, 1009, 1010, 1011
"""Which limit was met."""


def refusal(reply: Reply, document: Any) -> Verdict:
    """CoinMarketCap's words: status.error_code, in a 200 too."""
    status = document.get("status") if isinstance(document, dict) else None
    if not isinstance(status, dict):
        return None
    code, said = _code(status), str(status.get("error_message") or "")
    symbol = reply.symbol
    if code == 0:
        return None
    if code in WRONG_KEY:
        remedy = "check COINMARKETCAP_API_KEYS"
        return BadKey(NAME, f"the key is missing, invalid or disabled ({code}): {remedy}", symbol=symbol)
    if code in NOT_IN_PLAN:
        return NotInPlan(NAME, f"the plan does not include this ({code})", symbol=symbol)
    if code == MINUTE:
        return burst_limit(reply, "too many calls within a minute")
    if code in (DAY, MONTH):
        window: Literal["day", "month"] = "day" if code == DAY else "month"
        return quota_spent(reply, until_next(window, reply.server_time), f"the {window}'s credits are used up")
    if code == ADDRESS:
        return banned(reply, "too many calls from this address", 60.0)
    if code >= 500 or reply.status >= 500:
        return Transient(NAME, f"{said} ({code})", symbol=symbol, retry_after=reply.retry_after)
    if '"id"' in said or '"symbol"' in said or '"slug"' in said:
        return UnknownSymbol(NAME, f"{said}; check its `coinmarketcap` alias", symbol=symbol)
    return BadRequest(NAME, f"{said} ({code})", symbol=symbol)


def _code(status: Mapping[str, Any]) -> int:
    """The error code, which some versions send as a string; 0 is no error."""
    code = str(status.get("error_code") or 0)
    return int(code) if code.isdigit() else 400


def coins(document: Any) -> dict[str, Any]:
    """The coins of an answer by id; v1 keys them by id, v2 lists them per symbol, v3 and listings are one list."""
    data = member(document, "data")
    if isinstance(data, Mapping):
        data = [coin for held in data.values() for coin in (held if isinstance(held, list) else [held])]
    if not isinstance(data, list):
        raise ValueError("the answer has no coins")
    return {str(coin["id"]): coin for coin in data if isinstance(coin, Mapping) and "id" in coin}


def _quote(coin: Any, currency: str) -> Mapping[str, Any]:
    """The quote of a coin in `currency`: a member of that name, or since v3 one of a list."""
    quotes = member(coin, "quote")
    if isinstance(quotes, list):
        quotes = {str(quote.get("symbol")): quote for quote in quotes if isinstance(quote, Mapping)}
    found = member(quotes, currency)
    if not isinstance(found, Mapping):
        raise ValueError(f"the answer has no quote in {currency}")
    return found


def read_quotes(document: Any, of: Mapping[str, Instrument]) -> AnswerRows:
    """/quotes/latest as last prices."""

    def row(instrument: Instrument, coin: Any) -> dict[str, Any]:
        quote = _quote(coin, instrument.currency)
        return {
            "symbol": instrument.symbol,
            "price": last_price(NAME, instrument, member(quote, "price")),
            "currency": instrument.currency,
            "quoted_at": instant(member(quote, "last_updated")),
        }

    return each_of(NAME, of, coins(document), row)


def read_markets(document: Any, of: Mapping[str, Instrument]) -> AnswerRows:
    """/quotes/latest as markets."""

    def row(instrument: Instrument, coin: Any) -> dict[str, Any]:
        quote = _quote(coin, instrument.currency)
        return {
            "symbol": instrument.symbol,
            "price": last_price(NAME, instrument, member(quote, "price")),
            "market_cap": maybe_price(quote.get("market_cap")),
            "volume_24h": maybe(quote.get("volume_24h")),
            "change_24h": maybe(quote.get("percent_change_24h")),
            "circulating_supply": maybe(coin.get("circulating_supply")),
            "total_supply": maybe(coin.get("total_supply")),
            "max_supply": maybe(coin.get("max_supply")),
            "rank": maybe(coin.get("cmc_rank")),
            "currency": instrument.currency,
            "quoted_at": instant(member(quote, "last_updated")),
        }

    return each_of(NAME, of, coins(document), row)


def month_in_words(document: Any) -> str:
    """/key/info in one line; it costs no credit."""
    used, limit = member(document, "data", "usage", "current_month"), member(document, "data", "plan")
    return (
        f"{int(member(used, 'credits_used'))} of {int(member(limit, 'credit_limit_monthly'))} credits used this month"
    )


class CoinMarketCapProvider(RestProvider):
    """CoinMarketCap counts per key: on the Basic plan 30 calls a minute and 15,000 credits a month."""

    name: ClassVar[str] = NAME
    refused: ClassVar[Refusal] = staticmethod(refusal)
    cheapest: ClassVar[VendorRequest[str]] = VendorRequest("/v1/key/info", {}, month_in_words, weight=0)
    address: ClassVar[str] = "https://pro-api.coinmarketcap.com"
    auth: ClassVar[Auth] = Auth(header="X-CMC_PRO_API_KEY")
    serves: ClassVar[Mapping[str, frozenset[AssetType]]] = {"quotes": CRYPTOS, "crypto_markets": CRYPTOS}

    requests_per_minute: int = Field(default=30, ge=1, description="Most requests per minute with one key.")
    credits_per_month: int = Field(default=15_000, ge=1, description="Most credits per calendar month with one key.")

    def quotas(self) -> tuple[Quota, ...]:
        """The plan's; the vendor counts calls by the minute and credits by the month."""
        return (
            Quota("minute", self.requests_per_minute, period=60.0, weighted=False),
            Quota("month", self.credits_per_month, per="month"),
        )

    def cost(self, reply: Reply) -> int | None:
        """Every answer says how many credits it took."""
        document = reply.json()
        took = document.get("status", {}).get("credit_count") if isinstance(document, dict) else None
        return took if isinstance(took, int) else None

    def check(self, capability: str, instrument: Instrument) -> None:
        """Raise BadRequest for an alias that is no id too: it would fail all that are asked about with it."""
        super().check(capability, instrument)
        alias = require_symbol(NAME, instrument)
        if not alias.isdigit():
            problem = f"its `{NAME}` alias {alias} is no id: give the number"
            raise BadRequest(NAME, problem, symbol=instrument.symbol)

    def quotes(self, instruments: Sequence[Instrument]) -> Answers:
        """The last price of each, one request and one credit per 100; highs, lows and volume are not known."""
        return self.ask_in_parts("quotes", instruments, partial(_parts, read=read_quotes))

    def crypto_markets(self, instruments: Sequence[Instrument]) -> Answers:
        """The market of each, one request and one credit per 100."""
        return self.ask_in_parts("crypto_markets", instruments, partial(_parts, read=read_markets))


def _parts(served: Sequence[Instrument], read: Callable[..., AnswerRows]) -> Parts:
    """At most 100 coins of one currency each."""
    for of in batches(served, PER_CREDIT, partial(require_symbol, NAME), attrgetter("currency")):
        members = list(of.values())
        params = {"id": ",".join(of), "convert": members[0].currency, "skip_invalid": "true"}
        yield members, VendorRequest("/v3/cryptocurrency/quotes/latest", params, partial(read, of=of))
