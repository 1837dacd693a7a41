"""Articles and what they are about.

Belongs here: what is asked of both tables together. Does not belong here: writing them (upsert).
"""

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import aggregate_order_by

from financehub_dagster.storage.database.array_parameters import any_of
from financehub_dagster.storage.database.engine import Connection
from financehub_dagster.storage.database.schema import news_articles as articles
from financehub_dagster.storage.database.schema import news_links as links
from financehub_dagster.storage.queries import days

if TYPE_CHECKING:
    import pandas as pd


def sources_of(connection: Connection, urls: Sequence[str]) -> dict[str, str]:
    """The provider that told of each of `urls` that is stored."""
    known = articles.c.url == any_of(urls)
    rows = connection.execute(sa.select(articles.c.url, articles.c.source).where(known))
    return {url: source for url, source in rows}  # noqa: C416  (a row is not a pair to dict's type)


def headlines(connection: Connection, start: date, end: date, limit: int) -> "pd.DataFrame":
    """The newest `limit` articles of the UTC days from `start` to `end`: published_at, title, url, publisher, symbols.

    symbols are those the article is about, in order, with a comma between them; empty where there is none.
    """
    import pandas as pd

    about = (
        sa.select(sa.func.string_agg(links.c.symbol, aggregate_order_by(sa.literal(", "), links.c.symbol)))
        .where(links.c.url == articles.c.url)
        .scalar_subquery()
    )
    query = (
        sa.select(
            articles.c.published_at,
            articles.c.title,
            articles.c.url,
            articles.c.publisher,
            sa.func.coalesce(about, "").label("symbols"),
        )
        .where(days.within(articles.c.published_at, start, end))
        .order_by(articles.c.published_at.desc(), articles.c.url)
        .limit(limit)
    )
    return pd.read_sql_query(query, connection)


def unlinked(connection: Connection, urls: Sequence[str]) -> list[dict[str, object]]:
    """The articles among `urls` that are about no instrument: url and published_at."""
    alone = ~sa.exists().where(links.c.url == articles.c.url)
    query = sa.select(articles.c.url, articles.c.published_at).where(articles.c.url == any_of(urls), alone)
    return [dict(row) for row in connection.execute(query.order_by(articles.c.url)).mappings()]
