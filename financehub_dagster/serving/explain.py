"""Where a stored number comes from: vendor, time, run, revisions, actions, refused rows, and what was computed from it.

Belongs here: putting together what the tables and Dagster's event log know of one row. Does not belong here: SQL, and
how it is printed (`cli.reports.explain`).
"""

import datetime as dt
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from financehub_dagster.market.adjustments import CASH
from financehub_dagster.market.instruments import Instrument
from financehub_dagster.serving.errors import ReadError, require_text, unknown
from financehub_dagster.storage.database import dagster_state, schema
from financehub_dagster.storage.database.engine import transaction
from financehub_dagster.storage.database.errors import NotMigrated
from financehub_dagster.storage.queries import explanations
from financehub_dagster.storage.queries.given_up import present_symbols
from financehub_dagster.storage.queries.instruments import list_instruments
from financehub_dagster.tables import ACTIONS, BARS_OF, DERIVED, TABLES, derived_from, period_of

if TYPE_CHECKING:
    from financehub_dagster.market.indicators.columns import IndicatorColumn
    from financehub_dagster.storage.database.engine import Connection

_ONE_A_DAY = ("symbol", "date")
"""The key of the tables with a row per symbol and date."""
DEFINITION = ("description", "unit", "engine", "function", "parameters", "source")
"""What is told of an indicator's declaration."""
MOST_INPUTS = 60
"""Newest inputs of an indicator that are listed; most look at fewer bars, and all of them are counted."""


@dataclass
class Explanation:
    """What is known of the row of a symbol and a date; `row` is None if there is none.

    stored: source, stamp and run. revisions: earlier values, and what replaced them. actions: those on the date or
    later, whose splits are divided out of its prices and whose payments out of its adjusted close; factors: by how
    much. ledger: state and empty responses of the session. computed: rows computed from it. formula: definition and
    inputs of the column that was asked for, if it is computed. discrepancies: values that other vendors have otherwise.
    repaired: what a reader of repaired bars reads in place of the stored values.
    asked_as: the symbol in the question; names: those that the instrument gave up.
    """

    symbol: str
    date: date
    table: str
    column: str | None
    row: dict[str, Any] | None
    stored: dict[str, Any] = field(default_factory=dict)
    revisions: list[dict[str, Any]] = field(default_factory=list)
    rejected: list[dict[str, Any]] = field(default_factory=list)
    actions: list[dict[str, Any]] = field(default_factory=list)
    factors: dict[str, float] = field(default_factory=dict)
    ledger: dict[str, Any] = field(default_factory=dict)
    computed: list[dict[str, Any]] = field(default_factory=list)
    formula: dict[str, Any] = field(default_factory=dict)
    discrepancies: list[dict[str, Any]] = field(default_factory=list)
    repaired: dict[str, float] = field(default_factory=dict)
    asked_as: str = ""
    names: list[dict[str, Any]] = field(default_factory=list)
    delisted_on: dt.date | None = None


def explain(symbol: str, day: date, *, column: str | None = None, table: str | None = None) -> Explanation:
    """Explain the row of `symbol` on `day` in `table`, or in the table of daily bars or indicators that has `column`.

    Raises ReadError for an unknown symbol, table or column; DatabaseError.
    """
    with transaction() as connection:
        instrument = find_instrument(connection, symbol)
        bars = _bars_of(instrument)
        name = table or _table_of(column, bars, instrument)
        _require_daily(name)
        if column is not None and column not in schema.table(name).c:
            raise unknown("column", column, schema.table(name).c.keys(), "docs/database.md lists all", of=name)
        row = explanations.row_of(connection, name, instrument.symbol, day)
        found = Explanation(instrument.symbol, day, name, column, row)
        found.asked_as = symbol.strip().upper()
        found.names = [each.as_json() for each in instrument.former_aliases]
        found.delisted_on = instrument.delisted_on
        found.discrepancies = explanations.discrepancies_of(connection, name, instrument.symbol, day)
        after = explanations.repaired_bar(connection, name, instrument.symbol, day)
        found.repaired = {} if row is None else {each: value for each, value in after.items() if value != row[each]}
        _explain_row(connection, found)
        found.ledger = _ledger(connection, instrument, found)
        if name in DERIVED:
            found.formula = _formula(connection, found, bars)
        else:
            _explain_basis(connection, found)
            found.computed = [
                _computed(connection, each, instrument.symbol, day)
                for each in derived_from(name)
                if TABLES[each].key == _ONE_A_DAY
            ]
    if row is not None:
        found.stored["run_id"] = _run_of(found)
    return found


def find_instrument(connection: "Connection", symbol: str) -> Instrument:
    """The instrument of a symbol, or of one that it gave up; raises ReadError."""
    require_text(symbol)
    [name] = present_symbols(connection, [symbol.strip().upper()])
    for found in list_instruments(connection, symbols=[name], active=None, all_known=False):
        return found
    known = [each.symbol for each in list_instruments(connection, active=None)]
    raise unknown("symbol", name, known, "`financehub instruments list --all` shows what there is")


def _bars_of(instrument: Instrument) -> str:
    """The table of daily bars of an instrument's kind."""
    for name, kinds in BARS_OF.items():
        if instrument.asset_type in kinds and TABLES[name].grain == "session":
            return name
    raise ReadError(f"no table holds daily bars of {instrument.symbol}, which is of type {instrument.asset_type}")


def _table_of(column: str | None, bars: str, instrument: Instrument) -> str:
    """The table of bars, or the one computed from it, that has the column."""
    tables = [bars, *(name for name in derived_from(bars) if TABLES[name].key == _ONE_A_DAY)]
    if column is None:
        return bars
    for name in tables:
        if column in schema.table(name).c:
            return name
    columns = [name for table in tables for name in schema.table(table).columns.keys()]  # noqa: SIM118 - columns are no mapping
    hint = f"{' and '.join(tables)} have none of that name"
    raise unknown("column", column, columns, hint, of=instrument.symbol)


def _require_daily(name: str) -> None:
    daily = [each for each, table in TABLES.items() if table.key == _ONE_A_DAY]
    if name not in daily:
        raise unknown("table", name, daily, "only tables with a row per symbol and date can be explained")


def _explain_row(connection: "Connection", found: Explanation) -> None:
    """Source, stamp and revisions; each revision with the values that the next one, or the row, has instead."""
    row, name = found.row, found.table
    stamp = next((column.name for column in schema.table(name).columns if column.info.get("stamp")), None)
    if row is not None:
        found.stored = {"source": row.get("source"), "stamp": stamp, "at": row[stamp] if stamp else None}
    found.revisions = explanations.revisions_of(connection, name, found.symbol, found.date)
    new: dict[str, Any] = {} if row is None else dict(row)
    for revision in reversed(found.revisions):
        old = revision.pop("old")
        ignored = {"symbol", "date", stamp}
        changed = old if revision["withdrawn_by"] else {key: old[key] for key in old if old[key] != new.get(key)}
        revision["changed"] = {
            key: {"from": value, "to": None if revision["withdrawn_by"] else new.get(key)}
            for key, value in changed.items()
            if key not in ignored
        }
        revision["known_since"] = old.get(stamp)
        new |= old
    tables = [name, ACTIONS] if name in BARS_OF else [name]
    found.rejected = explanations.rejected_of(connection, tables, found.symbol, found.date)


def _explain_basis(connection: "Connection", found: Explanation) -> None:
    """The actions since, and the factors by which they changed the stored prices."""
    if found.table not in BARS_OF:
        return
    found.actions = explanations.actions_since(connection, found.symbol, found.date)
    split = 1.0
    for action in found.actions:
        later = action["date"] > found.date
        action["applies_to"] = "nothing before its day" if not later else _touched(action["kind"])
        split *= action["value"] if later and action["kind"] == "split" else 1.0
    if found.row is not None:
        found.factors["split"] = split
        if found.row.get("adj_close") is not None and found.row["close"]:
            found.factors["dividends"] = found.row["adj_close"] / found.row["close"]


def _touched(kind: str) -> str:
    return "adj_close" if kind in CASH else "open, high, low, close, adj_close, volume"


def _ledger(connection: "Connection", instrument: Instrument, found: Explanation) -> dict[str, Any]:
    """The ledger's state of the session, whether the day is one, and the empty responses for it.

    Its ranges span days without a session, of which no bar is expected, and no row of a table computed from none.
    """
    from financehub_dagster.market import calendars

    table, day = found.table, found.date
    state = explanations.ledger_of(connection, table, instrument.symbol, day)
    state = state or {"state": None, "first": None, "through": None, "settled_at": None}
    known = calendars.known_to(instrument) >= day
    session = bool(calendars.known(instrument, day, day).dates.size) if known else None
    unexpected = session is False and (table in BARS_OF or found.row is None)
    return {
        "session": session,
        "exchange": instrument.exchange,
        **(state | {"state": None} if unexpected else state),
        "empty_responses": explanations.empty_responses_of(connection, table, instrument.symbol, day),
    }


def _computed(connection: "Connection", name: str, symbol: str, day: date) -> dict[str, Any]:
    """What a computed table has for the day, and whether it waits to be computed again."""
    if period_of(name) == "next session":
        row = explanations.row_made_of(connection, name, symbol, day)
    else:
        row = explanations.row_of(connection, name, symbol, day)
    values = {} if row is None else {key: row[key] for key in row if key not in ("symbol", "date", "computed_at")}
    stale = explanations.stale_since(connection, name, symbol)
    return {
        "table": name,
        "values": values,
        "computed_at": None if row is None else row.get("computed_at"),
        "stale": stale is not None and stale <= day,
    }


def _formula(connection: "Connection", found: Explanation, bars: str) -> dict[str, Any]:
    """The definition of a computed column and the bars it is computed from; of the whole row: its inputs."""
    from financehub_dagster.market.indicators import columns

    stale = explanations.stale_since(connection, found.table, found.symbol)
    told: dict[str, Any] = {"inputs_table": bars, "stale": stale is not None and stale <= found.date}
    if period_of(found.table) == "next session":
        return told | _inputs_of_levels(connection, found, bars)
    declared = {each.name: each for each in columns.INDICATORS}.get(found.column or "")
    inputs = ("open", "high", "low", "close", "volume") if declared is None else declared.inputs
    first, count, newest = explanations.extent_until(connection, bars, found.symbol, found.date)
    size = MOST_INPUTS if declared is None else min(_bars_looked_at(declared), MOST_INPUTS)
    return {
        **({} if declared is None else {name: getattr(declared, name) for name in DEFINITION}),
        **told,
        "inputs": list(inputs),
        "first_input": first,
        "last_input": found.date if count else None,
        "input_rows": count,
        "newest_input_at": newest,
        "last_inputs": explanations.last_values(connection, bars, inputs, found.symbol, found.date, size),
    }


def _inputs_of_levels(connection: "Connection", found: Explanation, bars: str) -> dict[str, Any]:
    """The one bar that the row of a trade date is made of: that of the session before it, which the row names."""
    inputs = ("high", "low", "close")
    before = found.date - timedelta(days=1) if found.row is None else found.row["session"]
    bar = explanations.last_values(connection, bars, inputs, found.symbol, before, 1)
    day = bar[0]["date"] if bar else None
    return {
        "inputs": list(inputs),
        "first_input": day,
        "last_input": day,
        "input_rows": len(bar),
        "newest_input_at": explanations.stamp_of(connection, bars, found.symbol, bar[0]["date"]) if bar else None,
        "last_inputs": bar,
    }


def _bars_looked_at(column: "IndicatorColumn") -> int:
    """The longest period among a column's parameters; at least 2, since averages and sums go on from the bar before."""
    periods = [value for name, value in column.parameters.items() if "period" in name and isinstance(value, int)]
    return max([2, *periods])


def _run_of(found: Explanation) -> str | None:
    """The run that stored the row: the one that replaced the row before it, else the first to report it afterwards."""
    last = found.revisions[-1] if found.revisions else None
    if last is not None and not last["withdrawn_by"] and last["run_id"] is not None:
        return str(last["run_id"])
    at = found.stored["at"]
    if not isinstance(at, datetime):
        return None
    partition = found.date.replace(day=1) if TABLES[found.table].partitions == "month" else found.date
    try:
        return dagster_state.run_that_stored(found.table, partition.isoformat(), at.astimezone(UTC))
    except NotMigrated:  # Dagster's database is made by its first run
        return None
