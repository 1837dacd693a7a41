"""What a person may set when launching a run.

Belongs here: run config of assets and its resolution into instruments. Does not belong here: environment settings.
"""

from collections.abc import Sequence

import dagster as dg
from pydantic import Field

from financehub_dagster.market.instruments import AssetType, Instrument

EXCHANGE_TRADED = (AssetType.STOCK, AssetType.ETF, AssetType.INDEX)
CRYPTOS = (AssetType.CRYPTO,)

# Which kinds of instruments each table of bars takes.
BARS_OF = {"stock_prices_daily": EXCHANGE_TRADED, "crypto_prices_daily": CRYPTOS}


class Universe(dg.Config):
    """Which instruments a run works on."""

    symbols: list[str] | None = Field(
        default=None,
        description="Symbols to work on; all active instruments of the table's kind when empty. "
        "Symbols that belong to another table are passed over, unknown ones are refused.",
    )

    def instruments(self, asset_types: Sequence[AssetType]) -> list[Instrument]:
        """The instruments of these kinds, most important first; raises on a symbol that no instrument has."""
        from financehub_dagster.storage.engine import transaction
        from financehub_dagster.storage.instruments import list_instruments

        with transaction() as connection:
            if self.symbols is None:
                return list_instruments(connection, asset_types=asset_types)
            known = list_instruments(connection, symbols=self.symbols, active=None)
        return [instrument for instrument in known if instrument.asset_type in asset_types]
