"""What a reader asks for, as people write it, turned into a selection of a declared table.

Belongs here: tables, columns, symbols, days and times in words, and refusing what cannot be meant or told any more.
Does not belong here: reading (`read`, `export`), how long revisions are kept (`operations.retention`; SQL refuses by
itself, `storage.database.as_of_functions`), and which symbols were given up (storage).
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from financehub_dagster.market.price_bases import BASES, PRICES, Basis
from financehub_dagster.serving.errors import ReadError, require_text, unknown
from financehub_dagster.storage import vintages
from financehub_dagster.storage.database import schema
from financehub_dagster.storage.database.engine import transaction
from financehub_dagster.storage.queries import arrow, days, given_up
from financehub_dagster.tables import ACTIONS

if TYPE_CHECKING:
    import numpy as np
    import sqlalchemy as sa


EARLIEST, LATEST = date(1, 1, 2), date(9999, 12, 30)
"""Days beyond are read as these, which have no rows either: their neighbours, and what they are in another time zone,
may be no dates any more."""


@dataclass(frozen=True)
class TableQuery:
    """A question to one table.

    columns: the wanted ones in order; selection: those and what has to be read besides; basis: of the prices.
    """

    columns: tuple[str, ...]
    selection: arrow.Selection
    basis: Basis

    @property
    def table(self) -> str:
        """The table's name."""
        return str(self.selection.table.name)


def ask(
    table: str,
    *,
    symbols: str | Sequence[str] | None = None,
    start: "date | str | np.datetime64 | None" = None,
    end: "date | str | np.datetime64 | None" = None,
    columns: str | Sequence[str] | None = None,
    as_of: "datetime | str | np.datetime64 | None" = None,
    adjust: str = "split",
    repaired: bool = False,
) -> TableQuery:
    """The question in the product's terms; raises ReadError for a table, column, time or basis that there is not."""
    declared = _table(table)
    if repaired and "flags" not in declared.c:
        raise ReadError(f"{table} has no flags: repaired works for tables of daily bars")
    wanted = _columns(declared, columns)
    basis = _basis(declared, adjust)
    first, last = _time("start", start), _time("end", end)
    if (first is not None or last is not None) and days.time_column(declared) is None:
        raise ReadError(f"the rows of {table} have no date: leave start and end out")
    if first is not None and last is not None and _instant(first) >= _instant(last) + _length(last):
        raise ReadError(f"start {start} is after end {end}: exchange them")
    named = split_names(symbols)
    if named is not None and "symbol" not in declared.c:
        raise ReadError(f"the rows of {table} have no symbol: leave symbols out")
    at = None if as_of is None else known_at(as_of)
    if at is not None and not arrow.has_history(declared):
        with_history = sorted(each.name for each in schema.metadata.sorted_tables if arrow.has_history(each))
        raise ReadError(f"{table} keeps no earlier values: as_of works for {', '.join(with_history)}")
    read = tuple(dict.fromkeys([*wanted, *_needed(declared, basis, wanted)]))
    symbols_asked = None if named is None else [name.upper() for name in named]
    selection = arrow.Selection(declared, read, symbols_asked, first, last, at, repaired=repaired)
    return TableQuery(wanted, selection, basis)


def require_known(reader: arrow.Reader, symbols: Sequence[str]) -> None:
    """Raise ReadError for the first of `symbols` that no instrument has."""
    known = reader.known_symbols()
    for symbol in symbols:
        if symbol not in known:
            raise unknown("symbol", symbol, known, "`financehub instruments list --all` shows what there is")


def require_kept(reader: arrow.Reader, question: TableQuery) -> None:
    """Raise ReadError for a question as of a time that lies before the oldest revision that is kept."""
    at = question.selection.as_of
    if at is None:
        return
    needs_actions = question.selection.repaired or question.basis == "raw"
    tables = [question.table, ACTIONS] if needs_actions else [question.table]
    for name, since in reader.revisions_kept(tables).items():
        if at < since:
            told = f"{since.astimezone(UTC):%Y-%m-%dT%H:%M:%S}Z"
            raise ReadError(
                f"{name} is known as of {told} and later: older revisions were deleted "
                "(FINANCEHUB_KEEP_REVISIONS_DAYS); choose a later as_of"
            )


class RenamedSymbol(UserWarning):
    """A symbol that was asked for is another one now; the rows are under the present one."""


def warn(text: str) -> None:
    """Tell a program in Python that a symbol is another one now."""
    warnings.warn(text, RenamedSymbol, stacklevel=2)


def with_present_symbols(
    reader: arrow.Reader, question: TableQuery, lacking: Sequence[str], tell: Callable[[str], None] = warn
) -> TableQuery:
    """The question with those of `lacking` that were given up replaced; `tell` is told of each."""
    asked = question.selection.symbols
    known = [each for each in reader.given_up() if each.old in lacking]
    told: list[str] = []
    symbols = given_up.present(known, asked or (), told.append)
    if not told:
        return question
    for each in told:
        tell(each)
    return replace(question, selection=replace(question.selection, symbols=symbols))


def split_names(texts: str | Sequence[str] | None) -> list[str] | None:
    """Names from one text with commas, or from several, each once; None for None. Raises ReadError if none is left."""
    if texts is None:
        return None
    parts = [part.strip() for text in ([texts] if isinstance(texts, str) else texts) for part in str(text).split(",")]
    names = list(dict.fromkeys(part for part in parts if part))
    if not names:
        raise ReadError("an empty list of names: leave it out to read all")
    for name in names:
        require_text(name)
    return names


def _table(name: str) -> "sa.Table":
    if name not in schema.metadata.tables:
        raise unknown("table", name, sorted(schema.metadata.tables), "docs/database.md lists all")
    return schema.metadata.tables[name]


def _columns(table: "sa.Table", columns: str | Sequence[str] | None) -> tuple[str, ...]:
    """The wanted columns, the key always among them; all of them unless some are named."""
    names = split_names(columns)
    if names is None:
        return tuple(table.c.keys())
    for name in names:
        if name not in table.c:
            raise unknown("column", name, table.c.keys(), f"it has {', '.join(table.c.keys())}", of=table.name)
    return tuple(dict.fromkeys([*table.primary_key.columns.keys(), *names]))


def _basis(table: "sa.Table", adjust: str) -> Basis:
    basis = next((each for each in BASES if each == adjust), None)
    if basis is None:
        raise unknown("adjust", adjust, BASES, "")
    if basis == "adjusted" and "adj_close" not in table.c:
        raise ReadError(f"{table.name} has no adjusted close: adjust='adjusted' works for tables with adj_close")
    if basis == "raw" and table.name != ACTIONS and "close" not in table.c:
        raise ReadError(f"{table.name} has no prices to unadjust: adjust='raw' works for bars and {ACTIONS}")
    return basis


def _needed(table: "sa.Table", basis: Basis, wanted: Sequence[str]) -> list[str]:
    """The columns that a basis is computed from, besides the wanted ones."""
    if basis == "split":
        return []
    key = table.primary_key.columns.keys()
    if basis == "adjusted" and not set(PRICES).isdisjoint(wanted):
        return [*key, "close", "adj_close"]
    return list(key)


def _time(name: str, text: "date | str | np.datetime64 | None") -> date | None:
    """A day, or an aware instant where a time of day is given; without a zone it is UTC."""
    if text is None:
        return None
    found: Any = text
    try:
        if isinstance(found, str):
            found = date.fromisoformat(found) if len(found) == 10 else datetime.fromisoformat(found)
        elif getattr(getattr(found, "dtype", None), "kind", "") == "M":  # NumPy's; of nanoseconds it makes a number
            found = found.item() if isinstance(found.item(), date) else found.astype("M8[us]").item()
    except ValueError:
        found = None
    if not isinstance(found, date) or found != found:  # pandas' NaT is a time that equals nothing
        raise ReadError(f"{name} {text}: write a day as 2026-11-01 or a time as 2026-11-01T14:30Z")
    return _bounded(found)


def _bounded(time: date) -> date:
    """A day or the instant in UTC, at least EARLIEST and at most LATEST."""
    if not isinstance(time, datetime):
        return min(max(time, EARLIEST), LATEST)
    try:
        instant = time.replace(tzinfo=time.tzinfo or UTC).astimezone(UTC)
    except OverflowError:
        return _instant(EARLIEST if time.year == 1 else LATEST)
    return min(max(instant, _instant(EARLIEST)), _instant(LATEST))


def known_at(text: "date | str | np.datetime64") -> datetime:
    """The aware time that as_of says: of a day its beginning in UTC, or that of a vintage. Raises ReadError."""
    if isinstance(text, str) and vintages.NAME.fullmatch(text):
        with transaction() as connection:
            found = {each.name: each.as_of for each in vintages.listed(connection)}
        if text not in found:
            raise unknown(
                "vintage",
                text,
                found,
                "`financehub vintages list` shows what there is; or write a day as 2026-11-01 or a time",
            )
        return found[text]
    return _instant(_time("as_of", text) or datetime.now(UTC))


def _length(time: date) -> timedelta:
    """A day lasts until its end, a time does not."""
    return timedelta(microseconds=1) if isinstance(time, datetime) else timedelta(days=1)


def _instant(time: date) -> datetime:
    return time if isinstance(time, datetime) else datetime(time.year, time.month, time.day, tzinfo=UTC)
