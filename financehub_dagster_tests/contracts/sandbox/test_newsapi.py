"""The sandbox speaks NewsAPI's wire format with its developers' limits: a day late, a month back, a hundred at most."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from financehub_dagster.sandbox.client import Sandbox
from financehub_dagster_tests.contracts.sandbox.sandbox_calls import KEY, ask, fresh

NOON = datetime(2026, 6, 12, 12, 0, tzinfo=UTC)
FIELDS = ["source", "author", "title", "description", "url", "urlToImage", "publishedAt", "content"]


def articles(box: Sandbox, **params: Any) -> list[dict[str, Any]]:
    answer = fresh(box, "newsapi", "/v2/everything", **{"pageSize": "100", **params})
    assert answer.status_code == 200, answer.text
    rows: list[dict[str, Any]] = answer.json()["articles"]
    return rows


@pytest.fixture
def noon(sandbox: Sandbox) -> Sandbox:
    sandbox.freeze(NOON)
    return sandbox


def test_articles_have_the_documented_members_and_nulls(noon: Sandbox) -> None:
    rows = articles(noon, q="IBM OR AAPL OR BTC")
    assert {tuple(row) for row in rows} == {tuple(FIELDS)}
    for member in ("author", "urlToImage", "content"):
        assert any(row[member] is None for row in rows)
        assert any(row[member] for row in rows)
    assert {row["source"]["id"] is None for row in rows} == {True, False}
    published = [row["publishedAt"] for row in rows]
    assert published == sorted(published, reverse=True)


def test_a_query_finds_symbols_names_and_combinations(noon: Sandbox) -> None:
    def titles(query: str) -> set[str]:
        return {row["url"] for row in articles(noon, q=query)} - {"https://removed.com"}

    ibm, apple = titles("IBM"), titles("AAPL")
    assert ibm
    assert apple
    assert titles("IBM OR AAPL") == ibm | apple
    assert titles('"Apple Inc."') == apple
    assert titles("IBM AND cautious") < ibm
    assert titles("NOSUCHCOMPANY") == set()


def test_developers_see_nothing_of_the_last_day_and_nothing_older_than_a_month(noon: Sandbox) -> None:
    times = [datetime.fromisoformat(row["publishedAt"]) for row in articles(noon, q="IBM")]
    assert NOON - timedelta(days=31) <= min(times)
    assert max(times) <= NOON - timedelta(days=1)
    refused = fresh(noon, "newsapi", "/v2/everything", **{"q": "IBM", "from": "2026-05-01"})
    assert (refused.status_code, refused.json()["code"]) == (426, "parameterInvalid")
    assert "too far in the past" in refused.json()["message"]
    noon.declare_key("newsapi", KEY, plan="paid")
    span: dict[str, Any] = {"q": "IBM", "from": "2026-01-01"}
    rows = ask(noon, "newsapi", "/v2/everything", **span).json()["articles"]
    assert datetime.fromisoformat(rows[0]["publishedAt"]) > NOON - timedelta(days=1)


def test_a_span_is_kept_to(noon: Sandbox) -> None:
    rows = articles(noon, **{"q": "IBM OR AAPL", "from": "2026-06-01", "to": "2026-06-03"})
    days = {row["publishedAt"][:10] for row in rows}
    assert days <= {"2026-06-01", "2026-06-02", "2026-06-03"}
    assert "2026-06-03" in days


def test_more_than_a_hundred_results_are_not_for_developers(noon: Sandbox) -> None:
    for params in ({"pageSize": "100", "page": "2"}, {"pageSize": "50", "page": "3"}):
        refused = fresh(noon, "newsapi", "/v2/everything", q="the", **params)
        assert (refused.status_code, refused.json()["code"]) == (426, "maximumResultsReached")
        assert "Developer accounts are limited to a max of 100 results" in refused.json()["message"]
    noon.declare_key("newsapi", KEY, plan="paid")
    assert ask(noon, "newsapi", "/v2/everything", q="expectations", pageSize="100", page="2").status_code == 200


def test_queries_share_articles(noon: Sandbox) -> None:
    ibm, intel = ({row["url"] for row in articles(noon, q=name)} - {"https://removed.com"} for name in ("IBM", "INTC"))
    assert ibm & intel
    assert ibm - intel


def test_what_was_removed_leaves_its_shell(noon: Sandbox) -> None:
    shells = [row for row in articles(noon, q="expectations OR demand") if row["title"] == "[Removed]"]
    assert shells
    assert {row["url"] for row in shells} == {"https://removed.com"}
    assert {(row["source"]["id"], row["source"]["name"], row["content"]) for row in shells} == {
        (None, "[Removed]", "[Removed]")
    }


def test_the_same_article_is_the_same_everywhere_and_later(noon: Sandbox) -> None:
    before = {row["url"]: row for row in articles(noon, q="IBM")}
    noon.freeze(NOON + timedelta(days=5))
    after = {row["url"]: row for row in articles(noon, q="IBM")}
    assert len(before.keys() & after.keys()) > len(before) / 2
    assert all(after[url] == before[url] for url in before.keys() & after.keys() - {"https://removed.com"})


@pytest.mark.parametrize(
    ("params", "status", "code"),
    [
        ({}, 400, "parametersMissing"),
        ({"q": "x" * 501}, 400, "parameterInvalid"),
        ({"q": "IBM", "pageSize": "101"}, 400, "parameterInvalid"),
        ({"q": "IBM", "sortBy": "popularity"}, 501, "notImplemented"),
        ({"q": "IBM", "from": "lately"}, 400, "parameterInvalid"),
    ],
)
def test_wrong_parameters_have_codes(sandbox: Sandbox, params: dict[str, str], status: int, code: str) -> None:
    refused = fresh(sandbox, "newsapi", "/v2/everything", **params)
    assert (refused.status_code, refused.json()["status"], refused.json()["code"]) == (status, "error", code)


def test_sources_are_those_that_articles_name(noon: Sandbox) -> None:
    listed = {each["id"] for each in fresh(noon, "newsapi", "/v2/top-headlines/sources").json()["sources"]}
    named = {row["source"]["id"] for row in articles(noon, q="expectations")}
    assert named - {None} <= listed


def test_a_spent_day_is_refused_with_both_numbers(sandbox: Sandbox) -> None:
    sandbox.limit("newsapi", 0)
    refused = ask(sandbox, "newsapi")
    assert (refused.status_code, refused.json()["code"]) == (429, "rateLimited")
    assert (
        "limited to 0 requests over a 24 hour period (50 requests available every 12 hours)"
        in refused.json()["message"]
    )
