from datetime import date

import pytest

from financehub_dagster.cli import arguments
from financehub_dagster.cli.errors import WrongUsage
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.tables import TABLES

START, TODAY = date(2010, 1, 1), date(2024, 5, 17)
TAKES = {"stock_prices_daily": (AssetType.STOCK, AssetType.ETF), "crypto_prices_daily": (AssetType.CRYPTO,)}
UNIVERSE = [
    Instrument("AAPL", "Apple", AssetType.STOCK, "XNAS"),
    Instrument("SPY", "SPDR", AssetType.ETF, "ARCX"),
    Instrument("BTC", "Bitcoin", AssetType.CRYPTO, "XXXX"),
    Instrument("OLD", "Gone", AssetType.STOCK, "XNAS", is_active=False),
    Instrument("EURUSD", "Euro", AssetType.FX, "XXXX"),
]


def chosen(tables, symbols):
    return [i.symbol for i in arguments.instruments_for(tables, symbols, UNIVERSE, TAKES)]


@pytest.mark.parametrize("text", ["2015-03", "2015-03-01", "2015-03-31"])
def test_any_day_of_a_month_means_the_whole_month(text):
    assert arguments.month("--from", text) == date(2015, 3, 1)


@pytest.mark.parametrize("text", ["2015", "2015-13", "2015-02-30", "March", "", "2015/03", "15-03"])
def test_what_is_not_a_month_is_refused_by_option_and_example(text):
    with pytest.raises(WrongUsage, match=r"--from .*: not a month; write it as 2024-03"):
        arguments.month("--from", text)


def test_the_running_month_is_the_last_that_can_be_asked_for():
    assert arguments.months("2024-05", "2024-05-31", START, TODAY) == (date(2024, 5, 1), date(2024, 5, 1))
    with pytest.raises(WrongUsage, match="--to 2024-06 lies in the future: the running month is 2024-05"):
        arguments.months("2024-05", "2024-06", START, TODAY)


def test_reversed_months_are_refused():
    with pytest.raises(WrongUsage, match="--from 2015-04 lies after --to 2015-03"):
        arguments.months("2015-04", "2015-03", START, TODAY)


def test_reversed_days_within_one_month_are_the_same_month():
    assert arguments.months("2015-03-20", "2015-03-10", START, TODAY) == (date(2015, 3, 1), date(2015, 3, 1))


def test_months_before_the_history_name_the_setting_that_moves_it():
    with pytest.raises(WrongUsage, match="FINANCEHUB_HISTORY_START"):
        arguments.months("2009-12", "2015-03", START, TODAY)


def test_an_unknown_table_is_answered_with_the_nearest_name():
    with pytest.raises(WrongUsage, match="unknown table stock_price_daily: did you mean stock_prices_daily"):
        arguments.table("stock_price_daily", TAKES, "does not fit")
    with pytest.raises(WrongUsage, match="unknown table zzz: `financehub tables` shows what there is"):
        arguments.table("zzz", TABLES, "does not fit")


def test_a_table_that_there_is_and_that_the_command_cannot_use_is_not_unknown():
    with pytest.raises(WrongUsage, match="^quotes does not fit$"):
        arguments.table("quotes", TAKES, "does not fit")


def test_an_unknown_symbol_is_answered_with_the_nearest_one():
    with pytest.raises(WrongUsage, match="unknown symbol APPL: did you mean AAPL"):
        chosen(["stock_prices_daily"], ["AAPL", "APPL"])


def test_a_crypto_is_refused_for_the_stock_table_and_a_stock_for_the_crypto_table():
    with pytest.raises(WrongUsage, match="BTC is of type crypto, which stock_prices_daily does not take"):
        chosen(["stock_prices_daily"], ["BTC"])
    with pytest.raises(WrongUsage, match="AAPL is of type stock, which crypto_prices_daily does not take"):
        chosen(["crypto_prices_daily"], ["AAPL"])


def test_a_derived_table_takes_every_kind_that_has_bars():
    assert chosen(["indicators_daily"], None) == ["AAPL", "SPY", "BTC"]
    with pytest.raises(WrongUsage, match="EURUSD is of type fx"):
        chosen(["indicators_daily"], ["EURUSD"])


def test_without_symbols_only_active_instruments_of_the_tables_kinds_are_meant():
    assert chosen(["stock_prices_daily"], None) == ["AAPL", "SPY"]


def test_a_removed_instrument_can_still_be_asked_for_by_name():
    assert chosen(["stock_prices_daily"], ["OLD"]) == ["OLD"]


def test_symbols_may_be_repeated_joined_by_commas_and_in_lower_case():
    assert arguments.split_symbols(["aapl, msft", "AAPL", "btc,"]) == ["AAPL", "MSFT", "BTC"]


@pytest.mark.parametrize("texts", [None, [], [""], [" , "]])
def test_no_symbols_means_all(texts):
    assert arguments.split_symbols(texts) is None
