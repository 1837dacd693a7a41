"""How often each vendor's bars are wrong, by kind of error, as the nightly comparisons have measured it.

Belongs here: rates, and the tables as Markdown. Does not belong here: measuring (ingest.vendor_errors), and the kinds
(market.quality.vendor_errors).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isclose

from financehub_dagster.storage import measured_bars
from financehub_dagster.storage.database.engine import Connection
from financehub_dagster.storage.measured_bars import COMPARED, Example, Total

PER = 10_000
"""Bars that rates are of."""


@dataclass(frozen=True)
class KindRate:
    """Errors of one kind: the bars that are wrong, how many of PER, and those that may be but are not decided."""

    kind: str
    wrong: int
    rate: float
    undecided: int
    symbol: str | None
    example: Example | None


@dataclass(frozen=True)
class VendorRates:
    """A vendor's bars that were compared, of how many instruments, and its errors by kind."""

    vendor: str
    compared: int
    instruments: int
    kinds: Sequence[KindRate]


def rates(connection: Connection, table: str | None = None) -> list[VendorRates]:
    """The vendors whose bars were compared, in one table (None: in all), by name."""
    by_vendor: dict[str, list[Total]] = {}
    for total in measured_bars.totals(connection, table):
        by_vendor.setdefault(total.vendor, []).append(total)
    return [_of_vendor(vendor, totals) for vendor, totals in by_vendor.items()]


def _of_vendor(vendor: str, totals: Sequence[Total]) -> VendorRates:
    from financehub_dagster.market.quality.vendor_errors import NAMES

    found = {(each.kind, each.decided): each for each in totals}
    compared = found[COMPARED, True]
    kinds = []
    for kind in NAMES:
        both = [found.get((kind, decided)) for decided in (True, False)]
        if any(both):
            kinds.append(_rate(kind, both[0], both[1], compared.bars))
    return VendorRates(vendor, compared.bars, compared.instruments, kinds)


def _rate(kind: str, wrong: Total | None, undecided: Total | None, compared: int) -> KindRate:
    shown = next((each for each in (wrong, undecided) if each is not None and each.example is not None), None)
    bars = 0 if wrong is None else wrong.bars
    return KindRate(
        kind,
        bars,
        round(bars / compared * PER, 2),
        0 if undecided is None else undecided.bars,
        None if shown is None else shown.symbol,
        None if shown is None else shown.example,
    )


_IN_WORDS = {"disordered": "open, high or low", "split": "its split"}
"""What is wrong about a bar of these kinds whose close is that of the other vendor."""


def example_of(rate: KindRate) -> str:
    """The example in one line: the bar, what the vendor has, and what is right or another vendor has."""
    shown = rate.example
    if shown is None:
        return ""
    bar, other = f"{rate.symbol} {shown.date}", f"{shown.against} has {_number(shown.other)}"
    if rate.kind in _IN_WORDS and isclose(shown.told or 0, shown.other or 0, rel_tol=0.005):
        return f"{bar}: {_IN_WORDS[rate.kind]}"
    if rate.kind == "dividend":
        return f"{bar}: its payment"
    if rate.kind == "missing":
        return f"{bar}: no bar; {other}"
    told = f"{bar}: {shown.column} {_number(shown.told)}"
    if shown.other is None or rate.kind == "dividend_day":
        return f"{told}; {shown.against} has none that day"
    return f"{told}; {other}"


def _number(value: float | None) -> str:
    return "not readable" if value is None else f"{value:,.10g}"


def as_markdown(found: Sequence[VendorRates]) -> str:
    """The vendors with what was compared, and their errors by kind, as two Markdown tables."""
    lines = ["| vendor | bars compared | instruments | bars wrong | not decided |", "|---|---|---|---|---|"]
    for each in found:
        wrong, undecided = (sum(getattr(kind, name) for kind in each.kinds) for name in ("wrong", "undecided"))
        lines.append(f"| {each.vendor} | {each.compared:,} | {each.instruments:,} | {wrong:,} | {undecided:,} |")
    columns = ["vendor", "kind", "bars wrong", f"per {PER:,}", "not decided", "newest example"]
    lines += ["", "| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for each in found:
        for kind in each.kinds:
            cells = [each.vendor, f"`{kind.kind}`", f"{kind.wrong:,}", f"{kind.rate:,.2f}", f"{kind.undecided:,}"]
            lines.append("| " + " | ".join([*cells, example_of(kind)]) + " |")
    return "\n".join(lines)


def kinds_as_markdown() -> str:
    """What each kind of error is, as a Markdown table."""
    from financehub_dagster.market.quality.vendor_errors import KINDS

    lines = ["| kind | the bar has | found by the rules |", "|---|---|---|"]
    for kind in KINDS:
        rules = ", ".join(f"`{rule}`" for rule in kind.rules)
        lines.append(f"| `{kind.name}` | {kind.description} | {rules} |")
    return "\n".join(lines)
