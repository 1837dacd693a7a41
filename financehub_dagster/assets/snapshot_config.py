"""What a person may set when launching a run over a table of current values.

Belongs here: run config of these assets. Does not belong here: the run config of bars (ingest.run_config), orders of
providers (providers.snapshot_routing).
"""

from datetime import UTC, datetime

import dagster as dg
from pydantic import Field

from financehub_dagster.ingest.run_config import Universe
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.tables import TABLES


class SnapshotConfig(Universe):
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
            return list(TABLES[table].instruments)
        unknown = sorted(set(self.asset_types) - set(AssetType))
        if unknown:
            raise dg.Failure(f"asset_types: {unknown[0]!r} is not one of {', '.join(AssetType)}", allow_retries=False)
        return [kind for kind in TABLES[table].instruments if kind in self.asset_types]

    def members(self, table: str) -> list[Instrument]:
        """The instruments to ask about for `table`, most important first, without delisted ones.

        Raises on a symbol that no instrument has.
        """
        today = datetime.now(UTC).date()
        return [each for each in self.instruments(self.kinds(table)) if not each.is_over(today)]
