"""What a journal says: its sections, tables and assumptions, as a page.

Belongs here: words, order and number formats. Does not belong here: arithmetic (market.journal), Markdown and HTML.
"""

from collections.abc import Iterator, Sequence
from datetime import date

from financehub_dagster.market.journal.outcomes import ENTRY, Outcome, Signal
from financehub_dagster.market.journal.positions import Position
from financehub_dagster.market.signals.rules import title
from financehub_dagster.serving.journal import charts
from financehub_dagster.serving.journal.blocks import Block, Cell, Facts, Grid, Heading, Items, Page, Paragraph, Picture
from financehub_dagster.serving.journal.reading import WEEKS, Journal
from financehub_dagster.wording import counted

MOST_OPEN = 100
"""Entries without an exit that are listed, newest first; all of them are counted."""
NONE = Cell("-")


def page(journal: Journal, most: int | None = None) -> Page:
    """The page of a journal; most: rows of each table, of all if None."""
    blocks: list[Block] = []
    for section in (_head, _positions, _events, _missing, _signals, _earlier, _assumptions):
        blocks += section(journal, most)
    return Page(f"Journal of {journal.account.name}, {journal.week}", blocks)


def _head(journal: Journal, _most: int | None) -> Iterator[Block]:
    account, week = journal.account, journal.week
    yield Paragraph(f"{_day(week.start)} to {_day(week.end)}. Amounts are in {account.currency}.")
    if not journal.complete:
        yield Paragraph("This week had not ended: these are its figures so far.", notice=True)
    if journal.as_of is not None:
        yield Paragraph(
            f"Prices, rates and signals as they were known at {journal.as_of:%Y-%m-%d %H:%M %Z}.", notice=True
        )
    if journal.sample_market:
        yield Paragraph("Prices of the sample market: recorded or generated, not to be traded on.", notice=True)
    if not account.positions:
        later = counted(len(account.later), "lot was", "lots were")
        yield Paragraph(f"Nothing was held yet at the end of this week: {later} opened later.")
        return
    lacking = len(account.lacking("value"))
    count = f"without {lacking} of {len(account.positions)}" if lacking else counted(len(account.positions), "position")
    yield Facts(
        [
            ("Value", Cell(f"{account.total('value'):,.2f}", under=count)),
            ("Gain of the week", _gain(account.total("week"), account.percent("week"))),
            ("Gain since opened", _gain(account.total("total"), account.percent("total"))),
            ("Signals of the week", Cell(str(len(journal.signals)), under=_split_up(journal.signals))),
        ]
    )
    if charts.has_course(account):
        without = " of the positions for which it is known" if account.lacking("total") else ""
        words = f"Gain since opened{without}, at the end of each week, in {account.currency}"
        yield Picture(words, lambda: charts.course(account))


def _positions(journal: Journal, most: int | None) -> Iterator[Block]:
    account = journal.account
    if not account.positions:
        return
    yield Heading("Positions")
    ordered = sorted(account.positions, key=lambda each: (each.value is None, -abs(each.value or 0.0), each.symbol))
    columns = ("Position", "Units", "Cost", "Close", "Value", "Week", "Since opened")
    sums = [
        Cell("Sum"),
        *[Cell("")] * 3,
        Cell(f"{account.total('value'):,.2f}"),
        _gain(account.total("week"), account.percent("week")),
        _gain(account.total("total"), account.percent("total")),
    ]
    yield Grid(columns, 1, [_position(each, journal) for each in ordered[:most]], sums)
    yield from _more(ordered, most, "positions")
    if charts.extremes(account.positions):
        yield Picture(f"Gain of the week by position, in {account.currency}", lambda: charts.gains(account))


def _position(each: Position, journal: Journal) -> list[Cell]:
    foreign = f" {each.currency}" if each.currency != journal.account.currency else ""
    old = each.close is not None and each.close.session not in journal.week
    close = NONE
    if each.close is not None:
        close = Cell(f"{_price(each.close.price)}{foreign}", under=str(each.close.session) if old else "")
    return [
        Cell(each.symbol, under="" if each.name == each.symbol else each.name),
        Cell(f"{each.units:,.10g}"),
        NONE if each.cost is None else Cell(f"{_price(each.cost)}{foreign}"),
        close,
        NONE if each.value is None else Cell(f"{each.value:,.2f}"),
        _gain(each.week, _percent(each.week, each.before)),
        _gain(each.total, _percent(each.total, each.paid)),
    ]


def _events(journal: Journal, _most: int | None) -> Iterator[Block]:
    lines = []
    for each in journal.account.positions:
        lines += [f"{each.symbol}: split {split.ratio:g} for 1 on {split.ex_date}" for split in each.splits]
        if each.dividends:
            verb = "paid" if each.dividends > 0 else "owed on a short position"
            amount = f"{abs(each.dividends):,.2f} {each.currency}"
            lines.append(f"{each.symbol}: dividends of {amount} {verb}, not part of the gains")
    if lines:
        yield Heading("Splits and dividends")
        yield Items(lines)


def _missing(journal: Journal, _most: int | None) -> Iterator[Block]:
    lines = [f"{each.symbol}: {problem}" for each in journal.account.positions for problem in each.problems]
    if lines:
        yield Heading("What is missing")
        yield Paragraph("Sums are over the positions whose figure is known.")
        yield Items(lines)


def _signals(journal: Journal, most: int | None) -> Iterator[Block]:
    if not journal.account.positions:
        return
    yield Heading("Signals of the week")
    if not journal.signals:
        yield Paragraph("No rule fired on what the account holds.")
        return
    ended: dict[Signal, list[Outcome]] = {}
    entered = {outcome.entry: outcome for outcome in journal.outcomes}
    for outcome in journal.outcomes:
        if outcome.exit is not None:
            ended.setdefault(outcome.exit, []).append(outcome)
    rows = []
    for signal in journal.signals[:most]:
        cells = [
            Cell(str(signal.date)),
            Cell(signal.symbol),
            Cell(title(signal.rule, signal.direction), under=signal.rule),
        ]
        became = _became(signal, entered, ended.get(signal, []))
        rows.append(
            [
                *cells,
                Cell(signal.direction),
                Cell((signal.told or "no").replace("_", " ")),
                _traded(journal, signal),
                became,
            ]
        )
    yield Grid(("Session", "Position", "Signal", "Direction", "Notified", "Close", "What became of it"), 5, rows)
    yield from _more(journal.signals, most, "signals")


def _became(signal: Signal, entered: dict[Signal, Outcome], ended: Sequence[Outcome]) -> Cell:
    """Of an entry its return so far or until its exit; of an exit that of the entries it ends."""
    if signal.direction == ENTRY:
        outcome = entered[signal]
        return _change(outcome.change, "open" if outcome.exit is None else f"exit on {outcome.exit.date}")
    known = [each.change for each in ended if each.change is not None]
    if not known:
        return NONE
    first = f"entry of {ended[0].entry.date}"
    return _change(
        sum(known) / len(known), first if len(ended) == 1 else f"mean of {counted(len(ended), 'entry', 'entries')}"
    )


def _earlier(journal: Journal, most: int | None) -> Iterator[Block]:
    if not journal.outcomes:
        return
    yield Heading("What became of earlier signals")
    yield Paragraph(
        f"Every entry signal of the last {WEEKS} weeks on what the account holds, followed to the next exit signal of"
        " the same rule. A hit is an exit above the entry."
    )
    rows = [
        [
            Cell(record.rule),
            Cell(str(record.entries)),
            Cell(str(record.open)),
            Cell(str(record.closed)),
            NONE
            if record.hit_rate is None
            else Cell(f"{100 * record.hit_rate:.0f} %", under=f"{record.hits} of {record.closed}"),
            _change(record.closed_change),
            _change(record.open_change),
        ]
        for record in journal.records
    ]
    yield Grid(("Rule", "Entries", "Open", "Ended", "Hit rate", "Mean return, ended", "Mean return, open"), 1, rows)
    still = [outcome for outcome in reversed(journal.outcomes) if outcome.exit is None]
    if still:
        shown = min(MOST_OPEN, len(still) if most is None else most)
        yield Heading("Entries still open")
        yield Grid(
            ("Position", "Signal", "Entered", "Entry", "Return so far"),
            3,
            [_open(journal, each) for each in still[:shown]],
        )
        yield from _more(still, shown, "open entries")


def _open(journal: Journal, outcome: Outcome) -> list[Cell]:
    entry = outcome.entry
    what = Cell(title(entry.rule, entry.direction), under=entry.rule)
    return [Cell(entry.symbol), what, Cell(str(entry.date)), _traded(journal, entry), _change(outcome.change)]


def _assumptions(journal: Journal, _most: int | None) -> Iterator[Block]:
    into, rules = journal.account.currency, ", ".join(journal.rules) or "none"
    snapshot = (
        "Holdings are a snapshot: the lots stored now that were opened by the end of the week, held unchanged since"
        " they were opened. What was sold before the last import is not counted."
    )
    converted = (
        f"Amounts in other currencies are converted to {into} at the close of each day: gains include those of the"
        " currency, and cost is converted at the rate of the day it was paid."
    )
    measured = (
        "The gain of the week is measured from the close of the Friday before, of lots opened in the week from their"
        " cost. Dividends, fees, taxes and cash are left out."
    )
    looked_at = (
        f"Signals are those of the rules {rules} (FINANCEHUB_NOTIFY), at the closes on which they fired, without costs."
        " They describe past prices and are no advice."
    )
    yield Heading("How to read this")
    yield Items(
        [
            snapshot,
            measured,
            converted,
            "Units and prices are as of the end of the week, with the splits until then.",
            "Percentages are of the gross amounts, so that short positions count as much as long ones.",
            looked_at,
        ]
    )


def _traded(journal: Journal, signal: Signal) -> Cell:
    """The close of a signal with the splits until the end of the week, as the prices of positions are."""
    return Cell(_price(signal.price * journal.listings[signal.symbol].ratio_after(journal.week.end)))


def _split_up(signals: Sequence[Signal]) -> str:
    counts: dict[str, int] = {}
    for signal in signals:
        counts[signal.direction] = counts.get(signal.direction, 0) + 1
    return ", ".join(f"{count} {direction}" for direction, count in sorted(counts.items()))


def _more(rows: Sequence[object], most: int | None, what: str) -> Iterator[Block]:
    if most is not None and len(rows) > most:
        yield Paragraph(f"{len(rows) - most:,} more {what}.")


def _gain(amount: float | None, percent: float | None) -> Cell:
    if amount is None:
        return NONE
    return Cell(f"{amount:+,.2f}", _tone(amount), "" if percent is None else f"{percent:+,.2f} %")


def _change(change: float | None, under: str = "") -> Cell:
    return NONE if change is None else Cell(f"{100 * change:+,.2f} %", _tone(change), under)


def _percent(gain: float | None, base: float | None) -> float | None:
    return None if gain is None or not base else 100 * gain / abs(base)


def _tone(amount: float) -> int:
    return (amount > 0) - (amount < 0)


def _price(price: float) -> str:
    return f"{price:,.2f}" if abs(price) >= 1 else f"{price:,.6g}"


def _day(day: date) -> str:
    return f"{day:%A} {day.day} {day:%B %Y}"
