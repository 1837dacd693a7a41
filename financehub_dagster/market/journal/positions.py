"""What the positions of an account are worth at the end of a week, and what they gained.

Belongs here: the arithmetic on lots, closes, splits and rates. Does not belong here: reading them, and how they are
shown.

Units and closes are on one basis: closes are stored split-adjusted, so a lot has as many units as it has become by all
splits since it was opened. A gain is the change of a lot's value in the account's currency, at the rates of both days,
so it includes what the currency gained. Dividends and fees are left out. A figure that needs a price or a rate that is
missing is None, and `problems` says what is missing.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import groupby

from financehub_dagster.market.holdings import Lot
from financehub_dagster.market.journal.series import Close, Closes, Rates
from financehub_dagster.market.journal.week import Week

CENTS = 2
"""Decimals that money is rounded to before it is added up, so that what is shown adds up."""


@dataclass(frozen=True, slots=True)
class Split:
    """New shares per old one, from a day on."""

    ex_date: date
    ratio: float


@dataclass(frozen=True, slots=True)
class Dividend:
    """Cash per share on the basis of the closes, in the instrument's currency."""

    ex_date: date
    cash: float


@dataclass(frozen=True, slots=True)
class Listing:
    """What is known of a held instrument."""

    name: str
    currency: str
    closes: Closes = field(default_factory=Closes)
    splits: Sequence[Split] = ()
    dividends: Sequence[Dividend] = ()

    def ratio_after(self, day: date) -> float:
        """Units that one unit held on `day` has become since."""
        return math.prod(split.ratio for split in self.splits if split.ex_date > day)


@dataclass(frozen=True, slots=True)
class Position:
    """All lots of an instrument in an account at the end of a week.

    units and the prices are as of that day; cost is the mean price paid for a unit, None where the units cancel out.
    value, week, total, before and paid are in the account's currency; week and total are gains, before is what the
    position was worth or cost when the week's gain begins. dividends are those with an ex-date in the week, in the
    instrument's currency.
    """

    symbol: str
    name: str
    currency: str
    units: float
    cost: float | None
    close: Close | None
    value: float | None
    week: float | None
    total: float | None
    before: float | None
    paid: float | None
    splits: Sequence[Split] = ()
    dividends: float = 0.0
    problems: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Account:
    """The positions of an account and their sums, each over the positions whose figure is known."""

    name: str
    currency: str
    positions: Sequence[Position]
    course: "Sequence[Point]" = ()
    later: Sequence[Lot] = field(default=())
    """Lots that were opened after the week; nothing else counts them."""

    def total(self, figure: str) -> float:
        """The sum of `value`, `week`, `total`, `before` or `paid`."""
        known = (getattr(each, figure) for each in self.positions)
        return round(math.fsum(value for value in known if value is not None), CENTS)

    def percent(self, figure: str) -> float | None:
        """The gain `week` or `total` in percent of the gross amount that it is a gain on, short positions included."""
        base = {"week": "before", "total": "paid"}[figure]
        pairs = [(getattr(each, figure), getattr(each, base)) for each in self.positions]
        gross = math.fsum(abs(amount) for gain, amount in pairs if gain is not None)
        return 100 * self.total(figure) / gross if gross else None

    def lacking(self, figure: str) -> list[str]:
        """The symbols of the positions whose figure is not known."""
        return [each.symbol for each in self.positions if getattr(each, figure) is None]


@dataclass(frozen=True, slots=True)
class Point:
    """What the lots of an account that were open on a day cost and were worth; value None where that is not known."""

    day: date
    paid: float
    value: float | None


def currency_of(lots: Iterable[Lot], listings: Mapping[str, Listing], otherwise: str) -> str:
    """The currency of all lots; `otherwise` where they are in several."""
    found = {listings[lot.symbol].currency for lot in lots}
    return found.pop() if len(found) == 1 else otherwise


def account(
    name: str,
    lots: Sequence[Lot],
    listings: Mapping[str, Listing],
    rates: Rates,
    week: Week,
    currency: str,
    days: Sequence[date] = (),
) -> Account:
    """What an account held at the end of `week`, with the course of its value on `days`.

    lots: of this account; listings has each of their symbols.
    """
    key = _symbol
    opened = sorted((lot for lot in lots if lot.opened_on <= week.end), key=key)
    positions = [
        _position(symbol, list(own), listings[symbol], _Exchange(rates, listings[symbol].currency, currency), week)
        for symbol, own in groupby(opened, key)
    ]
    unknown = {each.symbol for each in positions if each.value is None or each.total is None}
    drawn = [lot for lot in opened if lot.symbol not in unknown]
    course = [_point(day, drawn, listings, rates, currency) for day in days]
    later = [lot for lot in lots if lot.opened_on > week.end]
    return Account(name, currency, positions, course, later)


def _symbol(lot: Lot) -> str:
    return lot.symbol


@dataclass(slots=True)
class _Exchange:
    """Rates from an instrument's currency into the account's, and what was missing."""

    rates: Rates
    currency: str
    into: str
    missing: dict[date, str] = field(default_factory=dict)

    def at(self, day: date) -> float | None:
        rate = self.rates.at(self.currency, self.into, day)
        if rate is None:
            self.missing[day] = f"no rate from {self.currency} to {self.into} on {day}"
        return rate


@dataclass(frozen=True, slots=True)
class _Figures:
    """Of one lot, in the account's currency."""

    value: float | None
    before: float | None
    paid: float | None


def _position(symbol: str, lots: Sequence[Lot], listing: Listing, exchange: _Exchange, week: Week) -> Position:
    close, prior = listing.closes.until(week.end), listing.closes.until(week.before)
    figures = [_figures(lot, listing, exchange, week, close, prior) for lot in lots]
    later = listing.ratio_after(week.end)
    held = [lot.quantity * listing.ratio_after(lot.opened_on) / later for lot in lots]
    units = math.fsum(held)
    spent = math.fsum(lot.quantity * lot.cost for lot in lots)
    cancelled = abs(units) <= 1e-9 * math.fsum(map(abs, held))
    value, before, paid = (_sum([getattr(each, name) for each in figures]) for name in ("value", "before", "paid"))
    return Position(
        symbol,
        listing.name,
        listing.currency,
        0.0 if cancelled else units,
        None if cancelled else spent / units,
        None if close is None else Close(close.price * later, close.session),
        _rounded(value),
        _difference(value, before),
        _difference(value, paid),
        before,
        paid,
        [split for split in listing.splits if split.ex_date in week],
        _dividends(lots, listing, week),
        _problems(lots, week, close, prior, exchange),
    )


def _figures(
    lot: Lot, listing: Listing, exchange: _Exchange, week: Week, close: Close | None, prior: Close | None
) -> _Figures:
    units = lot.quantity * listing.ratio_after(lot.opened_on)
    paid = _product(lot.quantity * lot.cost, exchange.at(lot.opened_on))
    value = None if close is None else _product(units * close.price, exchange.at(week.end))
    if lot.opened_on in week:
        return _Figures(value, paid, paid)
    return _Figures(value, None if prior is None else _product(units * prior.price, exchange.at(week.before)), paid)


def _problems(
    lots: Sequence[Lot], week: Week, close: Close | None, prior: Close | None, exchange: _Exchange
) -> list[str]:
    found = []
    if close is None:
        found.append("no close is stored up to this week: it has no value here")
    elif close.session not in week:
        found.append(f"no close in this week: valued at that of {close.session}")
    elif prior is None and any(lot.opened_on not in week for lot in lots):
        found.append("no close is stored before this week: its gain of the week is not known")
    return [*found, *(exchange.missing[day] for day in sorted(exchange.missing))]


def _dividends(lots: Sequence[Lot], listing: Listing, week: Week) -> float:
    """Cash with an ex-date in the week, for the units held on the day before."""
    paid = (
        lot.quantity * listing.ratio_after(lot.opened_on) * each.cash
        for each in listing.dividends
        if each.ex_date in week
        for lot in lots
        if lot.opened_on < each.ex_date
    )
    return round(math.fsum(paid), CENTS)


def _point(day: date, lots: Sequence[Lot], listings: Mapping[str, Listing], rates: Rates, currency: str) -> Point:
    paid, value = [], []
    for lot in lots:
        if lot.opened_on > day:
            continue
        listing = listings[lot.symbol]
        close = listing.closes.until(day)
        units = lot.quantity * listing.ratio_after(lot.opened_on)
        paid.append(_product(lot.quantity * lot.cost, rates.at(listing.currency, currency, lot.opened_on)))
        value.append(
            None if close is None else _product(units * close.price, rates.at(listing.currency, currency, day))
        )
    return Point(day, _sum(paid) or 0.0, _sum(value))


def _product(amount: float, rate: float | None) -> float | None:
    return None if rate is None else amount * rate


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) if len(known) == len(values) else None


def _difference(value: float | None, base: float | None) -> float | None:
    return None if value is None or base is None else _rounded(value - base)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, CENTS)
