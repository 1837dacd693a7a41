"""NewsAPI as its users meet it with a developer's key: a day late, a month back, a hundred articles and no more.

Belongs here: endpoints, limits, refusals and documents. Does not belong here: the articles (market.newsroom).
Endpoints, shapes and errors follow newsapi.org/docs.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, override

from starlette.requests import Request
from starlette.responses import Response

from financehub_dagster.sandbox.market import newsroom
from financehub_dagster.sandbox.vendors.keyed import KeyedVendor
from financehub_dagster.sandbox.vendors.limits import RateWindow
from financehub_dagster.sandbox.vendors.vendor import Endpoint, Identity, Refused, Situation, json_response

_DAY = 86_400
_MONTH = 2_592_000
#: newsapi.org/pricing: Developer and Business.
DEVELOPER = (RateWindow(_DAY, 100), RateWindow(_DAY / 2, 50))
BUSINESS = (RateWindow(_MONTH, 250_000, aligned=True),)
_MOST_RESULTS = 100
_LARGEST_PAGE = 100
_LONGEST_QUERY = 500


class NewsApi(KeyedVendor):
    """Everything, and the sources."""

    name = "newsapi"
    prefix = "/v2"
    plans = (DEVELOPER, BUSINESS)
    situations = ("bad_key", "burst", "day_quota", "month_quota", "not_in_plan")
    statuses = {401: "bad_key", 426: "not_in_plan", 429: "day_quota"}  # noqa: RUF012

    @property
    @override
    def endpoints(self) -> Mapping[str, Endpoint]:
        """What a provider asks."""
        return {"/everything": self._everything, "/top-headlines/sources": self._sources}

    @override
    def key_of(self, request: Request) -> str | None:
        """Either header, or the query."""
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
        return request.headers.get("X-Api-Key") or bearer or request.query_params.get("apiKey") or None

    @override
    def symbols_of(self, request: Request) -> Iterable[str]:
        """What the query names by symbol."""
        query = request.query_params.get("q", "")
        words = set(query.replace('"', " ").replace("(", " ").replace(")", " ").split())
        return [name for name in self.carried() if name in words]

    @override
    def situation(self, name: Situation, identity: Identity, at: float) -> Response:
        """A code and a message."""
        if name == "bad_key" and identity.key is None:
            where = "Append this to the URL with the apiKey param, or use the x-api-key HTTP header."
            return _error(401, "apiKeyMissing", f"Your API key is missing. {where}")
        if name == "bad_key":
            remedy = "Check your key, or go to https://newsapi.org to create a free API key."
            return _error(401, "apiKeyInvalid", f"Your API key is invalid or incorrect. {remedy}")
        if name == "not_in_plan":
            return _too_many_results(_MOST_RESULTS)
        amounts = {window.seconds: window.amount for window in self.accounts.windows(identity.key)}
        day, half = amounts.get(_DAY, 100), amounts.get(_DAY / 2, 50)
        words = (
            f"You have made too many requests recently. Developer accounts are limited to {day} requests over a 24 "
            f"hour period ({half} requests available every 12 hours). Please upgrade to a paid plan if you need more "
            "requests."
        )
        return _error(429, "rateLimited", words)

    @override
    def refusal(self, status: int, retry_after: int | None) -> Response:
        """Its servers' own troubles have a code as well."""
        if status == 500:
            words = "Something went wrong with the server. Please try again later."
            return _error(500, "unexpectedError", words)
        return super().refusal(status, retry_after)

    def _everything(self, request: Request) -> Response:
        query = request.query_params
        asked = query.get("q", "")
        if not asked:
            words = (
                "Required parameters are missing, the scope of your search is too broad. Please set any of the "
                "following required parameters and try again: q, qInTitle, sources, domains."
            )
            raise Refused(_error(400, "parametersMissing", words))
        if len(asked) > _LONGEST_QUERY:
            raise Refused(_invalid(f"The q parameter is longer than {_LONGEST_QUERY} characters."))
        if query.get("sortBy", "publishedAt") != "publishedAt":
            raise Refused(_error(501, "notImplemented", "The sandbox sorts by publishedAt only."))
        first, last = self._span(request)
        about = newsroom.mentioned(self.market, asked) or list(self.market.listed)
        found = newsroom.matching(newsroom.articles(self.market, about, first, last), asked)
        return self._page(request, found if query.get("language", "en") == "en" else [])

    def _sources(self, _: Request) -> Response:
        rows = [
            {
                "id": each.id,
                "name": each.name,
                "description": f"{each.name}, a publication of the sandbox.",
                "url": f"https://{each.domain}",
                "category": "business",
                "language": "en",
                "country": "us",
            }
            for each in newsroom.SOURCES
            if each.id is not None
        ]
        return json_response({"status": "ok", "sources": rows})

    def _span(self, request: Request) -> tuple[float, float]:
        """From and to as UTC epoch seconds; developers look a month back and see nothing of the last day."""
        now, developer = self.market.now(), not self.paid(request)
        oldest = now - _MONTH
        first = self._moment(request, "from", oldest)
        last = self._moment(request, "to", now)
        if developer and first < oldest - _DAY:
            far = "You are trying to request results too far in the past. Your plan permits you to request articles as "
            limit, asked = (f"{newsroom.utc(each):%Y-%m-%d}" for each in (oldest, first))
            words = f"{far}far back as {limit}, but you have requested {asked}. You may need to upgrade to a paid plan."
            raise Refused(_error(426, "parameterInvalid", words))
        return first, min(last, now - _DAY) if developer else last

    def _moment(self, request: Request, name: str, otherwise: float) -> float:
        text = request.query_params.get(name)
        if not text:
            return otherwise
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise Refused(
                _invalid(f"The {name} parameter must be a date or date and time in ISO 8601 format.")
            ) from None
        if name == "to" and len(text) == len("2026-01-01"):
            moment = moment.replace(hour=23, minute=59, second=59)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()

    def _page(self, request: Request, found: list[newsroom.Article]) -> Response:
        size, page = (request.query_params.get(name, str(usual)) for name, usual in (("pageSize", 100), ("page", 1)))
        if not size.isdigit() or not page.isdigit() or not 1 <= int(size) <= _LARGEST_PAGE or int(page) < 1:
            raise Refused(_invalid("The pageSize parameter must be between 1 and 100, the page parameter at least 1."))
        start, end = (int(page) - 1) * int(size), int(page) * int(size)
        if not self.paid(request) and end > _MOST_RESULTS:
            raise Refused(_too_many_results(end))
        body = {"status": "ok", "totalResults": len(found), "articles": [_row(each) for each in found[start:end]]}
        return json_response(body)


def _row(article: newsroom.Article) -> dict[str, Any]:
    if article.removed:
        return {
            "source": {"id": None, "name": "[Removed]"},
            "author": None,
            "title": "[Removed]",
            "description": "[Removed]",
            "url": "https://removed.com",
            "urlToImage": None,
            "publishedAt": f"{newsroom.utc(article.published):%Y-%m-%dT%H:%M:%SZ}",
            "content": "[Removed]",
        }
    return {
        "source": {"id": article.source.id, "name": article.source.name},
        "author": article.author,
        "title": article.title,
        "description": article.summary,
        "url": article.url,
        "urlToImage": article.image,
        "publishedAt": f"{newsroom.utc(article.published):%Y-%m-%dT%H:%M:%SZ}",
        "content": article.content,
    }


def _too_many_results(asked: int) -> Response:
    words = f"You have requested too many results. Developer accounts are limited to a max of {_MOST_RESULTS} results."
    upgrade = "Please upgrade to a paid plan if you need more results."
    tried = f"You are trying to request results {asked - _MOST_RESULTS + 1} to {asked}."
    return _error(426, "maximumResultsReached", f"{words} {tried} {upgrade}")


def _invalid(words: str) -> Response:
    return _error(400, "parameterInvalid", words)


def _error(status: int, code: str, words: str) -> Response:
    return json_response({"status": "error", "code": code, "message": words}, status)
