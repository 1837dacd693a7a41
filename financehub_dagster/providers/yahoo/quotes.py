"""Yahoo's quotes, many in one request, with the cookie and the crumb that they need.

Belongs here: the process-wide session that holds both, and reading quotes. Does not belong here: what an answer means
(errors), or charts, which need neither (client). Imports curl_cffi: import this module inside functions only.
"""

import threading
from collections.abc import Mapping, Sequence
from functools import cache
from math import nan
from typing import Any

from financehub_dagster.gateway.errors import BadKey, BadRequest, ProviderError, UnknownSymbol
from financehub_dagster.gateway.http.curl_session import GatewayCurlSession
from financehub_dagster.gateway.request_context import current_call
from financehub_dagster.gateway.response import parse_json
from financehub_dagster.market.currencies import scaled
from financehub_dagster.market.instruments import Instrument
from financehub_dagster.providers.items import known, last_price
from financehub_dagster.providers.listings import power_of_told
from financehub_dagster.providers.reading import AnswerRows, each_of, unknown_symbol
from financehub_dagster.providers.values import epoch, member
from financehub_dagster.providers.yahoo import errors

NAME = "yahoo"
HOST = "https://query1.finance.yahoo.com"
COOKIES = "https://fc.yahoo.com/"


class _Visitor:
    """One session with its cookies, and the crumb that goes with them, by the address that is asked."""

    def __init__(self) -> None:
        self.session = GatewayCurlSession()
        self.crumbs: dict[str | None, str] = {}
        self.lock = threading.Lock()

    def crumb(self, place: str | None) -> str:
        """The crumb, fetched once."""
        with self.lock:
            if place not in self.crumbs:
                self.session.get(COOKIES)
                self.crumbs[place] = self.session.get(f"{HOST}{errors.CRUMB}").text.strip()
            return self.crumbs[place]

    def forget(self, place: str | None, crumb: str) -> None:
        """Fetch another one next time, unless somebody did already."""
        with self.lock:
            if self.crumbs.get(place) == crumb:
                del self.crumbs[place]


_visitor = cache(_Visitor)
_lock = threading.Lock()


def ask(symbols: Sequence[str]) -> Any:
    """The quotes of these symbols within the current call, as Yahoo sends them; raises ProviderError.

    A crumb that is no longer accepted is replaced once.
    """
    with _lock:
        visitor = _visitor()
    place = current_call().base_url
    crumb = visitor.crumb(place)
    try:
        return _ask(visitor, symbols, crumb)
    except BadKey:
        visitor.forget(place, crumb)
        return _ask(visitor, symbols, visitor.crumb(place))


def _ask(visitor: _Visitor, symbols: Sequence[str], crumb: str) -> Any:
    params = {"symbols": ",".join(symbols), "crumb": crumb}
    return parse_json(visitor.session.get(f"{HOST}{errors.QUOTE}", params=params).content)


def read(document: Any, of: Mapping[str, Instrument]) -> AnswerRows:
    """Quotes by symbol; one that Yahoo does not know is not among them. Pence become pounds, as in bars."""

    def row(instrument: Instrument, quote: Any) -> dict[str, Any]:
        if quote.get("quoteType") == "NONE":
            problem = f"Yahoo has no quote for it any more (quoteType NONE, exchange {quote.get('exchange')})"
            problem += errors.if_delisted(instrument.symbol)
            raise UnknownSymbol(NAME, problem, symbol=instrument.symbol)
        if quote.get("quoteType"):
            errors.require_kind(instrument, str(quote["quoteType"]))
        if not quote.get("currency"):
            problem = "Yahoo does not say in which currency it is quoted, so that its price means nothing"
            raise BadRequest(NAME, problem, symbol=instrument.symbol)
        power = power_of_told(NAME, instrument, str(quote["currency"]))

        def figure(name: str) -> float:
            """A price that may be unknown: Yahoo writes 0 before the day's first trade."""
            return scaled(known(quote.get(name)), power) or nan

        return {
            "symbol": instrument.symbol,
            "price": last_price(NAME, instrument, member(quote, "regularMarketPrice"), power),
            "open": figure("regularMarketOpen"),
            "high": figure("regularMarketDayHigh"),
            "low": figure("regularMarketDayLow"),
            "previous_close": figure("regularMarketPreviousClose"),
            "volume": known(quote.get("regularMarketVolume")),
            "currency": instrument.currency,
            "quoted_at": epoch(member(quote, "regularMarketTime")),
        }

    quotes = {str(member(quote, "symbol")).upper(): quote for quote in document["quoteResponse"]["result"]}
    missing, strangers = [name for name in of if name not in quotes], [name for name in quotes if name not in of]
    known_there = {name: each for name, each in of.items() if name in quotes}
    one_for_one = len(missing) == len(strangers) == 1
    if not strangers or not (known_there or one_for_one):
        return each_of(NAME, of, quotes, row)
    part = each_of(NAME, known_there, quotes, row)
    failed: dict[str, ProviderError] = {}
    for name in missing:
        symbol, problem = of[name].symbol, f"Yahoo has no quote for it, or calls it {' or '.join(strangers[:3])} now"
        replaced = errors.renamed(strangers[0], symbol, name)
        failed[symbol] = replaced if one_for_one else unknown_symbol(NAME, symbol, name, problem)
    return AnswerRows(part.rows, {**part.failed, **failed})
