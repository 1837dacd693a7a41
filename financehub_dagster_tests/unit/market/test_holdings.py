"""Files of holdings: read whole, or refused with the line and column that is wrong."""

from datetime import date

import pytest

from financehub_dagster.market.holdings import HoldingsError, Lot, parse

HEADER = "account,symbol,quantity,cost,opened_on\n"


def lots(tmp_path, text: str) -> list[Lot]:
    file = tmp_path / "held.csv"
    file.write_bytes(text.encode())
    return parse(file)


def test_a_file_is_read_with_its_columns_in_any_order(tmp_path):
    rows = " aapl ,main,2020-01-02,10,75.5\n\nBTC,main,2021-05-01,-0.25,30000\n"
    text = f"\ufeffsymbol,account,opened_on,quantity,cost\n{rows}"
    assert lots(tmp_path, text) == [
        Lot("main", "AAPL", 10.0, 75.5, date(2020, 1, 2)),
        Lot("main", "BTC", -0.25, 30000.0, date(2021, 5, 1)),
    ]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("", "holds no lot"),
        ("main,AAPL,ten,75,2020-01-02", "line 2, column quantity: 'ten' is not a number"),
        ("main,AAPL,nan,75,2020-01-02", "line 2, column quantity: 'nan' is not a number"),
        ("main,AAPL,0,75,2020-01-02", "line 2, column quantity: must not be 0"),
        ("main,AAPL,1,-75,2020-01-02", "line 2, column cost: must be above 0"),
        ("main,AAPL,1,75,02.01.2020", "line 2, column opened_on: write a day as 2026-11-29"),
        ("main,AAPL,1,75,2999-01-02", "line 2, column opened_on: 2999-01-02 has not come yet"),
        ("main,,1,75,2020-01-02", "line 2, column symbol: is empty"),
        ("main,AAPL,1,75", "line 2: 4 cells under 5 columns"),
        ("main,AAPL,1,75,2020-01-02\nmain,aapl,2,70,2020-01-02", "line 3: this lot is on line 2 already"),
    ],
)
def test_a_mistake_is_named_with_its_line_and_column(tmp_path, rows, said):
    with pytest.raises(HoldingsError, match="held.csv: ") as raised:
        lots(tmp_path, HEADER + rows)
    assert said in str(raised.value)


def test_a_file_without_our_header_is_refused(tmp_path):
    with pytest.raises(HoldingsError, match="line 1: the header must be account,symbol,quantity,cost,opened_on"):
        lots(tmp_path, "symbol,quantity\nAAPL,1\n")
    with pytest.raises(HoldingsError, match="line 1: separate the columns by commas"):
        lots(tmp_path, "account;symbol;quantity;cost;opened_on\r\nmain;AAPL;10;75,5;2020-01-02\r\n")
    with pytest.raises(HoldingsError, match="cannot be read"):
        parse(tmp_path / "none.csv")
