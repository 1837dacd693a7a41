"""Instruments: what can be priced, and how each vendor calls it.

Belongs here: the Instrument value, its validation and the parsing of import files. Does not belong here: storing them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class AssetType(StrEnum):
    """The kinds of instruments; each price table takes the kinds it is made for."""

    STOCK = "stock"
    CRYPTO = "crypto"
    ETF = "etf"
    INDEX = "index"
    FX = "fx"


@dataclass(frozen=True, slots=True)
class Instrument:
    """One row of the universe.

    symbol is unique and upper case; exchange is an ISO 10383 MIC (XXXX, "no market", for cryptos); currency is
    ISO 4217; timezone an IANA name; market_cap in units of currency; aliases map a provider's name to its symbol.
    """

    symbol: str
    name: str
    asset_type: AssetType
    exchange: str
    currency: str = "USD"
    timezone: str = "UTC"
    is_active: bool = True
    market_cap: float | None = None
    aliases: Mapping[str, str] = field(default_factory=dict)

    def symbol_at(self, provider: str) -> str:
        """The symbol under which `provider` knows this instrument."""
        return self.aliases.get(provider, self.symbol)
