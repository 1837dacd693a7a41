"""Import files of instruments: all rows or none, and every complaint with file, line and column."""

import subprocess
import sys
from pathlib import Path

import pytest

from financehub_dagster.market.exchanges import NO_MARKET, exchanges
from financehub_dagster.market.instrument_files import default_universe, parse_instruments
from financehub_dagster.market.instruments import AssetType, Instrument, InstrumentError, instrument_from_text

HEADER = "symbol,name,asset_type,exchange,currency,timezone,is_active,market_cap,aliases"
APPLE = "AAPL,Apple Inc.,stock,XNAS,USD,America/New_York,true,4e12,"


def written(folder: Path, *lines: str, name: str = "mine.csv") -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def complaint(path: Path) -> str:
    with pytest.raises(InstrumentError) as caught:
        parse_instruments(path)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_the_default_universe_has_fifty_stocks_twenty_cryptos_three_indices_and_two_pairs() -> None:
    universe = default_universe()
    kinds = [instrument.asset_type for instrument in universe]
    counts = {kind: kinds.count(kind) for kind in AssetType if kind in kinds}
    assert counts == {AssetType.STOCK: 50, AssetType.CRYPTO: 20, AssetType.INDEX: 3, AssetType.FX: 2}
    worth = {AssetType.STOCK, AssetType.CRYPTO}
    assert all(bool(each.market_cap) == (each.asset_type in worth) for each in universe)
    by_symbol = {instrument.symbol: instrument for instrument in universe}
    assert by_symbol["BRK.B"].symbol_at("yahoo") == "BRK-B"
    assert by_symbol["BRK.B"].symbol_at("finnhub") == "BRK.B"
    cryptos = [instrument for instrument in universe if instrument.asset_type is AssetType.CRYPTO]
    assert all(crypto.symbol_at("binance") == f"{crypto.symbol}USDT" for crypto in cryptos)
    assert {crypto.exchange for crypto in cryptos} == {NO_MARKET}


def test_a_csv_file_is_read_with_quotes_blank_lines_and_columns_in_any_order(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "name , exchange,symbol,asset_type,aliases",
        "",
        '"Brown-Forman, ""Class B""",XNYS,BF.B,stock,yahoo=BF-B; twelve_data=BF.B',
        "Euro,XXXX,EURUSD,fx,yahoo=EURUSD=X",
    )
    assert parse_instruments(path) == [
        Instrument(
            "BF.B",
            'Brown-Forman, "Class B"',
            AssetType.STOCK,
            "XNYS",
            "USD",
            "America/New_York",
            aliases={"yahoo": "BF-B", "twelve_data": "BF.B"},
        ),
        Instrument("EURUSD", "Euro", AssetType.FX, "XXXX", timezone="UTC", aliases={"yahoo": "EURUSD=X"}),
    ]


def test_csv_and_yaml_say_the_same(tmp_path: Path) -> None:
    csv_file = written(tmp_path, HEADER, APPLE, "TRUE,TrueCar,stock,XNAS,USD,America/New_York,no,,yahoo=TRUE")
    yaml_file = written(
        tmp_path,
        "- {symbol: AAPL, name: Apple Inc., asset_type: stock, exchange: XNAS, market_cap: 4e12}",
        "- symbol: TRUE  # a symbol, although YAML takes it for a boolean",
        "  name: TrueCar",
        "  asset_type: stock",
        "  exchange: XNAS",
        "  is_active: no",
        "  market_cap: null",
        "  aliases:",
        "    yahoo: TRUE",
        name="mine.yaml",
    )
    assert parse_instruments(yaml_file) == parse_instruments(csv_file)
    assert parse_instruments(csv_file)[1].is_active is False


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "excel.csv"
    path.write_bytes("symbol,name,asset_type,exchange\r\nMC,LVMH Moët,stock,XPAR\r\n".encode(encoding))
    assert [i.name for i in parse_instruments(path)] == ["LVMH Moët"]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (APPLE.replace("XNAS", "XXYZ"), "column exchange: 'XXYZ' is not a known market identifier (MIC)"),
        (APPLE.replace("AAPL", "aapl"), "column symbol: 'aapl' is not a symbol: write 'AAPL'"),
        (APPLE.replace("AAPL", "A APL"), "column symbol: 'A APL' is not a symbol: use A-Z"),
        (APPLE.replace("AAPL", ""), "column symbol: is missing"),
        (APPLE.replace("Apple Inc.", "Ap\tple"), "column name: has a control character"),
        (APPLE.replace("stock", "share"), "column asset_type: 'share' is not one of stock, crypto, etf, index, fx"),
        (APPLE.replace("stock", "crypto"), "column exchange: a crypto is traded on no single market: write XXXX"),
        (APPLE.replace("XNAS", "XXXX"), "column exchange: XXXX means no market: name the exchange"),
        (APPLE.replace("USD", "usd"), "column currency: 'usd' is not an ISO 4217 code"),
        (APPLE.replace("America/New_York", "New York"), "column timezone: 'New York' is not an IANA time zone"),
        (APPLE.replace("America/New_York", "../etc"), "column timezone: '../etc' is not an IANA time zone"),
        (APPLE.replace("America/New_York", "America"), "column timezone: 'America' is not an IANA time zone"),
        (APPLE.replace("true", "maybe"), "column is_active: 'maybe' is neither true nor false"),
        (APPLE.replace("4e12", "nan"), "column market_cap: 'nan' is not a positive number"),
        (APPLE.replace("4e12", "-1"), "column market_cap: '-1' is not a positive number"),
        (APPLE.replace("4e12", "4 trillion"), "column market_cap: '4 trillion' is not a positive number"),
        (APPLE + "yahoo", "column aliases: 'yahoo' is not provider=symbol"),
        (APPLE + "Yahoo=AAPL", "column aliases: 'Yahoo=AAPL' is not provider=symbol"),
        (APPLE + "yahoo=A;yahoo=B", "column aliases: yahoo is named twice"),
        (APPLE + ",", "has 10 fields, the header names 9 columns"),
        ("AAPL", "has 1 field, the header names 9 columns"),
        ('AAPL,"Apple', "is not CSV: unexpected end of data"),
    ],
)
def test_a_wrong_row_is_named_by_file_line_and_column(tmp_path: Path, row: str, expected: str) -> None:
    path = written(tmp_path, HEADER, "MSFT,Microsoft,stock,XNAS,,,,,", row)
    assert complaint(path).startswith(f"mine.csv: line 3{', ' if expected.startswith('column') else ': '}{expected}")


def test_a_row_behind_a_name_of_two_lines_is_named_by_its_own_line(tmp_path: Path) -> None:
    path = written(tmp_path, HEADER, "", '"MSFT","Micro\u200dsoft",stock,XNAS,,,,,', '"A\n",B,stock,XNAS,,,,,')
    assert complaint(path).startswith("mine.csv: line 3, column name")
    path = written(tmp_path, HEADER, 'AAPL,Apple,stock,XNAS,,,,"4\n",', "MSFT,Microsoft,stock,XXYZ,,,,,")
    assert complaint(path).startswith("mine.csv: line 4, column exchange: 'XXYZ'")


def test_a_symbol_given_twice_is_named_with_both_lines(tmp_path: Path) -> None:
    path = written(tmp_path, HEADER, APPLE, "MSFT,Microsoft,stock,XNAS,,,,,", APPLE)
    assert complaint(path) == "mine.csv: line 4, column symbol: 'AAPL' is already on line 2"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["symbol,name,asset_type"], "line 1, column exchange: is missing: the first line names the columns"),
        ([APPLE], "line 1, column AAPL: is not a column of instruments: those are symbol, name"),
        (["symbol,name,asset_type,exchange,isin"], "line 1, column isin: is not a column of instruments"),
        (["symbol,name,type,exchange"], "line 1, column type: is called asset_type here"),
        (["Symbol,name,asset_type,exchange"], "line 1, column Symbol: is called symbol here"),
        (["symbol,name,asset_type,exchange,Time Zone"], "line 1, column Time Zone: is called timezone here"),
        (["symbol,name,asset_type,exchange,name"], "line 1, column name: is named twice"),
        (["symbol;name;asset_type;exchange"], "line 1: separate the columns by commas"),
        ([""], "line 1: the file is empty"),
        ([HEADER], "holds no instrument"),
    ],
)
def test_a_wrong_header_is_explained(tmp_path: Path, lines: list[str], expected: str) -> None:
    assert complaint(written(tmp_path, *lines)).startswith(f"mine.csv: {expected}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("symbol: AAPL", "line 1: must be a list of instruments"),
        ("- AAPL", "line 1: must be an instrument"),
        ("- symbol: AAPL\n  name: [Apple]", "line 2, column name: must be a single value"),
        ("- symbol: AAPL\n  isin: A", "line 2, column isin: is not a column of instruments"),
        ("- symbol: AAPL\n  type: stock", "line 2, column type: is called asset_type here"),
        ("- symbol: AAPL\n  symbol: A", "line 2, column symbol: is named twice"),
        ("- symbol: AAPL\n- name: A", "line 1, column name: is missing"),
        ("- symbol: 'A", "line 2: is not YAML: found unexpected end of stream"),
        ("- symbol: A\n  name: \x07", "line 2: is not YAML: special characters are not allowed"),
        (
            "- symbol: A\n  name: A\n  asset_type: fx\n  exchange: X",
            "line 4, column exchange: 'X' is not a known market",
        ),
        ("# nothing", "line 1: the file is empty"),
        ("[]", "holds no instrument"),
    ],
)
def test_a_wrong_yaml_file_is_named_by_line_and_column(tmp_path: Path, text: str, expected: str) -> None:
    assert complaint(written(tmp_path, text, name="mine.yml")).startswith(f"mine.yml: {expected}")


def test_a_file_of_another_encoding_is_named_by_the_line_that_shows_it(tmp_path: Path) -> None:
    path = tmp_path / "old.csv"
    path.write_bytes(b"symbol,name,asset_type,exchange\nMC,LVMH Mo\xebt,stock,XPAR\n")
    assert complaint(path) == "old.csv: line 2: is not UTF-8 text: save the file as UTF-8"


def test_a_file_that_is_not_there_or_not_a_file_is_an_error_of_one_line(tmp_path: Path) -> None:
    assert complaint(tmp_path / "none.csv").endswith("none.csv: cannot be read: No such file or directory")
    (tmp_path / "folder.csv").mkdir()
    assert complaint(tmp_path / "folder.csv").endswith("cannot be read: Is a directory")
    assert complaint(tmp_path / "universe.xlsx") == (
        "universe.xlsx: instruments are read from .csv, .yaml and .yml files"
    )


@pytest.mark.parametrize(
    ("symbol", "kind", "exchange", "currency", "timezone"),
    [
        ("VOD.L", "stock", "XLON", "GBP", "Europe/London"),
        ("7203.T", "stock", "XTKS", "JPY", "Asia/Tokyo"),
        ("SAP.DE", "stock", "XETR", "EUR", "Europe/Berlin"),
        ("INFY.NS", "stock", "XNSE", "INR", "Asia/Kolkata"),
        ("NPN.JO", "etf", "XJSE", "ZAR", "Africa/Johannesburg"),
        ("^FTSE", "index", "XLON", "GBP", "Europe/London"),
        ("AAPL", "stock", "XNAS", "USD", "America/New_York"),
        ("BTC", "crypto", "XXXX", "USD", "UTC"),
        ("USDJPY", "fx", "XXXX", "JPY", "UTC"),
        ("EUR/CHF", "fx", "XXXX", "CHF", "UTC"),
        ("JPY=X", "fx", "XXXX", "JPY", "UTC"),
    ],
)
def test_currency_and_time_zone_follow_the_exchange(
    symbol: str, kind: str, exchange: str, currency: str, timezone: str
) -> None:
    fields = {"symbol": symbol, "name": symbol, "asset_type": kind, "exchange": exchange}
    found = instrument_from_text(fields)
    assert (found.currency, found.timezone) == (currency, timezone)
    assert instrument_from_text({**fields, "currency": "CAD"}).currency == "CAD"


def test_every_exchange_names_its_currency_and_those_of_one_city_name_the_same() -> None:
    by_timezone: dict[str, set[str]] = {}
    for exchange in exchanges().values():
        assert len(exchange.currency) == 3
        assert exchange.currency.isupper()
        by_timezone.setdefault(exchange.timezone, set()).add(exchange.currency)
    assert [zone for zone, currencies in by_timezone.items() if len(currencies) > 1] == []


def test_fields_without_a_file_are_validated_alike() -> None:
    with pytest.raises(InstrumentError, match=r"^exchange: 'NYSE' is not a known market identifier \(MIC\): use its"):
        instrument_from_text({"symbol": "A", "name": "A", "asset_type": "stock", "exchange": "NYSE"})


def test_importing_instruments_loads_nothing_heavy() -> None:
    code = """
import sys
import financehub_dagster.market.indicators.columns
from financehub_dagster.market.instrument_files import default_universe
default_universe()
print(sorted({"numpy", "pandas", "exchange_calendars", "talib", "pandera"} & set(sys.modules)))
"""
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"
