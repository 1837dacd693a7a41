"""The catalog of nautilus_trader, read and traded on by nautilus_trader, against what `read` says."""

import subprocess
import sys
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from nautilus_trader.backtest.config import BacktestEngineConfig
from nautilus_trader.backtest.engine import BacktestEngine
from nautilus_trader.common.config import LoggingConfig
from nautilus_trader.model.currencies import USD
from nautilus_trader.model.data import Bar, BarType
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
from nautilus_trader.model.identifiers import InstrumentId, Venue
from nautilus_trader.model.instruments import CurrencyPair, Equity, IndexInstrument
from nautilus_trader.model.objects import Money, Quantity
from nautilus_trader.persistence.catalog import ParquetDataCatalog
from nautilus_trader.trading.strategy import Strategy

from financehub_dagster import read
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.serving.errors import ReadError
from financehub_dagster.serving.export import Exported, export
from financehub_dagster.serving.questions import ask
from financehub_dagster_tests.unit.serving import stored
from financehub_dagster_tests.unit.serving.stored import listed

BARS = "stock_prices_daily"
PRICES = ["open", "high", "low", "close"]


@pytest.fixture(autouse=True)
def filled(before: object) -> None:
    """Forty days of three stocks; AAPL paid a dividend and was split."""


def made(output: Path, table: str = BARS, **asked: object) -> Exported:
    return export(ask(table, **asked), output, "nautilus", lambda *_: None)  # type: ignore[arg-type]


def bars(folder: Path, instrument: str) -> pd.DataFrame:
    """What the catalog has of an instrument, by time."""
    found: list[Bar] = ParquetDataCatalog(str(folder)).bars([f"{instrument}-1-DAY-LAST-EXTERNAL"])
    columns = {name: [float(getattr(bar, name)) for bar in found] for name in (*PRICES, "volume")}
    assert all(bar.ts_event == bar.ts_init for bar in found)
    return pd.DataFrame(columns, index=pd.to_datetime([bar.ts_event for bar in found], utc=True))


def test_stocks_have_adjusted_prices_at_the_close_of_their_sessions(tmp_path: Path) -> None:
    done = made(tmp_path / "data", symbols="AAPL,BRK.B")
    found, adjusted = bars(tmp_path / "data", "AAPL.XNAS"), read(BARS, symbols="AAPL", adjust="adjusted")
    for name in PRICES:
        np.testing.assert_allclose(found[name], adjusted[name], rtol=1e-5)
    traded = read(BARS, symbols="AAPL", adjust="raw")
    worth = found["close"].to_numpy() * found["volume"].to_numpy()
    np.testing.assert_allclose(worth, traded["close"] * traded["volume"], rtol=1e-3)
    days = dict(zip(adjusted["date"].dt.date, found.index, strict=True))
    assert days[date(2024, 1, 2)] == pd.Timestamp("2024-01-02 21:00", tz="UTC")
    assert days[date(2024, 1, 6)] == pd.Timestamp("2024-01-07 00:00", tz="UTC"), "no session: the end of the UTC day"
    assert done.files == {f"data/bar/{name}-1-DAY-LAST-EXTERNAL": stored.DAYS for name in ("AAPL.XNAS", "BRK.B.XNAS")}
    apple, berkshire = ParquetDataCatalog(str(tmp_path / "data")).instruments()
    assert (type(apple), str(apple.id), str(apple.quote_currency), apple.price_precision) == (
        Equity,
        "AAPL.XNAS",
        "USD",
        4,
    )
    assert str(berkshire.id) == "BRK.B.XNAS"


class BuyOnce(Strategy):  # type: ignore[misc]
    """Buys ten shares at the first bar and keeps them."""

    def __init__(self, kind: BarType) -> None:
        super().__init__()
        self.kind = kind

    def on_start(self) -> None:
        self.subscribe_bars(self.kind)

    def on_bar(self, bar: Bar) -> None:
        if not self.cache.orders():
            ten = Quantity.from_int(10)
            self.submit_order(self.order_factory.market(self.kind.instrument_id, OrderSide.BUY, ten))


@pytest.mark.filterwarnings("ignore:Timestamp.utcnow")
def test_a_backtest_earns_what_the_adjusted_close_rose_by(tmp_path: Path) -> None:
    """From the close of the first bar on, since bars come at the close, to that of the last."""
    made(tmp_path / "data", symbols="AAPL")
    catalog, venue = ParquetDataCatalog(str(tmp_path / "data")), Venue("XNAS")
    engine = BacktestEngine(BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True)))
    engine.add_venue(venue, OmsType.NETTING, AccountType.CASH, [Money(100_000, USD)], base_currency=USD)
    engine.add_instrument(catalog.instruments()[0])
    engine.add_data(catalog.bars())
    engine.add_strategy(BuyOnce(BarType.from_str("AAPL.XNAS-1-DAY-LAST-EXTERNAL")))
    engine.run()
    gain = engine.portfolio.unrealized_pnl(InstrumentId.from_str("AAPL.XNAS"))
    engine.dispose()
    close = read(BARS, symbols="AAPL", adjust="adjusted")["close"]
    assert float(gain) == pytest.approx(10 * (close.iloc[-1] - close.iloc[0]), abs=0.01)


def test_days_without_an_adjusted_close_above_zero_are_left_out(tmp_path: Path) -> None:
    rows = stored.bars(("NEW",), days=10)
    rows["adj_close"][:4] = [np.nan, np.nan, -1, 0]
    none = stored.bars(("NONE",), days=3)
    none["adj_close"][:] = np.nan
    with (
        listed(Instrument("NEW", "New", AssetType.STOCK, "XNYS"), rows),
        listed(Instrument("NONE", "None", AssetType.STOCK, "XNYS"), none),
    ):
        done = made(tmp_path / "data", symbols="NEW,NONE")
    assert done.files == {"data/bar/NEW.XNYS-1-DAY-LAST-EXTERNAL": 6}
    assert [str(each.id) for each in ParquetDataCatalog(str(tmp_path / "data")).instruments()] == ["NEW.XNYS"]


def test_no_close_is_above_its_high(tmp_path: Path) -> None:
    """A bar in doubt, and one whose adjusted high rounds to less than the adjusted close that it is equal to."""
    rows = stored.bars(("EDGE",), days=2)
    of_day = {"open": [100.0, 146.0], "high": [101.0, 146.11], "low": [99.0, 145.0], "close": [101.5, 146.11]}
    for name, values in {**of_day, "adj_close": [101.5, 58.13825]}.items():
        rows[name] = np.array(values)
    with listed(Instrument("EDGE", "Edge", AssetType.STOCK, "XNYS"), rows):
        made(tmp_path / "data", symbols="EDGE")
    found = bars(tmp_path / "data", "EDGE.XNYS")
    assert found["close"].tolist() == found["high"].tolist() == [101.5, 58.1383]


@pytest.mark.parametrize(
    ("adjusted", "decimals"), [(0.0987654321, 7), (1e-7, 9), (12.345678, 4), (123456.0, 2)], ids=str
)
def test_the_lowest_price_keeps_six_digits(adjusted: float, decimals: int, tmp_path: Path) -> None:
    rows = stored.bars(("DEEP",), days=1)
    for name in PRICES:
        rows[name] = np.array([50_000.0])
    rows["adj_close"] = np.array([adjusted])
    with listed(Instrument("DEEP", "Deep", AssetType.STOCK, "XNAS"), rows):
        made(tmp_path / "data", symbols="DEEP")
    (found,) = ParquetDataCatalog(str(tmp_path / "data")).instruments()
    assert found.price_precision == decimals
    assert bars(tmp_path / "data", "DEEP.XNAS")["close"].tolist() == [pytest.approx(adjusted, rel=1e-5)]


def test_coins_are_pairs_that_trade_around_the_clock(tmp_path: Path) -> None:
    rows = stored.bars(("PEPE",), days=3)
    for name in (*PRICES, "adj_close"):
        rows[name] = np.array([1.25e-6, 2e-6, 3e-6])
    rows["volume"] = np.array([1234567.125, 2e15, 0.0])
    with listed(Instrument("PEPE", "Pepe", AssetType.CRYPTO, "XXXX"), rows):
        made(tmp_path / "coins", "crypto_prices_daily")
    (pair,) = ParquetDataCatalog(str(tmp_path / "coins")).instruments()
    assert (type(pair), str(pair.base_currency), str(pair.raw_symbol)) == (CurrencyPair, "PEPE", "PEPE")
    found = bars(tmp_path / "coins", "PEPE/USD.XXXX")
    assert found["close"].tolist() == [1.25e-6, 2e-6, 3e-6]
    assert found["volume"].tolist() == pytest.approx([1234567.125, 34_028_236_692_093, 0])
    assert found.index[0] == pd.Timestamp("2024-01-02", tz="UTC")


@pytest.mark.parametrize(
    ("symbol", "currency", "pair"),
    [("EURUSD", "USD", "EUR/USD"), ("GBP/USD", "USD", "GBP/USD"), ("JPY=X", "JPY", "USD/JPY")],
)
def test_currency_pairs_end_in_new_york(symbol: str, currency: str, pair: str, tmp_path: Path) -> None:
    with listed(Instrument(symbol, "Pair", AssetType.FX, "XXXX", currency), stored.bars((symbol,), days=3)):
        made(tmp_path / "pairs", "fx_prices_daily")
    (found,) = ParquetDataCatalog(str(tmp_path / "pairs")).instruments()
    assert (type(found), str(found.id), str(found.raw_symbol)) == (CurrencyPair, f"{pair}.XXXX", symbol)
    assert bars(tmp_path / "pairs", f"{pair}.XXXX").index[1] == pd.Timestamp("2024-01-02 22:00", tz="UTC")


@pytest.mark.parametrize(
    ("symbol", "kind", "name"),
    [
        ("^VIX", IndexInstrument, "^VIX"),
        ("M&M", Equity, "M-M"),
        ("ES=F", Equity, "ES-F"),
        ("BF-B", Equity, "BF-B"),
        ("BT/A", Equity, "BT/A"),
    ],
)
def test_every_symbol_is_found_again(symbol: str, kind: type, name: str, tmp_path: Path) -> None:
    of_kind = AssetType.INDEX if kind is IndexInstrument else AssetType.STOCK
    with listed(Instrument(symbol, symbol, of_kind, "XNAS"), stored.bars((symbol,), days=3)):
        made(tmp_path / "data", symbols=[symbol, "AAPL"])
    found = ParquetDataCatalog(str(tmp_path / "data")).instruments(instrument_ids=[f"{name}.XNAS"])
    assert [(type(each), str(each.raw_symbol)) for each in found] == [(kind, symbol)]
    assert bars(tmp_path / "data", f"{name}.XNAS")["close"].tolist() == [90, 90.9, 91.8]


@pytest.mark.parametrize("other", ["BRKB", "BRK-B"])
def test_two_symbols_that_a_catalog_would_take_for_one_are_refused(other: str, tmp_path: Path) -> None:
    same = "BRK/B" if other == "BRKB" else "BRK.B"
    with (
        listed(Instrument(other, "Berkshire", AssetType.STOCK, "XNAS"), stored.bars((other,), days=2)),
        listed(Instrument("BRK/B", "Berkshire", AssetType.STOCK, "XNAS"), stored.bars(("BRK/B",), days=2)),
        pytest.raises(ReadError, match="would be one file"),
    ):
        made(tmp_path / "data", symbols=[same, other])


def test_without_the_library_the_export_says_how_to_install_it(tmp_path: Path) -> None:
    """In a process of its own that cannot import it."""
    program = """if True:
        import sys
        from pathlib import Path
        from financehub_dagster.serving.backtesting.nautilus import nautilus
        from financehub_dagster.serving.errors import ExportFailed

        class NotInstalled:
            def find_spec(self, name, path=None, target=None):
                if name == "nautilus_trader":
                    raise ModuleNotFoundError(f"No module named {name!r}", name=name)

        sys.meta_path.insert(0, NotInstalled())
        try:
            nautilus(None, [], Path("."), None)
        except ExportFailed as error:
            print(error)
        """
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    remedy = "`pip install 'financehub-dagster[nautilus]'`"
    assert told.stdout == f"the library nautilus_trader is not installed: {remedy}\n"
