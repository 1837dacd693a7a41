"""What a person may set when launching a run over quotes, markets, fundamentals or news.

Belongs here: run config of these assets, and which kinds of instruments they take. Does not belong here: the
run config of bars (`config`), orders of providers (providers.snapshot_routing).
"""

import dagster as dg
from pydantic import Field

from financehub_dagster.ingest.run_config import Universe
from financehub_dagster.market.instruments import AssetType, Instrument

# Which kinds of instruments each table of vendors' answers takes.
ANSWERS_OF = {
    "quotes": tuple(AssetType),
    "crypto_markets": (AssetType.CRYPTO,),
    "fundamentals": (AssetType.STOCK,),
    "news_articles": (AssetType.STOCK, AssetType.ETF, AssetType.CRYPTO),
}


class Question(Universe):
    """Which instruments a run asks about, and whom."""

    asset_types: list[str] | None = Field(
        default=None,
        description="Kinds of instruments to ask about: stock, etf, index, fx, crypto; all that the table takes when "
        "empty.",
    )
    providers: list[str] | None = Field(
        default=None, description="Providers to ask, in this order; as the table's router is configured when empty."
    )

    def kinds(self, table: str) -> list[AssetType]:
        """The kinds of instruments to ask about for `table`; raises dg.Failure for a word that names none."""
        if self.asset_types is None:
            return list(ANSWERS_OF[table])
        unknown = sorted(set(self.asset_types) - set(AssetType))
        if unknown:
            raise dg.Failure(f"asset_types: {unknown[0]!r} is not one of {', '.join(AssetType)}", allow_retries=False)
        return [kind for kind in ANSWERS_OF[table] if kind in self.asset_types]

    def members(self, table: str) -> list[Instrument]:
        """The instruments to ask about for `table`, most important first; raises on a symbol that no instrument has."""
        return self.instruments(self.kinds(table))
