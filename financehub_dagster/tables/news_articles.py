"""`news_articles`: articles about instruments, and in `news_links` which ones."""

from datetime import timedelta

from financehub_dagster.market.instruments import AssetType
from financehub_dagster.tables import defaults
from financehub_dagster.tables.columns import ORIGIN
from financehub_dagster.tables.declaration import Column, Freshness, Job, Snapshots, Table

TABLE = Table(
    name="news_articles",
    comment="Articles about instruments, each address once.",
    columns=(
        Column("url", "text", "address of the article", key=True, pattern=r"^https?://"),
        Column("title", "text", "headline"),
        Column("summary", "text", "first sentences or abstract", nullable=True),
        Column("publisher", "text", "who published it", nullable=True),
        Column("author", "text", "one or several", nullable=True),
        Column("published_at", "timestamp with time zone", "by the publisher"),
        *ORIGIN,
    ),
    grain="instant",
    # NewsAPI's free plan refuses what is older than a month.
    filled=Snapshots("news_router", batch=100, keeps="articles", look_back=timedelta(days=28)),
    group="news",
    details="One row per address. The first provider to report an article owns its row; only that provider updates it."
    " `news_links` has the instruments it is about, and only grows. A run asks from its first day on, or from the"
    " newest stored article where that is older, and stores each article under the day it was published. Vendors look"
    " back 28 days.",
    instruments=(AssetType.STOCK, AssetType.ETF, AssetType.CRYPTO),
    partitions="day",
    current_only=True,
    rules="article",
    checks=(*defaults.SNAPSHOT_CHECKS, "linked", "news_fresh"),
    freshness=Freshness(by="0,30 * * * *", within=timedelta(minutes=30)),
    runtime=timedelta(minutes=25),
    jobs=(
        Job(
            "fetch_news",
            "What was published about instruments since yesterday.",
            cron="5,35 * * * *",
            why="Every half hour, since yesterday: the free plan of NewsAPI returns articles a day late.",
            days_back=1,
        ),
    ),
    chart="headlines",
    time_index="btree",
)
