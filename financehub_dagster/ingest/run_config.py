"""What a person may set when launching a run.

Belongs here: run config of assets and its resolution into instruments. Does not belong here: environment settings.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

import dagster as dg
from pydantic import Field

from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.tables import TABLES


class Universe(dg.Config):
    """Which instruments a run works on."""

    symbols: list[str] | None = Field(
        default=None,
        description="Symbols to work on; all active instruments of the table's kind when empty. "
        "Symbols that belong to another table are passed over, unknown ones are refused.",
    )

    def instruments(self, asset_types: Sequence[AssetType]) -> list[Instrument]:
        """The instruments of these kinds, most important first; raises on a symbol that no instrument has."""
        from financehub_dagster.storage.database.engine import transaction
        from financehub_dagster.storage.queries.instruments import list_instruments

        with transaction() as connection:
            if self.symbols is None:
                return list_instruments(connection, asset_types=asset_types)
            known = list_instruments(connection, symbols=self.symbols, active=None)
        return [instrument for instrument in known if instrument.asset_type in asset_types]


class Fetch(Universe):
    """Which instruments a run asks vendors about, and which vendors."""

    providers: list[str] | None = Field(
        default=None,
        description="Ask these providers and nobody else, in this order; as the table's router is configured when "
        "empty. Rows of a provider that the router asks earlier are not overwritten.",
    )


class Snapshot(Universe):
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


class Minutes(Fetch):
    """Which instruments a run asks vendors about for minutes, and what of them."""

    tail_only: bool = Field(
        default=False,
        description="Ask only from each instrument's last complete minute on, and leave gaps to heal_gaps.",
    )
    plan: dict[str, str] = Field(
        default_factory=dict, description="What the tick that asked for the run planned; shown in its metadata."
    )
