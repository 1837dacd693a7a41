"""An account's figures are the sums of its positions', whatever it holds and whatever is missing."""

import math
from datetime import date, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from financehub_dagster.market.holdings import Lot
from financehub_dagster.market.journal.positions import Account, Listing, Split, account
from financehub_dagster.market.journal.series import Closes, Rates
from financehub_dagster.market.journal.week import Week

WEEK = Week(date(2026, 11, 27))
SYMBOLS = ("AAA", "BBB", "CCC", "DDD")
FIGURES = ("value", "week", "total", "before", "paid")

days = st.integers(-30, 3).map(lambda number: WEEK.end + timedelta(days=number))
prices = st.floats(0.01, 100_000.0)
quantities = st.floats(0.001, 10_000.0) | st.floats(-10_000.0, -0.001)
series = st.dictionaries(days, prices, max_size=8).map(
    lambda found: Closes(sorted(found), [found[day] for day in sorted(found)])
)
splits = st.lists(st.builds(Split, days, st.sampled_from([0.1, 0.5, 2.0, 3.0, 10.0])), max_size=2)
listing = st.builds(
    lambda currency, closes, split: Listing("Name", currency, closes, split),
    st.sampled_from(["USD", "EUR", "JPY"]),
    series,
    splits,
)
lots = st.lists(
    st.builds(lambda *values: Lot("main", *values), st.sampled_from(SYMBOLS), quantities, prices, days), max_size=12
)
worlds = st.tuples(lots, st.fixed_dictionaries(dict.fromkeys(SYMBOLS, listing)), series, series)


def judged(world, ratio: float = 1.0) -> Account:
    """The account; with a ratio, after a later split of everything by it, for which all closes are restated."""
    held, listings, euro, yen = world
    rates = Rates({("EUR", "USD"): euro, ("USD", "JPY"): yen})
    if ratio != 1.0:
        listings = {
            symbol: Listing(
                own.name,
                own.currency,
                Closes(own.closes.days, [price / ratio for price in own.closes.prices]),
                [*own.splits, Split(WEEK.end + timedelta(days=9), ratio)],
            )
            for symbol, own in listings.items()
        }
    return account("main", held, listings, rates, WEEK, "USD", [WEEK.before, WEEK.end])


@settings(max_examples=40)
@given(worlds)
def test_an_account_is_the_sum_of_its_positions(world):
    found = judged(world)
    assert {each.symbol for each in found.positions} == {lot.symbol for lot in world[0] if lot.opened_on <= WEEK.end}
    for figure in FIGURES:
        known = [getattr(each, figure) for each in found.positions if each.symbol not in found.lacking(figure)]
        assert found.total(figure) == round(math.fsum(known), 2)
        assert all(math.isfinite(value) for value in known)
    for each in found.positions:
        if each.value is None or each.week is None or each.total is None:
            assert each.problems, "what is not known is explained"


@settings(max_examples=40)
@given(worlds)
def test_a_position_is_the_sum_of_its_lots(world):
    held, listings, euro, yen = world
    found = judged(world)
    for each in found.positions:
        own = [lot for lot in held if lot.symbol == each.symbol and lot.opened_on <= WEEK.end]
        alone = [judged(([lot], listings, euro, yen)).positions[0] for lot in own]
        for figure in ("value", "week", "total"):
            parts = [getattr(one, figure) for one in alone]
            whole = getattr(each, figure)
            assert (whole is None) == (None in parts)
            if whole is not None:
                assert math.isclose(whole, math.fsum(parts), rel_tol=1e-9, abs_tol=0.005 * (len(parts) + 1))


@settings(max_examples=40)
@given(worlds, st.sampled_from([0.5, 2.0, 4.0]))
def test_a_later_split_changes_no_figure(world, ratio):
    """Ratios are powers of two, so that restating costs no precision."""
    before, after = judged(world), judged(world, ratio)
    assert [(each.units, each.cost, each.close) for each in after.positions] == [
        (each.units, each.cost, each.close) for each in before.positions
    ]
    for figure in FIGURES:
        assert after.total(figure) == before.total(figure)
        assert after.lacking(figure) == before.lacking(figure)


@settings(max_examples=40)
@given(worlds)
def test_the_course_ends_at_the_value_of_the_account(world):
    found = judged(world)
    if found.positions and not found.lacking("value") and not found.lacking("total"):
        assert math.isclose(found.course[-1].value or 0, found.total("value"), rel_tol=1e-9, abs_tol=0.05)
        assert math.isclose(found.course[-1].paid, found.total("paid"), rel_tol=1e-9, abs_tol=0.05)
