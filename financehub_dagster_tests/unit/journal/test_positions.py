"""Values and gains of positions, worked out by hand to the cent. The week is 21 to 27 November 2026."""

from datetime import date

from financehub_dagster.market.holdings import Lot
from financehub_dagster.market.journal.positions import Account, Dividend, Listing, Split, account, currency_of
from financehub_dagster.market.journal.series import Closes, Rates, pair_of
from financehub_dagster.market.journal.week import named

WEEK = named("2026-W48")
LONG_AGO, BEFORE, MONDAY, FRIDAY = date(2026, 1, 5), date(2026, 11, 20), date(2026, 11, 23), date(2026, 11, 27)


def closes(**by_day: float) -> Closes:
    """Closes of days written as d1120 for 20 November."""
    days = sorted((date(2026, int(key[1:3]), int(key[3:])), price) for key, price in by_day.items())
    return Closes([day for day, _ in days], [price for _, price in days])


def lot(symbol: str, quantity: float, cost: float, opened_on: date = LONG_AGO) -> Lot:
    return Lot("main", symbol, quantity, cost, opened_on)


def judged(lots: list[Lot], listings: dict[str, Listing], rates: Rates | None = None, currency: str = "USD") -> Account:
    return account("main", lots, listings, rates or Rates(), WEEK, currency)


def test_a_position_is_the_sum_of_its_lots():
    """10 at 90.10 and 5 at 99.99, 101.01 a week ago and 103.33 now: 15 x 2.32 and 15 x 103.33 - 1400.95."""
    stock = Listing("Apple", "USD", closes(d1119=50.0, d1120=101.01, d1127=103.33))
    [held] = judged([lot("AAPL", 10, 90.10), lot("AAPL", 5, 99.99, date(2026, 3, 2))], {"AAPL": stock}).positions
    assert (held.units, held.value, held.week, held.total) == (15, 1549.95, 34.80, 149.00)
    assert round(held.cost or 0, 4) == 93.3967
    assert held.problems == []


def test_a_lot_opened_in_the_week_gains_from_its_cost():
    """One lot of 4 gains 4 x 2; the other of 6, bought on Monday at 102.50, gains 6 x 0.50."""
    stock = Listing("Apple", "USD", closes(d1120=101.0, d1127=103.0))
    held = judged([lot("AAPL", 4, 80.0), lot("AAPL", 6, 102.5, MONDAY)], {"AAPL": stock})
    assert held.positions[0].week == 11.0
    assert held.positions[0].before == 4 * 101.0 + 6 * 102.5
    assert held.percent("week") == 100 * 11.0 / 1019.0


def test_a_lot_of_the_friday_before_gains_from_that_close_and_a_later_one_is_not_there_yet():
    stock = Listing("Apple", "USD", closes(d1120=101.0, d1127=103.0))
    lots = [lot("AAPL", 1, 80.0, BEFORE), lot("AAPL", 7, 1.0, date(2026, 11, 28))]
    found = judged(lots, {"AAPL": stock})
    assert (found.total("week"), found.total("total"), found.total("value")) == (2.0, 23.0, 103.0)
    assert found.later == lots[1:]


def test_a_short_position_gains_when_the_price_falls():
    """-20 at 50.00, 48.00 a week ago and 45.50 now: 20 x 2.50 and 20 x 4.50."""
    stock = Listing("Apple", "USD", closes(d1120=48.0, d1127=45.5))
    found = judged([lot("AAPL", -20, 50.0)], {"AAPL": stock})
    [held] = found.positions
    assert (held.units, held.value, held.week, held.total) == (-20, -910.0, 50.0, 90.0)
    assert found.percent("total") == 9.0


def test_a_long_and_a_short_lot_that_cancel_have_no_mean_cost():
    stock = Listing("Apple", "USD", closes(d1120=48.0, d1127=45.5))
    [held] = judged([lot("AAPL", 20, 40.0), lot("AAPL", -20, 50.0, MONDAY)], {"AAPL": stock}).positions
    assert (held.units, held.cost, held.value, held.total) == (0.0, None, 0.0, 200.0)


def test_a_split_in_the_week_is_no_gain():
    """10 at 400 became 40 by 4:1 on Wednesday; stored closes are split-adjusted, so 100 before is 400 as traded."""
    stock = Listing("Apple", "USD", closes(d1120=100.0, d1127=102.0), [Split(date(2026, 11, 25), 4.0)])
    [held] = judged([lot("AAPL", 10, 400.0)], {"AAPL": stock}).positions
    assert (held.units, held.cost, held.value) == (40, 100.0, 4080.0)
    assert (held.week, held.total) == (80.0, 80.0)
    assert held.splits == stock.splits


def test_a_split_after_the_week_changes_none_of_its_figures():
    """Closes are a tenth of what they were since a 10:1 split in December."""
    without = Listing("Apple", "USD", closes(d1120=100.0, d1127=102.0))
    later = Listing("Apple", "USD", closes(d1120=10.0, d1127=10.2), [Split(date(2026, 12, 7), 10.0)])
    lots = [lot("AAPL", 3, 90.0)]
    assert judged(lots, {"AAPL": later}) == judged(lots, {"AAPL": without})


def test_gains_in_another_currency_include_the_currency():
    """8 at 10.00 EUR paid at 1.05; 12.00 at 1.10 a week ago; 12.50 at 1.08 now.

    Value 8 x 12.50 x 1.08 = 108.00; week 108 - 8 x 12 x 1.10 = 2.40; since opened 108 - 84 = 24.00.
    """
    rates = Rates({("EUR", "USD"): closes(d0105=1.05, d1120=1.10, d1127=1.08)})
    stock = Listing("SAP", "EUR", closes(d1120=12.0, d1127=12.5))
    [held] = judged([lot("SAP", 8, 10.0)], {"SAP": stock}, rates).positions
    assert (held.value, held.week, held.total) == (108.00, 2.40, 24.00)
    assert (held.cost, held.currency) == (10.0, "EUR")


def test_rates_are_found_inverted_and_by_way_of_the_dollar():
    rates = Rates({("EUR", "USD"): closes(d1127=1.25), ("USD", "JPY"): closes(d1127=150.0)})
    assert rates.at("USD", "EUR", FRIDAY) == 0.8
    assert rates.at("EUR", "JPY", FRIDAY) == 187.5
    assert rates.at("JPY", "EUR", FRIDAY) == (1 / 150.0) * 0.8
    assert rates.at("EUR", "EUR", FRIDAY) == 1.0
    assert rates.at("EUR", "CHF", FRIDAY) is None
    assert rates.at("EUR", "USD", date(2026, 12, 5)) is None, "a rate of eight days ago is none"


def test_pairs_are_recognised_as_vendors_write_them():
    assert pair_of("EURUSD", "USD") == pair_of("EUR/USD", "USD") == pair_of("EURUSD=X", "USD") == ("EUR", "USD")
    assert pair_of("JPY=X", "JPY") == ("USD", "JPY")
    assert pair_of("EURUSD", "JPY") is None
    assert pair_of("GOLD", "USD") is None


def test_what_is_missing_is_named_and_never_counts_as_zero():
    rates = Rates({("EUR", "USD"): closes(d1120=1.10, d1127=1.08)})
    listings = {
        "GOOD": Listing("Good", "USD", closes(d1120=10.0, d1127=11.0)),
        "NONE": Listing("None", "USD"),
        "OLD": Listing("Old", "USD", closes(d0601=5.0)),
        "NEW": Listing("New", "USD", closes(d1125=7.0)),
        "CHF": Listing("Swiss", "CHF", closes(d1120=10.0, d1127=11.0)),
        "EUR": Listing("Euro", "EUR", closes(d1120=10.0, d1127=11.0)),
    }
    found = judged([lot(symbol, 1, 4.0) for symbol in listings], listings, rates)
    said = {each.symbol: list(each.problems) for each in found.positions}
    assert said == {
        "GOOD": [],
        "NONE": ["no close is stored up to this week: it has no value here"],
        "OLD": ["no close in this week: valued at that of 2026-06-01"],
        "NEW": ["no close is stored before this week: its gain of the week is not known"],
        "CHF": [f"no rate from CHF to USD on {day}" for day in (LONG_AGO, BEFORE, FRIDAY)],
        "EUR": [f"no rate from EUR to USD on {LONG_AGO}"],
    }
    assert found.lacking("value") == ["CHF", "NONE"]
    assert found.lacking("week") == ["CHF", "NEW", "NONE"]
    assert found.lacking("total") == ["CHF", "EUR", "NONE"]
    assert found.total("value") == 11.0 + 5.0 + 7.0 + 11.0 * 1.08
    assert found.total("week") == 1.0 + 0.0 + round(11 * 1.08 - 10 * 1.10, 2)


def test_one_lot_that_is_not_known_makes_its_position_unknown():
    rates = Rates({("EUR", "USD"): closes(d1102=1.0, d1120=1.10, d1127=1.08)})
    listings = {"EUR": Listing("Euro", "EUR", closes(d1120=10.0, d1127=11.0))}
    [held] = judged([lot("EUR", 1, 4.0), lot("EUR", 1, 4.0, date(2026, 11, 2))], listings, rates).positions
    assert (held.value, held.total) == (23.76, None)


def test_dividends_are_counted_apart_and_only_for_what_was_held_before_the_ex_date():
    stock = Listing("Apple", "USD", closes(d1120=50.0, d1127=49.0), (), [Dividend(date(2026, 11, 25), 0.26)])
    lots = [lot("AAPL", 10, 40.0), lot("AAPL", 90, 50.0, date(2026, 11, 25))]
    [held] = judged(lots, {"AAPL": stock}).positions
    assert (held.dividends, held.week) == (2.6, -100.0)


def test_what_is_shown_adds_up_to_the_cent():
    """A third of a cent each: three positions show 0.00, and so does their sum."""
    stock = Listing("Dust", "USD", closes(d1120=1.0, d1127=1.0033))
    lots = [lot(symbol, 1, 1.0) for symbol in ("A", "B", "C")]
    found = judged(lots, dict.fromkeys("ABC", stock))
    assert [each.week for each in found.positions] == [0.0, 0.0, 0.0]
    assert found.total("week") == 0.0


def test_the_currency_of_an_account_is_that_of_its_instruments():
    listings = {"A": Listing("A", "EUR"), "B": Listing("B", "USD")}
    assert currency_of([lot("A", 1, 1)], listings, "USD") == "EUR"
    assert currency_of([lot("A", 1, 1), lot("B", 1, 1)], listings, "CHF") == "CHF"


def test_the_course_begins_with_the_first_lot_and_has_gaps_where_a_price_is_missing():
    stock = Listing("Apple", "USD", closes(d1106=9.0, d1127=11.0))
    lots = [lot("AAPL", 2, 8.0, date(2026, 11, 2)), lot("AAPL", 1, 10.0, MONDAY)]
    days = [date(2026, 10, 30), date(2026, 11, 5), date(2026, 11, 13), FRIDAY]
    found = account("main", lots, {"AAPL": stock}, Rates(), WEEK, "USD", days)
    assert [(point.paid, point.value) for point in found.course] == [(0, 0), (16, None), (16, 18), (26, 33)]
