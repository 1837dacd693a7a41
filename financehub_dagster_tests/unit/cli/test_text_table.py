"""Tables of the command line fit the terminal and lose nothing."""

import pytest

from financehub_dagster.cli.console import Console
from financehub_dagster.cli.text_table import lay_out

GAPS = (
    ["table", "symbol", "gap", "dead_lettered", "deferred", "from", "to", "worst month"],
    [
        ["crypto_prices_daily", "AAVE", "1,826", "0", "0", "2009-01", "2013-12", "2013-12"],
        ["crypto_prices_daily", "ADA", "1,826", "0", "0", "2009-01", "2013-12", "2013-12"],
        ["stock_prices_daily", "GOOG", "1,258", "0", "0", "2009-01", "2013-12", "2013-10"],
    ],
    [False, False, True, True, True, False, False, False],
)
LETTERS = (
    ["id", "task", "partitions", "symbol", "status", "tries", "next retry", "error"],
    [
        [
            "17",
            "stock_prices_daily",
            "2015-01-01...2015-04-01",
            "GE",
            "open",
            "2",
            "2026-11-29 03:30",
            "yahoo: no " * 6,
        ]
    ],
    [False] * 8,
)
USAGE = (
    ["vendor", "account", "window", "used", "of", "left", "free again (UTC)", "calls today"],
    [
        ["coinmarketcap", "tcap-afbb*", "minute", "0", "30", "30", "", "1"],
        ["", "", "month", "1", "15,000", "14,999", "2026-12-01 00:00", ""],
    ],
    [False, False, False, True, True, True, False, True],
)


@pytest.mark.parametrize("table", [GAPS, LETTERS, USAGE], ids=["gaps", "letters", "usage"])
@pytest.mark.parametrize("width", [40, 60, 80, 120, 160])
def test_a_table_fits_and_loses_nothing(table, width):
    columns, rows, numeric = table
    lines = lay_out(columns, rows, numeric, width)
    assert max(map(len, lines)) <= width
    shown = "".join("".join(lines).split())
    for row in rows:
        for cell in row:
            assert all(word in shown for word in cell.split() if len(word) <= 20)


def test_a_row_is_one_line_where_there_is_room():
    columns, rows, numeric = GAPS
    assert len(lay_out(columns, rows, numeric, 160)) == 2 + len(rows)


def test_the_first_column_becomes_a_heading_where_there_is_less():
    columns, rows, numeric = USAGE
    lines = lay_out(columns, rows, numeric, 60)
    assert "coinmarketcap" in lines  # a line of its own, for both rows


def test_a_wide_character_counts_as_two():
    lines = lay_out(["name", "n"], [["東京", "1"], ["x", "2"]], [False, True], 60)
    assert [line.index(number) for line, number in zip(lines[2:], "12", strict=True)] == [4, 6]


def test_a_terminal_of_60_columns_is_filled_and_no_more(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "60")
    columns, rows, _ = LETTERS
    Console().table("1 open", columns, rows)
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 60
