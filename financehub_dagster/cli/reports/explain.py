"""How an explanation reads in a terminal.

Belongs here: words and tables for people. Does not belong here: finding out (serving.explain).
"""

from collections.abc import Iterator
from datetime import UTC, datetime

from financehub_dagster.cli.console import Cell, Console
from financehub_dagster.market.former_aliases import OWN
from financehub_dagster.serving.explain import Explanation
from financehub_dagster.wording import counted

SHOWN = 5
"""Inputs and actions that are printed; --json has more."""
_STATES = {
    "before": "before {first}, where the ledger begins for it",
    "after": "not settled yet; the ledger reaches {through}",
    "empty": "confirmed empty",
    "gap": "a gap, and will be requested",
    "dead_lettered": "dead-lettered: `financehub dlq list --symbol {symbol}`",
    "deferred": "deferred until a vendor accepts requests again",
    "settled": "settled as stored",
    None: "not in the ledger",
}


def show(console: Console, found: Explanation) -> None:
    """Print an explanation, the value first."""
    for line in _lines(found):
        console.say(line)
    if found.formula.get("last_inputs"):
        columns = ["date", *found.formula["inputs"]]
        rows = [[_cell(row[name]) for name in columns] for row in found.formula["last_inputs"][-SHOWN:]]
        console.table("the last inputs", columns, rows)


def _lines(found: Explanation) -> Iterator[str]:
    what = f"{found.symbol} {found.date} in {found.table}"
    if found.row is None:
        yield f"{what}: no row is stored"
    elif found.column is not None:
        yield f"{what}: {found.column} is {_number(found.row[found.column])}"
    else:
        values = ", ".join(f"{name} {_number(value)}" for name, value in found.row.items() if _is_value(found, name))
        yield f"{what}: {values}"
    if found.row is not None:
        run = found.stored["run_id"]
        source = f"from {found.stored['source']}, " if found.stored["source"] else ""
        verb = "computed" if found.stored["stamp"] == "computed_at" else "fetched"
        stored_by = f"run {run}" if run else "a run that Dagster no longer keeps"
        yield f"  {source}{verb} {_instant(found.stored['at'])} by {stored_by}"
    if found.repaired:
        values = ", ".join(f"{name} {_number(value)}" for name, value in found.repaired.items())
        yield f"  read with repairs: {values}"
    yield from _identity(found)
    yield from _formula(found)
    yield from _basis(found)
    yield from _others(found)
    yield from _history(found)
    yield from _ledger(found)
    for each in found.computed:
        state = f"computed {_instant(each['computed_at'])}" if each["computed_at"] else "no row"
        stale = ", stale: its bars changed since, and the next run computes it again" if each["stale"] else ""
        known = sum(value is not None for value in each["values"].values())
        yield f"  {each['table']}: {state}, {counted(known, 'value')}{stale}; --column NAME explains one"


def _identity(found: Explanation) -> Iterator[str]:
    for name in found.names:
        if name["provider"] == OWN:
            yield f"  called {name['symbol']} until {name['until']}"
    if found.delisted_on is not None:
        yield f"  delisted on {found.delisted_on}"


def _others(found: Explanation) -> Iterator[str]:
    """What other vendors say."""
    for each in found.discrepancies:
        off = f"; {each['off']} is off, two others agree" if each["off"] else ""
        told = f"{each['vendor']} has {each['column_name']} {_number(each['told'])}"
        stored = f"{each['source']} has {_number(each['stored'])}"
        yield f"  {told} where {stored}, compared {_instant(each['compared_at'])}{off}"


def _formula(found: Explanation) -> Iterator[str]:
    formula = found.formula
    if not formula:
        return
    if "function" in formula:
        given = ", ".join(f"{name}={value}" for name, value in formula["parameters"].items())
        yield f"  {formula['description']} ({formula['unit']}): {formula['engine']} {formula['function']}({given})"
        yield f"  defined by {formula['source']}"
    bars = counted(formula["input_rows"], "bar")
    yield (
        f"  from {', '.join(formula['inputs'])} of {bars} in {formula['inputs_table']}, "
        f"{formula['first_input']} to {formula['last_input']}, newest fetched {_instant(formula['newest_input_at'])}"
    )
    values = [value for name, value in (found.row or {}).items() if _is_value(found, name)]
    if values and found.ledger["session"] is False and not any(value is not None for value in values):
        yield "  the bar is no trade (one price, no volume, no session): its row has no values, and no other counts it"
    if formula["stale"]:
        yield "  stale: an input changed since; the next run of the table computes it again"


def _basis(found: Explanation) -> Iterator[str]:
    if "split" in found.factors:
        factor = _number(found.factors["split"])
        divided = f"later splits divide prices by {factor}; as traded, prices were {factor} times as high"
        yield f"  {'no later split' if factor == '1' else divided}"
    if "dividends" in found.factors:
        yield f"  later payments scale the adjusted close by {_number(found.factors['dividends'])}"
    for action in found.actions[:SHOWN]:
        touched = f"changes {action['applies_to']}" if action["date"] > found.date else "is on this day"
        told = f"{action['kind']} {_number(action['value'])} from {action['source']}"
        yield f"  {action['date']} {told} {touched}"
    if len(found.actions) > SHOWN:
        yield f"  and {counted(len(found.actions) - SHOWN, 'later action')}"


def _history(found: Explanation) -> Iterator[str]:
    for revision in found.revisions:
        changes = ", ".join(
            f"{name} {_number(change['from'])} to {_number(change['to'])}"
            for name, change in revision["changed"].items()
        )
        by = revision["withdrawn_by"]
        what = f"withdrawn by {by}" if by else f"replaced: {changes or 'nothing but the time'}"
        yield f"  {_instant(revision['replaced_at'])} {what} (run {revision['run_id'] or 'unknown'})"
    if not found.revisions and found.row is not None:
        yield "  never replaced since it was stored"
    for refused in found.rejected:
        values = ", ".join(f"{name} {_number(value)}" for name, value in refused["row"].items())
        broken = f"refused from {refused['source']}, breaks {refused['rule']}"
        yield f"  {_instant(refused['rejected_at'])} {broken}: {values}"


def _ledger(found: Explanation) -> Iterator[str]:
    ledger = found.ledger
    session = {True: "a session", False: "no session", None: "not in the known calendar"}[ledger["session"]]
    state = _STATES[ledger["state"]].format(symbol=found.symbol, **ledger)
    if found.delisted_on is not None and found.date > found.delisted_on:
        yield "  after its last day: no session is expected"
    else:
        yield f"  {session} of {ledger['exchange']}; {state}"
    for answer in ledger["empty_responses"]:
        due = answer["next_ask_at"]
        then = "confirmed" if due is None else f"next request {_instant(due)}"
        times = f"{counted(answer['asked'], 'time')}, last {_instant(answer['last_asked_at'])}"
        yield f"  {answer['provider']} had nothing {times}; {then}"


def _is_value(found: Explanation, name: str) -> bool:
    return name not in ("symbol", "date", "source", found.stored.get("stamp"))


def _number(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.10g}"
    return "unknown" if value is None else str(value)


def _cell(value: object) -> Cell:
    return _number(value) if isinstance(value, float) else value  # type: ignore[return-value]


def _instant(at: object) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if isinstance(at, datetime) else "at an unknown time"
