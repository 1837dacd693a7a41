"""Quotes, markets of cryptos, fundamentals and news."""

import sqlalchemy as sa
from alembic import op

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: None = None
depends_on: None = None

_FUNDAMENTALS = {
    "market_cap": "in units of currency",
    "shares_outstanding": "shares",
    "pe_ratio": "price to trailing earnings",
    "forward_pe": "price to expected earnings",
    "peg_ratio": "price to earnings to growth",
    "price_to_book": "ratio",
    "price_to_sales": "ratio, trailing twelve months",
    "eps": "earnings per share, trailing twelve months",
    "book_value": "per share",
    "dividend_per_share": "per year",
    "dividend_yield": "fraction of the price per year",
    "profit_margin": "fraction of revenue",
    "operating_margin": "fraction of revenue",
    "return_on_assets": "fraction",
    "return_on_equity": "fraction",
    "revenue": "trailing twelve months",
    "ebitda": "trailing twelve months",
    "beta": "against the market",
    "high_52w": "highest price of 52 weeks",
    "low_52w": "lowest price of 52 weeks",
}


def upgrade() -> None:
    """Create the four tables, and the links between articles and instruments."""
    _quotes()
    _crypto_markets()
    _fundamentals()
    _news()


def _text(name: str, comment: str, *, null: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=null, comment=comment)


def _double(name: str, comment: str, *, null: bool = True) -> sa.Column[float]:
    return sa.Column(name, sa.Double(), nullable=null, comment=comment)


def _instant(name: str, comment: str) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False, comment=comment)


def _origin() -> tuple[sa.Column[str], sa.Column[object]]:
    return _text("source", "the provider that answered"), _instant("fetched_at", "when the provider answered")


def _quotes() -> None:
    op.create_table(
        "quotes",
        _text("symbol", "the instrument"),
        _instant("quoted_at", "when the price was made, by the vendor"),
        _double("price", "last price", null=False),
        _double("open", "of the running session, cryptos: 24 hours ago"),
        _double("high", "of the running session, cryptos: of 24 hours"),
        _double("low", "of the running session, cryptos: of 24 hours"),
        _double("previous_close", "of the session before"),
        _double("volume", "units traded in the session, cryptos: in 24 hours"),
        _text("currency", "ISO 4217, of all money in the row"),
        *_origin(),
        sa.PrimaryKeyConstraint("symbol", "quoted_at", name="quotes_pkey"),
        comment="Last prices, each under the time it was made.",
    )
    op.create_index("quotes_quoted_at_idx", "quotes", ["quoted_at"], postgresql_using="brin")


def _crypto_markets() -> None:
    op.create_table(
        "crypto_markets",
        _text("symbol", "the instrument"),
        _instant("quoted_at", "when the price was made, by the vendor"),
        _double("price", "last price", null=False),
        _double("market_cap", "price times circulating supply"),
        _double("volume_24h", "money traded in 24 hours"),
        _double("change_24h", "percent"),
        _double("circulating_supply", "units of the crypto"),
        _double("total_supply", "units of the crypto"),
        _double("max_supply", "units of the crypto"),
        _double("rank", "by market capitalisation, at the vendor"),
        _text("currency", "ISO 4217, of all money in the row"),
        *_origin(),
        sa.PrimaryKeyConstraint("symbol", "quoted_at", name="crypto_markets_pkey"),
        comment="Price, market capitalisation, volume and supply of cryptos, each under the time it was made.",
    )
    op.create_index("crypto_markets_quoted_at_idx", "crypto_markets", ["quoted_at"], postgresql_using="brin")


def _fundamentals() -> None:
    op.create_table(
        "fundamentals",
        _text("symbol", "the instrument"),
        sa.Column("date", sa.Date(), nullable=False, comment="UTC day on which this was known"),
        _text("currency", "ISO 4217, of all money in the row"),
        _text("sector", "in the vendor's words", null=True),
        _text("industry", "in the vendor's words", null=True),
        *(_double(name, comment) for name, comment in _FUNDAMENTALS.items()),
        *_origin(),
        sa.PrimaryKeyConstraint("symbol", "date", name="fundamentals_pkey"),
        comment="What a company is worth and earns, as it was known on each day.",
    )


def _news() -> None:
    op.create_table(
        "news_articles",
        _text("url", "address of the article"),
        _text("title", "headline"),
        _text("summary", "first sentences or abstract", null=True),
        _text("publisher", "who published it", null=True),
        _text("author", "one or several", null=True),
        _instant("published_at", "by the publisher"),
        *_origin(),
        sa.PrimaryKeyConstraint("url", name="news_articles_pkey"),
        comment="Articles about instruments, each address once.",
    )
    op.create_index("news_articles_published_at_idx", "news_articles", ["published_at"])
    op.create_table(
        "news_links",
        sa.Column("url", sa.Text(), nullable=False),
        _text("symbol", "an instrument the article is about"),
        sa.ForeignKeyConstraint(["url"], ["news_articles.url"], name="news_links_url_fkey", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("url", "symbol", name="news_links_pkey"),
        comment="Which instruments an article is about; a link goes with its article.",
    )
    op.create_index("news_links_symbol_idx", "news_links", ["symbol"])


def downgrade() -> None:
    """Drop what `upgrade` made."""
    for table in ("news_links", "news_articles", "fundamentals", "crypto_markets", "quotes"):
        op.drop_table(table)
