"""`news_articles` and `news_links`: each address once, links that only grow, and no hour left out."""

from datetime import UTC, date, datetime, timedelta

import dagster as dg
import pytest

from financehub_dagster.ingest.partitions import Window
from financehub_dagster_tests.assets.snapshots.answers import days_ago, today

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
LATER = timedelta(hours=1)
LOOK_BACK = timedelta(days=28)
WINDOW = Window(date(2026, 11, 19), date(2026, 11, 20), "2026-11-19...2026-11-20")
SYMBOLS = ["AAPL", "MSFT", "BTC"]


def run(platform, symbols=SYMBOLS, first=None):
    outcome = platform.run("news_articles", first or days_ago(7), today(), symbols=symbols)
    assert outcome.success, outcome.error
    return outcome.tables["news_articles"]


def test_articles_are_stored_once_and_linked_to_their_instruments(keyed_platform):
    said = run(keyed_platform)
    stored = keyed_platform.scalar("select count(*) from news_articles")
    assert said["rows_inserted"] == stored > 0
    assert set(said["rows_by_source"]) == {"finnhub", "newsapi"}
    linked = {symbol for (symbol,) in keyed_platform.rows("select distinct symbol from news_links")}
    assert linked == set(SYMBOLS)
    alone = (
        "select count(*) from news_articles where not exists (select from news_links l where l.url = news_articles.url)"
    )
    assert keyed_platform.scalar(alone) == 0
    assert "](<https://" in said["headlines"] or "](<http://" in said["headlines"]


def test_a_second_run_inserts_nothing(keyed_platform):
    run(keyed_platform)
    tables = {
        name: keyed_platform.rows(f"select * from {name} order by 1, 2") for name in ("news_articles", "news_links")
    }
    again = run(keyed_platform)
    assert (again["rows_inserted"], again["rows_updated"]) == (0, 0)
    assert again["rows_unchanged"] == len(tables["news_articles"])
    for name, rows in tables.items():
        assert keyed_platform.rows(f"select * from {name} order by 1, 2") == rows


def test_an_article_stays_as_the_first_provider_told_it_and_gains_links(keyed_platform):
    run(keyed_platform, ["AAPL"])
    before = keyed_platform.scalar("select count(*) from news_articles")
    keyed_platform.execute("update news_articles set title = 'as another provider told it', source = 'newsapi'")
    keyed_platform.execute("delete from news_links")
    keyed_platform.execute("insert into news_links select url, 'MSFT' from news_articles")
    again = run(keyed_platform, ["AAPL"])
    assert (again["rows_inserted"], again["rows_updated"], again["rows_unchanged"]) == (0, 0, before)
    assert keyed_platform.rows("select distinct title from news_articles") == [("as another provider told it",)]
    links = keyed_platform.rows("select symbol, count(*) from news_links group by 1 order by 1")
    assert links == [("AAPL", before), ("MSFT", before)]


def test_a_correction_by_the_same_provider_is_taken_over(keyed_platform):
    run(keyed_platform, ["AAPL"])
    keyed_platform.execute("update news_articles set title = 'wrong'")
    assert run(keyed_platform, ["AAPL"])["rows_updated"] == keyed_platform.scalar("select count(*) from news_articles")
    assert keyed_platform.scalar("select count(*) from news_articles where title = 'wrong'") == 0


def test_links_leave_with_their_article(keyed_platform):
    run(keyed_platform, ["AAPL"])
    keyed_platform.execute("delete from news_articles")
    assert keyed_platform.scalar("select count(*) from news_links") == 0


def test_a_title_is_shown_as_text(keyed_platform):
    keyed_platform.execute(
        "insert into news_articles (url, title, published_at, source, fetched_at)"
        " values ('https://a.example.com/1', 'Buy [now](http://evil.example.com) *!*', now(), 'newsapi', now())"
    )
    said = run(keyed_platform, ["BTC"], first=today())
    shown = r"[Buy \[now\]\(http://evil\.example\.com\) \*\!\*](<https://a.example.com/1>)"
    assert shown in said["headlines"]


def test_an_article_at_no_page_of_the_future_or_without_a_time_is_rejected_alone(database):
    import pandas as pd

    from financehub_dagster.ingest.outcome import Outcome
    from financehub_dagster.ingest.snapshot_rows import store_news
    from financehub_dagster.providers.base import Answers
    from financehub_dagster.providers.frames import table
    from financehub_dagster.storage.database.engine import transaction

    addresses = {
        "https://a.example.com": NOW,
        "javascript:alert(1)": NOW,
        "https://b.example.com": NOW + LATER,
        "https://c.example.com": None,
    }
    articles = [
        {"url": url, "title": "A", "published_at": published, "symbols": ("AAPL", "MSFT")}
        for url, published in addresses.items()
    ]
    outcome = Outcome("news_articles")
    with transaction() as connection:
        store_news(connection, Answers(table("news", articles), {}, "newsapi", NOW, 1), "run", outcome)
        stored = pd.read_sql_query("select url from news_articles", connection)["url"].tolist()
        rejected = pd.read_sql_query("select date::text, rule from rejected_rows order by rule", connection)
    assert stored == ["https://a.example.com"]
    assert outcome.rejected == 3
    assert rejected.to_dict("list") == {"date": ["2026-11-20"] * 3, "rule": ["address", "dated", "not_ahead"]}


def test_an_article_about_nobody_and_an_address_of_no_page_are_found(keyed_platform):
    keyed_platform.execute(
        "insert into news_articles (url, title, published_at, source, fetched_at)"
        " values ('ftp://a.example.com/1', 'About nobody', now(), 'newsapi', now())"
    )
    outcome = keyed_platform.run("news_articles", today(), symbols=["BTC"], checked=True)
    found = keyed_platform.checks(outcome, "news_articles")
    assert {name for name, check in found.items() if not check.passed} >= {"schema", "linked"}
    assert "ftp://a.example.com/1" in str(found["linked"].metadata["offending_rows"].value)
    assert "ftp://a.example.com/1" in str(found["schema"].metadata["offending_rows"].value)


@pytest.mark.parametrize(
    ("newest", "since"),
    [
        (None, datetime(2026, 11, 19, tzinfo=UTC)),
        (datetime(2026, 11, 20, 9, tzinfo=UTC), datetime(2026, 11, 19, tzinfo=UTC)),
        (datetime(2026, 11, 15, 9, tzinfo=UTC), datetime(2026, 11, 15, 9, tzinfo=UTC)),
        (datetime(2026, 1, 1, tzinfo=UTC), NOW - timedelta(days=28)),
    ],
    ids=["nothing stored", "up to date", "after a pause", "after a long pause"],
)
def test_news_is_asked_for_from_the_first_day_or_from_the_last_article_on(database, newest, since):
    from financehub_dagster.assets.snapshot_table import since_when

    if newest is not None:
        with database.engine.begin() as connection:
            insert = (
                "insert into news_articles values ('https://a.example.com', 'A', null, null, null, %s, 'newsapi', %s)"
            )
            connection.exec_driver_sql(insert, (newest, newest))
    assert since_when("news_articles", WINDOW, LOOK_BACK, NOW) == since


def test_days_that_no_vendor_looks_back_to_are_refused(database):
    from financehub_dagster.assets.snapshot_table import since_when

    with pytest.raises(dg.Failure, match="2026-11-19...2026-11-20 cannot be filled: vendors look back 28 days"):
        since_when("news_articles", WINDOW, LOOK_BACK, NOW + timedelta(days=40))
