"""What was measured of vendors' bars: replaced where it is compared again, kept elsewhere, and added up."""

from datetime import date, timedelta

import sqlalchemy as sa

from financehub_dagster.operations import vendor_errors
from financehub_dagster.storage import measured_bars
from financehub_dagster.storage.measured_bars import COMPARED, Example, Measured
from financehub_dagster_tests.fixtures.database import Database

TABLE, FIRST = "stock_prices_daily", date(2024, 1, 1)


def day(number: int) -> date:
    return FIRST + timedelta(days=number)


def days(*numbers: int) -> list[date]:
    return [day(number) for number in numbers]


def example(number: int) -> Example:
    return Example(day(number), "close", 1.5, 2.0, "yahoo")


def compare(database: Database, first: int, last: int, *errors: Measured, symbol: str = "AAPL") -> None:
    span = day(first), day(last)
    compared = Measured(COMPARED, True, days(*range(first, last + 1)))
    with database.engine.begin() as connection:
        measured_bars.replace(connection, TABLE, symbol, "twelve_data", span, [compared, *errors], "run")


def totals(database: Database) -> dict[tuple[str, bool], tuple[int, int, date | None]]:
    with database.engine.begin() as connection:
        found = measured_bars.totals(connection)
    return {
        (each.kind, each.decided): (each.bars, each.instruments, None if each.example is None else each.example.date)
        for each in found
    }


def test_sessions_compared_again_are_replaced_and_others_are_kept(database: Database) -> None:
    compare(database, 0, 9, Measured("close", True, days(2, 8), example(8)))
    assert totals(database) == {(COMPARED, True): (10, 1, None), ("close", True): (2, 1, day(8))}
    compare(database, 5, 14, Measured("unit", False, days(12), example(12)))
    wanted = {(COMPARED, True): (15, 1, None), ("close", True): (1, 1, None), ("unit", False): (1, 1, day(12))}
    assert totals(database) == wanted
    compare(database, 5, 14, Measured("unit", False, days(12), example(12)))
    assert totals(database) == wanted
    compare(database, 0, 14)
    assert totals(database) == {(COMPARED, True): (15, 1, None)}


def test_rates_are_of_all_instruments_and_show_the_newest_example(database: Database) -> None:
    compare(database, 0, 9, Measured("close", True, days(2), example(2)), symbol="AAPL")
    compare(database, 0, 9, Measured("close", True, days(4), example(4)), symbol="MSFT")
    compare(database, 0, 19, Measured("close", False, days(7), example(7)), symbol="IBM")
    with database.engine.begin() as connection:
        [found] = vendor_errors.rates(connection)
        assert vendor_errors.rates(connection, "crypto_prices_daily") == []
    assert (found.vendor, found.compared, found.instruments) == ("twelve_data", 40, 3)
    [close] = found.kinds
    assert (close.kind, close.wrong, close.rate, close.undecided) == ("close", 2, 500.0, 1)
    assert vendor_errors.example_of(close) == "MSFT 2024-01-05: close 1.5; yahoo has 2"
    assert "| twelve_data | `close` | 2 | 500.00 | 1 | MSFT 2024-01-05" in vendor_errors.as_markdown([found])


def test_what_was_not_compared_for_long_is_forgotten(database: Database) -> None:
    compare(database, 0, 9, symbol="AAPL")
    compare(database, 0, 9, symbol="MSFT")
    with database.engine.begin() as connection:
        old = sa.text("update measured_bars set compared_at = now() - interval '400 days' where symbol = 'MSFT'")
        connection.execute(old)
        assert measured_bars.forget(connection, 365) == 1
    assert totals(database) == {(COMPARED, True): (10, 1, None)}
