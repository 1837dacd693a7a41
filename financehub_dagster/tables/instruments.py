"""`instruments`: the universe that everything else reads."""

from financehub_dagster.market.exchanges import exchanges
from financehub_dagster.market.instruments import AssetType
from financehub_dagster.market.quality.limits import CURRENCY
from financehub_dagster.tables import defaults
from financehub_dagster.tables.columns import number, positive
from financehub_dagster.tables.declaration import Column, Maintained, Table

TABLE = Table(
    name="instruments",
    comment="The only universe: what is fetched, computed and reported.",
    columns=(
        Column("symbol", "text", "unique, upper case", key=True, pattern=r"^[A-Z0-9^][A-Z0-9.^=&/-]{0,31}$"),
        Column("name", "text", "in full"),
        Column("asset_type", "text", "stock, crypto, etf, index or fx", choices=tuple(AssetType)),
        Column("exchange", "text", "ISO 10383 MIC", choices=exchanges),
        Column("currency", "text", "ISO 4217", pattern=CURRENCY),
        Column("timezone", "text", "IANA name"),
        Column("is_active", "boolean", "whether it is fetched and computed", default="true"),
        positive("market_cap", "in units of currency", nullable=True),
        Column("aliases", "jsonb", "provider -> symbol", default="'{}'::jsonb"),
        Column("updated_at", "timestamp with time zone", "last edit", default="now()"),
        number(
            "importance",
            "from 1 to 9, computed daily from holdings, market cap and volatility; NULL: not yet",
            nullable=True,
            least=1,
            most=9,
        ),
        Column("delisted_on", "date", "last day it was traded; no later session is expected", nullable=True),
        Column(
            "former_aliases",
            "jsonb",
            "names given up: provider (financehub: ours) -> list of symbol, from (null: the beginning), until",
            default="'{}'::jsonb",
        ),
        Column(
            "permanent_id",
            "text",
            "made when it is added; stays when its symbol changes",
            default="(gen_random_uuid())::text",
        ),
    ),
    grain="none",
    filled=Maintained(),
    group="reference",
    source=("csv",),
    details="Edited with `financehub instruments add|remove|delist|rename|import`. Every table works on the active"
    " instruments of the kinds it takes.",
    checks=defaults.CHECKS,
)
