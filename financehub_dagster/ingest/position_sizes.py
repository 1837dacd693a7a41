"""From recent signals, holdings and equity to the rows of `position_sizes`.

Belongs here: what equity is, and which rows there are. Does not belong here: formulas (market.position_sizing), SQL.
"""

from collections import defaultdict
from dataclasses import dataclass, field

from financehub_dagster.market.instruments import AssetType
from financehub_dagster.settings import get_settings

TABLE = "position_sizes"
FRACTIONS = (AssetType.CRYPTO, AssetType.FX)
"""Kinds of instruments that are bought in fractions of a unit."""


@dataclass(frozen=True)
class Sized:
    """What a run did: rows stored, signals without a size, and the equity (None: unknown, nothing is sized)."""

    rows: int
    equity: float | None
    currency: str
    skipped: dict[str, int] = field(default_factory=dict)


def size_positions(run_id: str) -> Sized:
    """Compute the sizes for all recent signals to enter; raises DatabaseError, SettingsError.

    Equity is FINANCEHUB_EQUITY, or what the holdings in its currency are worth. Signals of instruments in another
    currency are skipped: their equity is not known.
    """
    import numpy as np
    import pandas as pd

    from financehub_dagster.ingest.acceptance import write
    from financehub_dagster.market.position_sizing import Sizing, position_sizes
    from financehub_dagster.storage.database.engine import transaction
    from financehub_dagster.storage.database.transactions import in_transaction
    from financehub_dagster.storage.queries import holdings, recent_signals

    settings = get_settings()
    currency = settings.financehub_equity_currency
    with transaction() as connection:
        signals = recent_signals.to_enter(connection)
        positions = holdings.positions(connection)
    worth = sum(each.value or 0.0 for each in positions if each.currency == currency)
    equity = settings.financehub_equity or (worth if worth > 0 else None)
    own = signals[signals["currency"] == currency]
    skipped = {
        f"in {name}": int(count) for name, count in signals["currency"].value_counts().items() if name != currency
    }
    if equity is None or own.empty:
        return Sized(0, equity, currency, skipped)
    held: defaultdict[str, float] = defaultdict(float)
    for each in positions:
        held[each.symbol] += each.quantity
    price, atr = own["price"].to_numpy(np.float64), own["atr"].to_numpy(np.float64)
    sizing = Sizing(settings.financehub_position_fraction, settings.financehub_position_risk)
    found = position_sizes(equity, price, atr, ~own["asset_type"].isin(FRACTIONS).to_numpy(), sizing)
    columns = {
        "symbol": own["symbol"].to_numpy(object),
        "date": own["date"].to_numpy("datetime64[D]"),
        "rule": own["rule"].to_numpy(object),
        "currency": np.full(len(own), currency, object),
        "equity": np.full(len(own), equity),
        "price": price,
        "held": np.array([held[symbol] for symbol in own["symbol"]], np.float64),
        "fixed_fraction_units": found.fraction_units,
        "atr": np.where(atr > 0, atr, np.nan),
        "stop": found.stop,
        "atr_risk_units": found.risk_units,
        "computed_at": np.full(len(own), pd.Timestamp.now("UTC").to_datetime64()),
    }
    in_transaction(lambda connection: write(connection, TABLE, columns, run_id))
    return Sized(len(own), equity, currency, skipped)
