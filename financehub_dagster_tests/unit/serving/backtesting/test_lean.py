"""The data folder of LEAN, read by the rules of LEAN's own readers, against what `read` says.

The engine itself needs .NET: what it reads is known from its source (`LeanData`, `TradeBar.ParseEquity` and
`ParseCrypto`, `CorporateFactorProvider`, `MapFile`).
"""

import zipfile
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

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
    return export(ask(table, **asked), output, "lean", lambda *_: None)  # type: ignore[arg-type]


def bars(path: Path, scale: float = 10_000) -> pd.DataFrame:
    """Time, prices and volume, without a header; LEAN's prices of stocks are ten-thousandths."""
    with zipfile.ZipFile(path) as archive:
        (name,) = archive.namelist()
        with archive.open(name) as lines:
            found = pd.read_csv(lines, header=None, names=["time", *PRICES, "volume"])
    assert name == f"{path.stem.removesuffix('_trade')}.csv"
    found["date"] = pd.to_datetime(found.pop("time"), format="%Y%m%d %H:%M")
    return found.assign(**{price: found[price] / scale for price in PRICES}).set_index("date")


def factors(path: Path) -> list[tuple[date, float, float, float]]:
    """The rows of a factor file: until which day, factor of price, factor of split, close as traded."""
    rows = [line.split(",") for line in path.read_text().splitlines()]
    return [(pd.Timestamp(day).date(), float(price), float(split), float(close)) for day, price, split, close in rows]


def scaled(close: pd.Series, rows: list[tuple[date, float, float, float]]) -> list[float]:
    """What `CorporateFactorProvider.GetPriceFactor` makes of prices: the first row that is not before the day holds."""
    of_day = [next(row for row in rows if row[0] >= day.date()) for day in close.index]
    return [price * row[1] * row[2] for price, row in zip(close, of_day, strict=True)]


def test_stocks_have_prices_as_traded_in_ten_thousandths(tmp_path: Path) -> None:
    done = made(tmp_path / "data", symbols="AAPL,BRK.B")
    traded = read(BARS, symbols="AAPL", adjust="raw").set_index("date")
    found = bars(tmp_path / "data/equity/usa/daily/aapl.zip")
    assert found.index.tolist() == traded.index.tolist()
    for name in (*PRICES, "volume"):
        np.testing.assert_allclose(found[name], traded[name], rtol=1e-12)
    assert found["close"].iloc[0] == 401.0
    assert done.files == {f"equity/usa/daily/{name}.zip": stored.DAYS for name in ("aapl", "brk.b")}
    with zipfile.ZipFile(tmp_path / "data/equity/usa/daily/aapl.zip") as archive:
        assert archive.read("aapl.csv").decode().splitlines()[0] == "20240101 00:00,3990000,4050000,3970000,4010000,250"


def test_factors_hold_up_to_the_session_before_a_split_or_a_dividend(tmp_path: Path) -> None:
    """A dividend of 44 of the 437 that AAPL cost before its split 4:1, which then cost 477."""
    made(tmp_path / "data", symbols="AAPL,MSFT")
    folder = tmp_path / "data/equity/usa/factor_files"
    kept = 1 - 44 / 437
    assert factors(folder / "aapl.csv") == [
        (stored.FIRST, pytest.approx(kept), 0.25, 401.0),
        (date(2024, 1, 10), pytest.approx(kept), 0.25, 437.0),
        (date(2024, 1, 20), 1.0, 0.25, 477.0),
        (date(2050, 12, 31), 1.0, 1.0, 0.0),
    ]
    assert [row[:3] for row in factors(folder / "msft.csv")] == [(stored.FIRST, 1, 1), (date(2050, 12, 31), 1, 1)]
    traded = bars(tmp_path / "data/equity/usa/daily/aapl.zip")["close"]
    stored_close = read(BARS, symbols="AAPL", adjust="split").set_index("date")["close"]
    expected = stored_close.where(stored_close.index >= pd.Timestamp(stored.DIVIDEND), stored_close * kept)
    np.testing.assert_allclose(scaled(traded, factors(folder / "aapl.csv")), expected, rtol=1e-9)


def test_factors_are_those_of_leans_own_sample(tmp_path: Path) -> None:
    """Apple in 2014, from github.com/QuantConnect/Lean, Data/equity/usa/factor_files/aapl.csv.

    Dividends of 3.29 on 8 May and 0.47 on 7 August, a split 7:1 on 9 June. Of the sample, what came after is taken out:
    its row of 5 November.
    """
    sample = [
        (date(2014, 5, 7), 0.8961764, 0.03571430, 592.33),
        (date(2014, 6, 6), 0.9011818, 0.03571430, 645.57),
        (date(2014, 8, 6), 0.9011818, 0.25, 94.97),
    ]
    days = ["2014-05-07", "2014-05-08", "2014-06-06", "2014-06-09", "2014-08-06", "2014-08-07"]
    closes = np.array([592.33 / 7, 588.0 / 7, 645.57 / 7, 93.7, 94.97, 94.48])
    rows = stored.bars(("APPLE",), days=len(days))
    rows["date"] = np.array(days, "M8[D]")
    for name in (*PRICES, "adj_close"):
        rows[name] = closes
    actions = [("2014-05-08", "dividend", 0.47), ("2014-06-09", "split", 7.0), ("2014-08-07", "dividend", 0.47)]
    with listed(Instrument("APPLE", "Apple", AssetType.STOCK, "XNAS"), rows, actions):
        made(tmp_path / "data", symbols="APPLE")
    found = factors(tmp_path / "data/equity/usa/factor_files/apple.csv")
    assert [row[0] for row in found] == [row[0] for row in sample] + [date(2050, 12, 31)]
    for own, theirs in zip(found, sample, strict=False):
        assert own[1] == pytest.approx(theirs[1] / 0.9056639, rel=1e-6)
        assert own[2] == pytest.approx(theirs[2] / 0.25, rel=1e-5)
        assert own[3] == theirs[3]


def test_a_dividend_on_the_day_of_a_split_is_a_share_of_the_close_before_both(tmp_path: Path) -> None:
    """Two shares for one and 1.50 for each of them: 3 of the 208 that the old one cost."""
    rows = stored.bars(("BOTH",), days=10)
    actions = [("2024-01-06", "split", 2.0), ("2024-01-06", "dividend", 1.5)]
    with listed(Instrument("BOTH", "Both", AssetType.STOCK, "XNAS"), rows, actions):
        made(tmp_path / "data", symbols="BOTH")
    found = factors(tmp_path / "data/equity/usa/factor_files/both.csv")
    before = bars(tmp_path / "data/equity/usa/daily/both.zip")["close"].iloc[4]
    assert before == 208.0
    assert [found[1][0], *found[1][2:]] == [date(2024, 1, 5), 0.5, 208.0]
    assert found[1][1] == pytest.approx(1 - 3 / 208)


def test_an_ex_date_without_a_bar_falls_on_the_next_and_one_on_the_first_bar_changes_nothing(tmp_path: Path) -> None:
    """The exchange was open on 9 January; the split of the 10th falls on the 11th, and its factor holds to the 10th."""
    rows = stored.bars(("ODD",), days=15)
    keep = ~np.isin(rows["date"], np.array(["2024-01-09", "2024-01-10"], "M8[D]"))
    actions = [("2024-01-01", "dividend", 1.0), ("2024-01-10", "split", 2.0), ("2024-01-13", "dividend", 500.0)]
    with listed(
        Instrument("ODD", "Odd", AssetType.STOCK, "XNYS"),
        {name: values[keep] for name, values in rows.items()},
        actions,
    ):
        made(tmp_path / "data", symbols="ODD")
    found = factors(tmp_path / "data/equity/usa/factor_files/odd.csv")
    assert [row[:3] for row in found] == [
        (date(2024, 1, 1), 1.0, 0.5),
        (date(2024, 1, 10), 1.0, 0.5),
        (date(2024, 1, 12), 1.0, 1.0),
        (date(2050, 12, 31), 1.0, 1.0),
    ]


def test_a_symbol_begins_with_its_first_bar_and_ends_with_its_last_session(tmp_path: Path) -> None:
    gone = Instrument("GONE", "Gone", AssetType.STOCK, "XNYS", delisted_on=date(2024, 1, 10))
    with listed(gone, stored.bars(("GONE",), days=10)):
        made(tmp_path / "data", symbols="AAPL,GONE")
    folder = tmp_path / "data/equity/usa/map_files"
    assert (folder / "gone.csv").read_text() == "20240101,gone\n20240110,gone\n"
    assert (folder / "aapl.csv").read_text() == "20240101,aapl\n20501231,aapl\n"


def test_a_price_below_a_cent_keeps_its_digits_and_the_same_bars_are_the_same_bytes(tmp_path: Path) -> None:
    rows = stored.bars(("PENNY",), days=2)
    for name in (*PRICES, "adj_close"):
        rows[name] = np.array([0.000123, 0.0002])
    with listed(Instrument("PENNY", "Penny", AssetType.STOCK, "OTCM"), rows):
        for name in ("data", "again"):
            made(tmp_path / name, symbols="PENNY")
    first, again = (tmp_path / name / "equity/usa/daily/penny.zip" for name in ("data", "again"))
    assert bars(first)["close"].tolist() == pytest.approx([0.000123, 0.0002])
    assert first.read_bytes() == again.read_bytes()


def test_cryptos_and_indices_have_prices_as_they_are(tmp_path: Path) -> None:
    coin = Instrument("PEPE", "Pepe", AssetType.CRYPTO, "XXXX", aliases={"binance": "PEPEUSDT"})
    rows = stored.bars(("PEPE",), days=3)
    for name in (*PRICES, "adj_close"):
        rows[name] = np.array([1.25e-6, 2e-6, 3e-6])
    rows["volume"] = np.array([1234567.125, 2e15, 0.0])
    with listed(coin, rows):
        made(tmp_path / "coins", "crypto_prices_daily", symbols="PEPE")
    with zipfile.ZipFile(tmp_path / "coins/crypto/binance/daily/pepeusdt_trade.zip") as archive:
        lines = archive.read("pepeusdt.csv").decode().splitlines()
    assert lines[0] == "20240101 00:00,0.00000125,0.00000125,0.00000125,0.00000125,1234567.125"
    assert lines[1].endswith(",2000000000000000")
    with listed(Instrument("^VIX", "VIX", AssetType.INDEX, "XNAS"), stored.bars(("^VIX",), days=3)):
        made(tmp_path / "index", symbols="^VIX")
    assert bars(tmp_path / "index/index/usa/daily/vix.zip", scale=1)["close"].tolist() == [100, 101, 102]
    assert not (tmp_path / "index/equity").exists()


@pytest.mark.parametrize(
    ("instrument", "told"),
    [
        (
            Instrument("SAP", "SAP", AssetType.STOCK, "XETR", "EUR"),
            "no market for SAP at XETR, only for the USA and In",
        ),
        (Instrument("COIN", "Coin", AssetType.CRYPTO, "XXXX"), "COIN has no name at Binance.*add the alias binance"),
        (Instrument("EURUSD", "Euro", AssetType.FX, "XXXX"), "currency pairs as bid and ask"),
    ],
)
def test_what_lean_has_no_market_for_is_refused(instrument: Instrument, told: str, tmp_path: Path) -> None:
    name = {"crypto": "crypto_prices_daily", "fx": "fx_prices_daily"}.get(str(instrument.asset_type), BARS)
    with listed(instrument, stored.bars((instrument.symbol,), days=2)), pytest.raises(ReadError, match=told):
        made(tmp_path / "data", name, symbols=instrument.symbol)
    assert list(tmp_path.iterdir()) == []


def test_two_symbols_that_would_be_one_file_are_refused(tmp_path: Path) -> None:
    with (
        listed(Instrument("BRK/B", "Berkshire", AssetType.STOCK, "XNYS"), stored.bars(("BRK/B",), days=2)),
        pytest.raises(ReadError, match=r"^BRK\.B and BRK/B would be one file"),
    ):
        made(tmp_path / "data", symbols="BRK.B,BRK/B")
