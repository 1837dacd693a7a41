"""NewsAPI: articles about stocks and cryptos, many instruments in one question.

Belongs here: the resource, its limits, its questions and what its answers mean. Does not belong here: HTTP and frames.
Source: https://newsapi.org/docs. It knows no symbols: articles are found, and linked, by the words in them.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, ClassVar

from pydantic import Field

from financehub_dagster.gateway.api_keys import Auth
from financehub_dagster.gateway.errors import BadKey, BadRequest, NotInPlan, Transient
from financehub_dagster.gateway.response import Reply
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.providers.base import Answers
from financehub_dagster.providers.items import read_articles, read_or_none, read_text
from financehub_dagster.providers.reading import AnswerRows, Refusal, VendorRequest, Verdict, quota_spent
from financehub_dagster.providers.resource import EVERY_KIND, Parts
from financehub_dagster.providers.rest import RestProvider
from financehub_dagster.providers.values import instant, member, text
from financehub_dagster.storage.rate_limits.quotas import Quota
from financehub_dagster.wording import counted

NAME = "newsapi"
LONGEST_QUERY = 500
"""Characters that the q parameter may have."""
PAGE = 100
"""Most articles in one answer, and all that a developer's key gets (https://newsapi.org/docs/errors)."""
DAY_SECONDS = 86_400.0
HALF_DAY = timedelta(hours=12)
WRONG_KEY = {"apiKeyMissing", "apiKeyInvalid", "apiKeyDisabled"}
SPENT = {"apiKeyExhausted", "rateLimited"}
REMOVED = "[Removed]"
_LEGAL = r",? (Inc|Incorporated|Corp|Corporation|Company|Co|Ltd|Limited|plc|PLC|S\.A|N\.V|AG|SE)\.?(?= |$)"
_SUFFIX = re.compile(rf",? \(.*\)|{_LEGAL}|^The |\.com")


def refusal(reply: Reply, document: Any) -> Verdict:
    """NewsAPI's words: a code and a message."""
    if not isinstance(document, dict) or document.get("status") != "error":
        return None
    code, said = str(document.get("code", "")), str(document.get("message", ""))
    if code in WRONG_KEY:
        return BadKey(NAME, f"the key is refused ({code}); check NEWSAPI_API_KEYS", symbol=reply.symbol)
    if code in SPENT:
        return quota_spent(reply, reply.server_time + HALF_DAY, "the plan's calls are used up")
    if reply.status == 426 or code == "maximumResultsReached":
        return NotInPlan(NAME, f"the plan does not reach that far ({code})", symbol=reply.symbol)
    if reply.status >= 500 or code == "unexpectedError":
        return Transient(NAME, f"{said} ({code})", symbol=reply.symbol, retry_after=reply.retry_after)
    return BadRequest(NAME, f"{said} ({code})", symbol=reply.symbol)


def terms(of: Instrument) -> tuple[str, ...]:
    """What an article about an instrument calls it: its name without the legal form, and a symbol long enough."""
    name = of.name
    while (shorter := _SUFFIX.sub("", name).strip(" ,.&")) not in (name, ""):
        name = shorter
    return (name, of.symbol) if len(of.symbol) >= 3 and of.symbol.isalpha() and name != of.symbol else (name,)


def queries(instruments: Sequence[Instrument]) -> Iterator[tuple[list[Instrument], str]]:
    """Instruments and the query that finds all of them, as many as one may name."""
    members: list[Instrument] = []
    query = ""
    for each in instruments:
        part = " OR ".join(f'"{term}"' for term in terms(each))
        longer = f"{query} OR {part}" if query else part
        if members and len(longer) > LONGEST_QUERY:
            yield members, query
            members, longer = [], part
        members, query = [*members, each], longer
    if members:
        yield members, query


def read_everything(document: Any, of: Sequence[Instrument], since: datetime) -> AnswerRows:
    """/everything: articles that were taken down, or name no instrument, are left out."""
    if member(document, "status") != "ok":
        raise ValueError(f"status is {document['status']!r}")
    words = {
        each.symbol: re.compile("|".join(rf"(?<!\w){re.escape(term)}(?!\w)" for term in terms(each))) for each in of
    }

    def article(each: Any) -> dict[str, Any] | None:
        title, url = text(each.get("title")), text(each.get("url"))
        body = " ".join(str(each.get(name) or "") for name in ("title", "description", "content"))
        symbols = tuple(sorted(symbol for symbol, pattern in words.items() if pattern.search(body)))
        if title is None or url is None or title == REMOVED or not symbols:
            return None
        return {
            "url": url,
            "title": title,
            "summary": read_text(each.get("description")),
            "publisher": read_or_none(_publisher, each.get("source")),
            "author": read_text(each.get("author")),
            "published_at": read_or_none(instant, each.get("publishedAt")),
            "symbols": symbols,
        }

    return AnswerRows(read_articles(member(document, "articles"), article, since))


def _publisher(source: Any) -> str | None:
    return None if source is None else text(source.get("name"))


def read_sources(document: Any) -> str:
    """/top-headlines/sources in one line; it costs one call."""
    return counted(len(member(document, "sources")), "source")


class NewsApiProvider(RestProvider):
    """NewsAPI counts per key: for developers 100 calls a day, 50 of them in 12 hours, and news of yesterday."""

    name: ClassVar[str] = NAME
    refused: ClassVar[Refusal] = staticmethod(refusal)
    cheapest: ClassVar[VendorRequest[str]] = VendorRequest(
        "/v2/top-headlines/sources", {"category": "business"}, read_sources
    )
    address: ClassVar[str] = "https://newsapi.org"
    auth: ClassVar[Auth] = Auth(header="X-Api-Key")
    serves: ClassVar[Mapping[str, frozenset[AssetType]]] = {"news": EVERY_KIND}

    requests_per_half_day: int = Field(default=50, ge=1, description="Most requests in any 12 hours with one key.")
    requests_per_day: int = Field(default=100, ge=1, description="Most requests in any 24 hours with one key.")
    language: str = Field(default="en", description="Language of the articles, ISO 639-1.")

    def quotas(self) -> tuple[Quota, ...]:
        """The plan's."""
        return (
            Quota("half_day", self.requests_per_half_day, period=DAY_SECONDS / 2),
            Quota("day", self.requests_per_day, period=DAY_SECONDS),
        )

    def news(self, instruments: Sequence[Instrument], since: datetime) -> Answers:
        """The newest 100 articles per question since `since`; 500 characters name the instruments of one question."""

        def parts(served: Sequence[Instrument]) -> Parts:
            span = {"from": f"{since.astimezone(UTC):%Y-%m-%dT%H:%M:%S}", "sortBy": "publishedAt"}
            for members, query in queries(served):
                params = {"q": query, "language": self.language, "pageSize": str(PAGE), "page": "1", **span}
                read = partial(read_everything, of=members, since=since)
                yield members, VendorRequest("/v2/everything", params, read)

        return self.ask_in_parts("news", instruments, parts)
