"""CoinGecko: prices and markets of cryptos, 250 in one call.

Belongs here: the resource, its limits, its questions and what its answers mean. Does not belong here: HTTP and frames.
Source: https://docs.coingecko.com. It has no daily bars with volume, so none are offered. A coin is named by its id,
the instrument's `coingecko` alias: symbols are not unique there.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import Any, ClassVar, Literal

from pydantic import Field

from financehub_dagster.gateway.api_keys import Auth
from financehub_dagster.gateway.errors import BadKey, BadRequest, NotInPlan, UnknownSymbol
from financehub_dagster.gateway.response import Reply, burst_limit
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
from financehub_dagster.providers.values import epoch, instant, maybe, maybe_price, member
from financehub_dagster.storage.rate_limits.quotas import Quota

NAME = "coingecko"
PAGE = 250
"""Most coins in one answer (https://docs.coingecko.com/reference/coins-markets)."""
WRONG_KEY = {10002, 10006, 10010, 10011}
"""Key missing, invalid, or used at the other plan's address (https://docs.coingecko.com/docs/common-errors-rate-limit)."""
NOT_IN_PLAN = {10005, 10012}
"""An endpoint, or a range of time, for subscribers."""


def refusal(reply: Reply, document: Any) -> Verdict:
    """CoinGecko's words stand in one of three envelopes: status, error.status, or error as a text."""
    code, said = _said(document)
    if reply.status == 429 or code == 429:
        if "month" in said.lower():
            return quota_spent(reply, until_next("month", reply.server_time), "the month's calls are used up")
        return burst_limit(reply, "too many calls within a minute")
    if code in WRONG_KEY:
        remedy = "check COINGECKO_API_KEYS, and that `plan` is the key's"
        return BadKey(NAME, f"the key is missing, invalid or of another plan ({code}): {remedy}", symbol=reply.symbol)
    if code in NOT_IN_PLAN:
        return NotInPlan(NAME, f"the plan does not include this ({code})", symbol=reply.symbol)
    if "coin not found" in said.lower() or (reply.status == 404 and "not found" in said.lower()):
        return UnknownSymbol(NAME, "coin not found; check its `coingecko` alias", symbol=reply.symbol)
    if code is not None and 200 <= reply.status < 300:
        return BadRequest(NAME, f"{said} ({code})", symbol=reply.symbol)
    if said and reply.status in (400, 422):
        return BadRequest(NAME, said, symbol=reply.symbol)
    return None


def _said(document: Any) -> tuple[int | None, str]:
    """Code and text of an error; None and nothing for anything else."""
    if not isinstance(document, dict):
        return None, ""
    error = document.get("error")
    if isinstance(error, str):
        return None, error
    inner = error if isinstance(error, dict) else document
    status = inner.get("status")
    if not isinstance(status, dict) or "error_message" not in status:
        return None, ""
    code = status.get("error_code", inner.get("error_code"))
    return (code if isinstance(code, int) else None), str(status["error_message"])


def read_prices(document: Any, of: Mapping[str, Instrument]) -> AnswerRows:
    """/simple/price: an object by coin id; one that is not known is not in it."""
    if not isinstance(document, Mapping):
        raise ValueError("the answer is not an object by coin")

    def row(instrument: Instrument, coin: Any) -> dict[str, Any]:
        currency = instrument.currency.lower()
        return {
            "symbol": instrument.symbol,
            "price": last_price(NAME, instrument, member(coin, currency)),
            "currency": instrument.currency,
            "quoted_at": epoch(member(coin, "last_updated_at")),
        }

    return each_of(NAME, of, document, row)


def read_markets(document: Any, of: Mapping[str, Instrument]) -> AnswerRows:
    """/coins/markets: a list of coins."""
    if not isinstance(document, list):
        raise ValueError("the answer is not a list of coins")

    def row(instrument: Instrument, coin: Any) -> dict[str, Any]:
        return {
            "symbol": instrument.symbol,
            "price": last_price(NAME, instrument, member(coin, "current_price")),
            "market_cap": maybe_price(member(coin, "market_cap")),
            "volume_24h": maybe(member(coin, "total_volume")),
            "change_24h": maybe(coin.get("price_change_percentage_24h")),
            "circulating_supply": maybe(coin.get("circulating_supply")),
            "total_supply": maybe(coin.get("total_supply")),
            "max_supply": maybe(coin.get("max_supply")),
            "rank": maybe(coin.get("market_cap_rank")),
            "currency": instrument.currency,
            "quoted_at": instant(member(coin, "last_updated")),
        }

    return each_of(
        NAME, of, {str(coin["id"]): coin for coin in document if isinstance(coin, Mapping) and "id" in coin}, row
    )


class CoinGeckoProvider(RestProvider):
    """CoinGecko counts per key: on the Demo plan 30 calls a minute and 10,000 a month, failed ones too."""

    name: ClassVar[str] = NAME
    refused: ClassVar[Refusal] = staticmethod(refusal)
    cheapest: ClassVar[VendorRequest[str]] = VendorRequest(
        "/api/v3/ping", {}, lambda document: str(member(document, "gecko_says"))
    )
    address: ClassVar[str] = "https://api.coingecko.com"
    serves: ClassVar[Mapping[str, frozenset[AssetType]]] = {"quotes": CRYPTOS, "crypto_markets": CRYPTOS}

    plan: Literal["demo", "pro"] = Field(default="demo", description="The kind of the keys: demo (free) or pro (paid).")
    requests_per_minute: int = Field(default=30, ge=1, description="Most requests per minute with one key.")
    requests_per_month: int = Field(default=10_000, ge=1, description="Most requests per calendar month with one key.")

    def quotas(self) -> tuple[Quota, ...]:
        """The plan's."""
        return (
            Quota("minute", self.requests_per_minute, period=60.0),
            Quota("month", self.requests_per_month, per="month"),
        )

    def key_place(self) -> Auth:
        """Each plan has a header of its own."""
        return Auth(header=f"x-cg-{self.plan}-api-key")

    def vendor_address(self) -> str:
        """Paying customers have an address of their own."""
        return "https://pro-api.coingecko.com" if self.plan == "pro" else self.address

    def quotes(self, instruments: Sequence[Instrument]) -> Answers:
        """The last price of each, one request per 250; highs, lows and volume are not known."""

        def question(currency: str, of: dict[str, Instrument]) -> VendorRequest[AnswerRows]:
            params = {"ids": ",".join(of), "vs_currencies": currency, "include_last_updated_at": "true"}
            return VendorRequest("/api/v3/simple/price", {**params, "precision": "full"}, partial(read_prices, of=of))

        return self.ask_in_parts("quotes", instruments, partial(_parts, question=question))

    def crypto_markets(self, instruments: Sequence[Instrument]) -> Answers:
        """The market of each, one request per 250."""

        def question(currency: str, of: dict[str, Instrument]) -> VendorRequest[AnswerRows]:
            params = {"ids": ",".join(of), "vs_currency": currency, "per_page": str(PAGE), "page": "1"}
            return VendorRequest("/api/v3/coins/markets", {**params, "precision": "full"}, partial(read_markets, of=of))

        return self.ask_in_parts("crypto_markets", instruments, partial(_parts, question=question))


def _parts(
    served: Sequence[Instrument], question: Callable[[str, dict[str, Instrument]], VendorRequest[AnswerRows]]
) -> Parts:
    """At most 250 coins of one currency each."""
    for of in batches(served, PAGE, partial(require_symbol, NAME), attrgetter("currency")):
        members = list(of.values())
        yield members, question(members[0].currency.lower(), of)
