"""A database in which two accounts hold something: prices, rates, a split, a dividend and signals of known figures.

The week is 2026-W48. Each test of a module reads the same rows and changes none.
"""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from financehub_dagster.market.holdings import Lot
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.settings import get_settings
from financehub_dagster.storage.database.engine import Connection, transaction
from financehub_dagster.storage.queries.holdings import replace_lots
from financehub_dagster.storage.queries.instruments import upsert_instruments

FRIDAY = date(2026, 11, 27)
BEFORE = FRIDAY - timedelta(days=7)
NASTY = "Müller <script>alert(1)</script> & | Söhne\n# /../1"
STORED_AT = datetime.fromisoformat("2026-11-28T00:30Z")
STOCKS, CRYPTOS, RATES = "stock_prices_daily", "crypto_prices_daily", "fx_prices_daily"

INSTRUMENTS = (
    Instrument("AAPL", "Apple <b>&amp;</b> | Co", AssetType.STOCK, "XNAS", "USD"),
    Instrument("SAP", "SAP SE", AssetType.STOCK, "XETR", "EUR"),
    Instrument("BTC", "Bitcoin", AssetType.CRYPTO, "XXXX", "USD"),
    Instrument("GONE", "Never traded", AssetType.STOCK, "XNAS", "USD"),
    Instrument("EURUSD", "Euro / US Dollar", AssetType.FX, "XXXX", "USD"),
)
LOTS = (
    Lot("main", "AAPL", 10.0, 400.0, date(2026, 10, 5)),
    Lot("main", "SAP", 8.0, 10.0, date(2026, 10, 5)),
    Lot("main", "BTC", -0.5, 60_000.0, date(2026, 11, 24)),
    Lot("main", "GONE", 1.0, 5.0, date(2026, 10, 5)),
    Lot(NASTY, "SAP", 100.0, 11.0, date(2026, 10, 5)),
)
"""In main, AAPL was split 4:1 on 25 November."""
CLOSES = {
    (STOCKS, "AAPL"): {BEFORE: 100.0, FRIDAY: 102.0},
    (STOCKS, "SAP"): {BEFORE: 12.0, FRIDAY: 12.5},
    (CRYPTOS, "BTC"): {BEFORE: 62_000.0, FRIDAY: 61_000.0, FRIDAY + timedelta(days=1): 1.0},
    (RATES, "EURUSD"): {date(2026, 10, 5): 1.05, BEFORE: 1.10, FRIDAY: 1.08},
}
SIGNALS = (
    ("AAPL", date(2026, 10, 12), "macd_zero", "entry", 85.0),
    ("AAPL", date(2026, 11, 24), "macd_zero", "exit", 102.0),
    ("AAPL", date(2026, 11, 24), "cdl_doji", "neutral", 102.0),
    ("SAP", date(2026, 11, 26), "rsi_14", "entry", 12.0),
)


def store_closes(connection: Connection, table: str, symbol: str, closes: dict[date, float], at: datetime) -> None:
    """Bars of these closes, as fetched at a time."""
    rows = [{"symbol": symbol, "day": day, "close": close, "at": at} for day, close in closes.items()]
    connection.execute(
        sa.text(
            f"insert into {table} (symbol, date, open, high, low, close, adj_close, volume, source, fetched_at)"
            " values (:symbol, :day, :close, :close, :close, :close, :close, 1000, 'yahoo', :at)"
        ),
        rows,
    )


def fill() -> None:
    """Store it."""
    with transaction() as connection:
        upsert_instruments(connection, list(INSTRUMENTS))
        replace_lots(connection, list(LOTS))
        for (table, symbol), closes in CLOSES.items():
            store_closes(connection, table, symbol, closes, STORED_AT)
        connection.execute(
            sa.text(
                "insert into corporate_actions (symbol, date, kind, value, source, fetched_at) values"
                " ('AAPL', date '2026-11-25', 'split', 4, 'yahoo', :at),"
                " ('AAPL', date '2026-11-24', 'dividend', 0.25, 'yahoo', :at)"
            ),
            {"at": STORED_AT},
        )
        names = ("symbol", "day", "rule", "direction", "price")
        connection.execute(
            sa.text(
                "insert into signals (symbol, date, rule, direction, value, level, price, computed_at)"
                " values (:symbol, :day, :rule, :direction, 1, 0, :price, :at)"
            ),
            [{**dict(zip(names, row, strict=True)), "at": STORED_AT} for row in SIGNALS],
        )
        connection.execute(
            sa.text(
                "insert into notifications (symbol, date, rule, direction, price, state)"
                " values ('AAPL', date '2026-11-24', 'macd_zero', 'exit', 102, 'delivered')"
            )
        )


@pytest.fixture(scope="module")
def held(module_database, tmp_path_factory) -> Iterator[Path]:
    """The home of a platform whose database holds it all."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("FINANCEHUB_HOME", str(tmp_path_factory.mktemp("home")))
        get_settings.cache_clear()
        fill()
        yield get_settings().home
        get_settings.cache_clear()
