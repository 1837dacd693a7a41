"""Daily bars as a data folder of LEAN, the engine of QuantConnect.

Belongs here: which files LEAN reads where, and its factor files. Does not belong here: reading (`reading`), LEAN's
databases of market hours and symbol properties, which come with the engine.

`equity/usa/daily/spy.zip` holds `spy.csv` with prices as traded, times 10,000; `crypto/binance/daily/btcusdt_trade.zip`
and `index/usa/daily/ndx.zip` have prices as they are. `factor_files` say what LEAN multiplies prices as traded with,
`map_files` when a symbol begins and ends. Read off LEAN's `LeanData`, `TradeBar`, `CorporateFactorRow` and `MapFile`.
"""

import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from financehub_dagster.market import calendars
from financehub_dagster.market.exchanges import exchanges
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.market.price_bases import PRICES
from financehub_dagster.serving.backtesting.reading import Bars, Report, read_bars, require_different
from financehub_dagster.serving.errors import ReadError
from financehub_dagster.serving.questions import TableQuery

MARKETS = {"XNYS": "usa", "XBOM": "india"}
"""LEAN's markets of stocks, by the calendar of their exchanges."""
SCALE = 10_000
NEVER = "20501231"
"""The last day of a symbol that is still traded, and the one from which prices are not adjusted."""


@dataclass(frozen=True)
class _Place:
    """Where LEAN looks for an instrument."""

    kind: str
    market: str
    ticker: str

    @property
    def folder(self) -> str:
        return f"{self.kind}/{self.market}"

    @property
    def bars(self) -> str:
        ending = "_trade.zip" if self.kind == "crypto" else ".zip"
        return f"{self.folder}/daily/{self.ticker}{ending}"


def lean(question: TableQuery, members: Sequence[Instrument], folder: Path, report: Report) -> dict[str, int]:
    """Write a data folder; returns the rows of each file of bars. Raises ReadError for a market that LEAN lacks."""
    places = {each.symbol: _place(each) for each in members}
    require_different({symbol: place.bars for symbol, place in places.items()})
    by_symbol = {each.symbol: each for each in members}
    written = {}
    for bars in read_bars(question, list(places), report, actions=True):
        place = places[bars.symbol]
        _write_bars(folder / place.bars, place, bars)
        if place.kind == "equity":
            instrument = by_symbol[bars.symbol]
            _write_lines(folder / place.folder / f"factor_files/{place.ticker}.csv", _factors(instrument, bars))
            _write_lines(folder / place.folder / f"map_files/{place.ticker}.csv", _life(instrument, place, bars))
        written[place.bars] = len(bars.days)
    return written


def _place(of: Instrument) -> _Place:
    """Raises ReadError where LEAN has no place for it."""
    if of.asset_type is AssetType.FX:
        raise ReadError("LEAN reads currency pairs as bid and ask, which bars do not have: export another table")
    if of.asset_type is AssetType.CRYPTO:
        if "binance" not in of.aliases:
            raise ReadError(
                f"{of.symbol} has no name at Binance, LEAN's market for it: choose others with --symbols, or add the "
                "alias binance"
            )
        return _Place("crypto", "binance", of.aliases["binance"].lower())
    market = MARKETS.get(exchanges()[of.exchange].calendar)
    if market is None:
        raise ReadError(
            f"LEAN has no market for {of.symbol} at {of.exchange}, only for the USA and India: choose with --exchange "
            "or --symbols"
        )
    ticker = of.symbol.replace("/", ".").strip("^").lower()
    return _Place("index" if of.asset_type is AssetType.INDEX else "equity", market, ticker)


def _write_bars(path: Path, place: _Place, bars: Bars) -> None:
    """A zip of one file; without the time of writing, so that the same bars are the same bytes."""
    scale = SCALE if place.kind == "equity" else 1
    columns = [[f"{day:%Y%m%d} 00:00" for day in bars.days.tolist()]]
    columns += [_texts(bars.columns[name] * scale, 2 if scale > 1 else None) for name in PRICES]
    columns += [_texts(np.nan_to_num(bars.columns["volume"]), 0 if scale > 1 else None)]
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        lines = "".join(",".join(row) + "\n" for row in zip(*columns, strict=True))
        archive.writestr(zipfile.ZipInfo(f"{place.ticker}.csv"), lines, zipfile.ZIP_DEFLATED)


def _factors(of: Instrument, bars: Bars) -> list[str]:
    """The lines of a factor file, the oldest first: until which day which factors of price and split hold.

    Their days are the last sessions before ex-dates, with the close as traded. A dividend is taken out as a share of
    that close; one that is no less than the close is left out, since LEAN ignores factors of zero.
    """
    close, split = bars.columns["close"], bars.columns["split"]
    paid = bars.columns["dividend"] * split
    event = 1 + np.flatnonzero((split[1:] != 1) | (paid[1:] > 0))
    known = calendars.known(of, bars.days[0].item(), bars.days[-1].item()).dates
    sessions = np.union1d(known, bars.days)
    days = sessions[np.searchsorted(sessions, bars.days[event]) - 1]
    before = close[event - 1]
    kept = np.where(paid[event] < before, 1 - paid[event] / before, 1.0)
    price_factors = np.cumprod(kept[::-1])[::-1]
    split_factors = np.cumprod(1 / split[event][::-1])[::-1]
    lines = [
        f"{day:%Y%m%d},{price:.10f},{shares:.10f},{_text(reference)}"
        for day, price, shares, reference in zip(days.tolist(), price_factors, split_factors, before, strict=True)
    ]
    if not event.size or days[0] > bars.days[0]:
        oldest = (price_factors[0], split_factors[0]) if event.size else (1, 1)
        lines.insert(0, f"{bars.days[0].item():%Y%m%d},{oldest[0]:.10f},{oldest[1]:.10f},{_text(close[0])}")
    return [*lines, f"{NEVER},1,1,0"]


def _life(of: Instrument, place: _Place, bars: Bars) -> list[str]:
    """The lines of a map file: under its present symbol from its first bar until it was delisted."""
    last = NEVER if of.delisted_on is None else f"{of.delisted_on:%Y%m%d}"
    return [f"{bars.days[0].item():%Y%m%d},{place.ticker}", f"{last},{place.ticker}"]


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def _texts(values: NDArray[np.float64], decimals: int | None) -> list[str]:
    rounded = values if decimals is None else np.round(values, decimals)
    return [_text(value) for value in rounded]


def _text(value: float) -> str:
    """A number without an exponent, which LEAN does not read, and without zeros at its end."""
    return np.format_float_positional(value, trim="-")
