"""Invented figures about companies, in proportion to their price: shares, earnings, dividends, margins.

Belongs here: figures that several vendors publish. Does not belong here: any vendor's names or number formats for them.
Only names, exchanges and sectors are real; everything else follows from the symbol and the market's price.
"""

from dataclasses import dataclass
from datetime import date
from functools import lru_cache

import numpy as np

from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.sandbox.market.continuation import random_stream
from financehub_dagster.sandbox.market.history import History
from financehub_dagster.sandbox.market.market import Market, full_history
from financehub_dagster.sandbox.market.snapshot import Snapshot, snapshot_of

_SECTORS = {
    "Technology": "AAPL ADBE AMD AVGO CRM CSCO IBM INTC MSFT NVDA ORCL QCOM TXN",
    "Communication Services": "DIS FB GOOG GOOGL NFLX T VZ",
    "Consumer Cyclical": "AMZN HD MCD TSLA",
    "Consumer Defensive": "BF.B COST KO PEP PG WMT",
    "Energy": "CVX XOM",
    "Financial Services": "BAC BRK.B GS JPM MA MS V WFC",
    "Healthcare": "ABBV AMGN JNJ LLY MRK PFE UNH",
    "Industrials": "BA CAT GE",
}
_SECTOR_OF = {symbol: sector for sector, symbols in _SECTORS.items() for symbol in symbols.split()}
#: The day on which an instrument's market value in the universe is taken to hold.
_REFERENCE_DAY = np.datetime64("2026-01-02", "D")


@dataclass(frozen=True, slots=True)
class Company:
    """Figures per share and in total in the instrument's currency, ratios as fractions.

    pe and peg are None for a company without profit, dividend_per_share (a year's) is 0 for one that pays none.
    """

    snapshot: Snapshot
    sector: str
    shares: float
    market_cap: float
    eps: float
    pe: float | None
    peg: float | None
    beta: float
    book_value: float
    revenue: float
    gross_profit: float
    profit_margin: float
    operating_margin: float
    return_on_equity: float
    growth: float
    latest_quarter: date
    dividend_per_share: float
    ex_dividend: date | None
    last_split: tuple[date, int] | None
    averages: tuple[float, float]

    @property
    def dividend_yield(self) -> float:
        """A year's dividends by the price."""
        return self.dividend_per_share / self.snapshot.price


def shares_of(instrument: Instrument) -> float:
    """Shares or coins outstanding: the market value of the universe, or an invented one, by the price of its day."""
    history = full_history(instrument.symbol, instrument.asset_type, instrument.exchange)
    size = instrument.market_cap or _invented_size(instrument.symbol)
    return size / float(history.close[_reference_row(history)])


def _reference_row(history: History) -> int:
    return min(int(np.searchsorted(history.date, _REFERENCE_DAY)), len(history) - 1)


@lru_cache(maxsize=4096)
def _invented_size(symbol: str) -> float:
    return float(10 ** (8.5 + 3 * float(random_stream(symbol, "size").random())))


def company(market: Market, instrument: Instrument) -> Company | None:
    """The company behind a stock as of now; None for what is no stock, or before its first session."""
    history = market.daily(instrument)
    if instrument.asset_type is not AssetType.STOCK or not len(history):
        return None
    quote = snapshot_of(history, market.now())
    draw = random_stream(instrument.symbol, "company").random(10).tolist()
    shares = round(shares_of(instrument))
    full = full_history(instrument.symbol, instrument.asset_type, instrument.exchange)
    base = float(full.close[_reference_row(full)])
    eps = round(base * (0.02 + 0.06 * draw[0]) * (-0.5 if draw[1] < 0.05 else 1.0), 2)
    margin = (0.05 + 0.25 * draw[2]) * (1 if eps > 0 else -1)
    revenue = round(eps * shares / margin)
    growth = 0.3 * draw[3] - 0.05
    year = history[history.opens > market.now() - 365 * 86_400]
    payments = history.date[history.dividend > 0]
    splits = np.flatnonzero(history.split != 1)
    return Company(
        snapshot=quote,
        sector=_SECTOR_OF.get(instrument.symbol, list(_SECTORS)[int(draw[4] * len(_SECTORS))]),
        shares=shares,
        market_cap=shares * quote.price,
        eps=eps,
        pe=quote.price / eps if eps > 0 else None,
        peg=quote.price / eps / (100 * growth) if eps > 0 and growth > 0.01 else None,
        beta=0.5 + 1.2 * draw[5],
        book_value=base * (0.1 + 0.4 * draw[6]),
        revenue=revenue,
        gross_profit=round(revenue * (0.3 + 0.4 * draw[7])),
        profit_margin=margin,
        operating_margin=margin * 1.25,
        return_on_equity=margin * 0.8,
        growth=growth,
        latest_quarter=_latest_quarter(quote.date),
        dividend_per_share=float(np.nansum(year.dividend)),
        ex_dividend=payments[-1].astype(object) if len(payments) else None,
        last_split=(history.date[splits[-1]].astype(object), int(history.split[splits[-1]])) if len(splits) else None,
        averages=(float(np.nanmean(history.close[-50:])), float(np.nanmean(history.close[-200:]))),
    )


def _latest_quarter(today: date) -> date:
    """The last quarter that is published: over for 45 days."""
    ended = np.datetime64(today, "D") - np.timedelta64(45, "D")
    first_month = ended.astype("datetime64[M]") - int(ended.astype("datetime64[M]").astype(int)) % 3
    last: date = (first_month.astype("datetime64[D]") - np.timedelta64(1, "D")).astype(object)
    return last
