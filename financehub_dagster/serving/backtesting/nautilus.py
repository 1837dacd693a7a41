"""Daily bars as a catalog of nautilus_trader (`ParquetDataCatalog`, 1.231).

Belongs here: the instruments of nautilus_trader and their bars. Does not belong here: reading (`reading`), the files:
how prices are encoded in them differs between versions and operating systems of nautilus_trader, so it writes them
itself. It is an extra, imported inside functions.

nautilus_trader knows no corporate actions: prices are adjusted for splits and dividends, and volumes make up for it as
in `qlib`. A bar's time is the close of its session.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from financehub_dagster.market import calendars
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.market.price_bases import PRICES
from financehub_dagster.serving.backtesting.reading import Bars, Report, read_bars, require_different
from financehub_dagster.serving.errors import ExportFailed
from financehub_dagster.serving.questions import TableQuery

if TYPE_CHECKING:
    from nautilus_trader.model.data import Bar
    from nautilus_trader.model.instruments import Instrument as Traded

DIGITS = 6
"""What an instrument's lowest price keeps: prices of one instrument all have the same number of decimals."""
MOST_DECIMALS = 9
"""As many as every build of nautilus_trader has."""
DECIMALS_OF_COINS = 8
"""Of a volume of coins."""


def nautilus(question: TableQuery, members: Sequence[Instrument], folder: Path, report: Report) -> dict[str, int]:
    """Write a catalog; returns the bars of each folder. Raises ExportFailed where nautilus_trader is not installed."""
    try:
        from nautilus_trader.persistence.catalog import ParquetDataCatalog
    except ModuleNotFoundError as error:
        if error.name != "nautilus_trader":
            raise
        remedy = "`pip install 'financehub-dagster[nautilus]'`"
        raise ExportFailed(f"the library nautilus_trader is not installed: {remedy}") from None
    by_symbol = {each.symbol: each for each in members}
    require_different({symbol: re.sub("[^A-Z0-9]", "_", _folder_name(each)) for symbol, each in by_symbol.items()})
    catalog, written = ParquetDataCatalog(str(folder)), {}
    for bars in read_bars(question, list(by_symbol), report, actions=False):
        of = by_symbol[bars.symbol]
        columns, known = _columns(bars)
        if not known.any():
            continue
        closes = calendars.closes(of, bars.days[known]).astype("M8[ns]").astype(np.int64).tolist()
        traded = _traded(of, _decimals(columns["low"]), closes[0])
        catalog.write_data([traded])
        catalog.write_data(_bars(traded, columns, closes))
        written[f"data/bar/{_folder_name(of)}-1-DAY-LAST-EXTERNAL"] = len(closes)
    return written


def _folder_name(of: Instrument) -> str:
    """The name of an instrument in paths of a catalog, whose queries take `&` and `=` for their own marks."""
    return f"{_symbol(of)}.{of.exchange}".replace("/", "")


def _symbol(of: Instrument) -> str:
    """A coin or currency pair as nautilus_trader writes pairs: BTC/USD; others as we do, without `&` and `=`."""
    if of.asset_type in (AssetType.CRYPTO, AssetType.FX):
        return f"{_base(of)}/{of.currency}"
    return re.sub("[&=]", "-", of.symbol)


def _columns(bars: Bars) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.bool_]]:
    """The columns of bars in order, of the days whose adjusted prices are known, and which these are.

    nautilus_trader refuses a close above the high. Bars in doubt may have one, and an adjusted high may round to less
    than the adjusted close: so high and low are those of all four prices. A volume beyond what nautilus_trader holds
    is written as the most that it holds.
    """
    from nautilus_trader.model.objects import QUANTITY_MAX

    prices = np.stack([bars.columns[name] for name in PRICES])
    known = np.isfinite(prices.sum(axis=0))
    prices = prices[:, known]
    opens, _, _, closes = prices
    volumes = np.nan_to_num(bars.columns["volume"][known]).clip(0, QUANTITY_MAX)
    columns = dict(zip(PRICES, (opens, prices.max(axis=0), prices.min(axis=0), closes), strict=True))
    return {**columns, "volume": volumes}, known


def _bars(traded: "Traded", columns: Mapping[str, NDArray[np.float64]], closes: Sequence[int]) -> "list[Bar]":
    """Bars of an instrument, each known at its close (nanoseconds)."""
    from nautilus_trader.model.data import Bar, BarType
    from nautilus_trader.model.objects import Price, Quantity

    kind = BarType.from_str(f"{traded.id}-1-DAY-LAST-EXTERNAL")
    rows = zip(*(columns[name].tolist() for name in PRICES), columns["volume"].tolist(), closes, strict=True)
    return [
        Bar(
            kind,
            *(Price(price, traded.price_precision) for price in prices),
            Quantity(volume, traded.size_precision),
            close,
            close,
        )
        for *prices, volume, close in rows
    ]


def _decimals(lows: NDArray[np.float64]) -> int:
    """How many decimals keep DIGITS digits of the lowest price, from 2 to MOST_DECIMALS."""
    return int(np.clip(DIGITS - 1 - np.floor(np.log10(lows.min())), 2, MOST_DECIMALS))


def _traded(of: Instrument, decimals: int, first: int) -> "Traded":
    """An instrument as nautilus_trader has it, from `first` (nanoseconds) on, with the smallest steps of price."""
    from nautilus_trader.model.identifiers import InstrumentId, Symbol, Venue
    from nautilus_trader.model.instruments import CurrencyPair, Equity, IndexInstrument
    from nautilus_trader.model.objects import Currency, Price, Quantity

    currency = Currency.from_str(of.currency)
    same = {
        "instrument_id": InstrumentId(Symbol(_symbol(of)), Venue(of.exchange)),
        "raw_symbol": Symbol(of.symbol),
        "price_precision": decimals,
        "price_increment": Price(10.0**-decimals, decimals),
        "ts_event": first,
        "ts_init": first,
    }
    if of.asset_type in (AssetType.STOCK, AssetType.ETF):
        return Equity(currency=currency, lot_size=Quantity.from_int(1), **same)
    if of.asset_type is AssetType.INDEX:
        return IndexInstrument(currency=currency, size_precision=0, size_increment=Quantity.from_int(1), **same)
    size = {
        "size_precision": DECIMALS_OF_COINS,
        "size_increment": Quantity(10.0**-DECIMALS_OF_COINS, DECIMALS_OF_COINS),
    }
    return CurrencyPair(base_currency=Currency.from_str(_base(of)), quote_currency=currency, **size, **same)


def _base(of: Instrument) -> str:
    """What a coin or a currency pair is priced: EUR of EURUSD and EUR/USD, USD of JPY=X."""
    if of.asset_type is AssetType.CRYPTO:
        return of.symbol
    pair = of.symbol.replace("/", "").removesuffix("=X")
    return pair[:3] if len(pair) > 3 else "USD"
