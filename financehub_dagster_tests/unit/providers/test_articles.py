"""An article with an unreadable field of no importance is read without it, at every vendor of news."""

from datetime import UTC, datetime
from typing import Any

import pytest

from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.providers import finnhub, newsapi
from financehub_dagster.providers.alpha_vantage import responses as alpha_vantage

IBM = Instrument("IBM", "IBM", AssetType.STOCK, "XNYS")
SINCE = datetime(2026, 11, 2, tzinfo=UTC)
NO_TEXT: tuple[Any, ...] = (["A", "B"], {"name": "A"}, [])


def of_newsapi(**fields: Any) -> list[Any]:
    article = {"url": "https://example.org/1", "title": "IBM rises", "publishedAt": "2026-11-03T09:00:00Z"}
    document = {"status": "ok", "articles": [{**article, **fields}]}
    return list(newsapi.read_everything(document, [IBM], SINCE).rows)


def of_finnhub(**fields: Any) -> list[Any]:
    article = {"url": "https://example.org/1", "headline": "IBM rises", "datetime": 1_793_696_400}
    return list(finnhub.read_news([{**article, **fields}], IBM, SINCE).rows)


def of_alpha_vantage(**fields: Any) -> list[Any]:
    article = {"url": "https://example.org/1", "title": "IBM rises", "time_published": "20261103T090000"}
    document = {"feed": [{**article, "ticker_sentiment": [{"ticker": "IBM"}], **fields}]}
    return list(alpha_vantage.read_news(document, {"IBM": "IBM"}, SINCE).rows)


@pytest.mark.parametrize("unreadable", NO_TEXT)
def test_a_summary_that_is_no_text_costs_no_article(unreadable: Any) -> None:
    found = [of_newsapi(description=unreadable), of_finnhub(summary=unreadable), of_alpha_vantage(summary=unreadable)]
    assert [(each["title"], each["summary"]) for (each,) in found] == [("IBM rises", None)] * 3


@pytest.mark.parametrize("unreadable", NO_TEXT)
def test_a_publisher_that_is_no_text_costs_no_article(unreadable: Any) -> None:
    found = [
        of_newsapi(source={"name": unreadable}),
        of_newsapi(source=unreadable or "Wire"),
        of_finnhub(source=unreadable),
        of_alpha_vantage(source=unreadable),
    ]
    assert [each["title"] for (each,) in found] == ["IBM rises"] * 4


@pytest.mark.parametrize(
    ("told", "author"),
    [(7, None), ({"a": 1}, "a"), ("A. Author", "A. Author"), (["A", None, "B"], "A, B"), ([[]], None)],
)
def test_authors_of_another_shape_cost_no_article(told: Any, author: str | None) -> None:
    assert [each["author"] for each in of_alpha_vantage(authors=told)] == [author]


def test_authors_in_a_list_cost_no_article_of_newsapi() -> None:
    assert [each["author"] for each in of_newsapi(author=["A", "B"])] == [None]


def test_a_ticker_that_cannot_be_read_hides_no_other() -> None:
    assert [each["symbols"] for each in of_alpha_vantage(ticker_sentiment=[None, {}, {"ticker": "IBM"}])] == [("IBM",)]
