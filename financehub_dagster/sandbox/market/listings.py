"""Which instruments the sample market lists.

Belongs here: the register of instruments and how it starts out, as the default universe plus whatever was recorded
beyond it. Does not belong here: prices, or which of the instruments a vendor carries.
"""

from collections.abc import Callable, Iterable, Iterator
from zlib import crc32

from financehub_dagster.market.exchanges import exchanges
from financehub_dagster.market.instrument_files import default_universe
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.sandbox.errors import SandboxError

#: No part of the default universe: SPY is recorded by the minute, and vendors' health probes ask for it; the others are
#: two currency pairs.
_BEYOND = (
    Instrument("SPY", "SPDR S&P 500 ETF Trust", AssetType.ETF, "ARCX", "USD", "America/New_York"),
    *(
        Instrument(
            f"{base}USD",
            f"{name} in US dollars",
            AssetType.FX,
            "XXXX",
            "USD",
            "America/New_York",
            aliases={"yahoo": f"{base}USD=X", "twelve_data": f"{base}/USD"},
        )
        for base, name in (("EUR", "Euro"), ("GBP", "Pound sterling"))
    ),
)


def default_listing() -> tuple[Instrument, ...]:
    """The platform's default universe, SPY and currency pairs."""
    universe = tuple(default_universe())
    known = {each.symbol for each in universe}
    return (*universe, *(each for each in _BEYOND if each.symbol not in known))


def synthetic(
    count: int, prefix: str = "SIM", asset_type: AssetType = AssetType.STOCK, exchange: str = "XNYS"
) -> list[Instrument]:
    """`count` invented instruments SIM0001, SIM0002, ...: stocks of an exchange, or cryptos known to every vendor."""
    # CoinMarketCap's ids are numbers: beyond its own, and for each prefix others.
    first_id = 1_000_000 + crc32(prefix.encode()) % 9_000 * 10_000
    names = [f"{prefix}{number:04d}" for number in range(1, count + 1)]
    if asset_type is AssetType.CRYPTO:
        return [
            Instrument(
                name,
                f"Synthetic {name}",
                asset_type,
                "XXXX",
                aliases={
                    "binance": f"{name}USDT",
                    "yahoo": f"{name}-USD",
                    "coingecko": f"synthetic-{name.lower()}",
                    "coinmarketcap": str(first_id + number),
                },
            )
            for number, name in enumerate(names, start=1)
        ]
    of = exchanges()[exchange]
    return [Instrument(name, f"Synthetic {name}", asset_type, of.mic, of.currency, of.timezone) for name in names]


class Register:
    """The instruments listed now, by symbol."""

    def __init__(self, instruments: Iterable[Instrument]) -> None:
        self._start = {each.symbol: each for each in instruments}
        self._listed = dict(self._start)

    def __iter__(self) -> Iterator[Instrument]:
        return iter(list(self._listed.values()))

    def __len__(self) -> int:
        return len(self._listed)

    def get(self, symbol: str) -> Instrument | None:
        """The instrument listed under this symbol of ours."""
        return self._listed.get(symbol)

    def add(self, instruments: Iterable[Instrument]) -> None:
        """List more instruments; one that is listed already is replaced."""
        self._listed.update({each.symbol: each for each in instruments})

    def remove(self, symbol: str) -> None:
        """Delist; raises SandboxError for a symbol that is not listed."""
        if self._listed.pop(symbol, None) is None:
            raise SandboxError(f"{symbol} is not listed in the sandbox")

    def swaps(self, symbols: Iterable[str], spelling: Callable[[Instrument], str]) -> dict[str, str]:
        """For each listed symbol the next instrument of its kind, both in a vendor's spelling."""
        found = {}
        listed = list(self._listed.values())
        for symbol in symbols:
            instrument = self.get(symbol)
            alike = [each for each in listed if instrument and each.asset_type is instrument.asset_type]
            if instrument and len(alike) > 1:
                found[spelling(instrument)] = spelling(alike[(alike.index(instrument) + 1) % len(alike)])
        return found

    def reset(self) -> None:
        """Back to the listing the sandbox started with."""
        self._listed = dict(self._start)
