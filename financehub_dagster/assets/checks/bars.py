"""The checks themselves: what each looks at and what it finds.

Belongs here: one function per check from evidence to a finding. Does not belong here: Dagster's definitions of checks.
A blocking check stops what is built on the table; the others warn.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from functools import cached_property
from typing import TYPE_CHECKING

from financehub_dagster.assets.snapshot_config import ANSWERS_OF
from financehub_dagster.ingest.run_config import BARS_OF, CRYPTOS, EXCHANGE_TRADED
from financehub_dagster.market.instruments import Instrument

if TYPE_CHECKING:
    import pandas as pd

    from financehub_dagster.storage.database.engine import Connection
    from financehub_dagster.storage.queries.bars import BarArrays

# Tables to which a run adds at most one row per instrument, and whose stored rows never change.
PRICED = frozenset({"quotes", "crypto_markets"})

# What a row is named by, where it has them.
KEYS = ("symbol", "date", "quoted_at", "url")

# Rows a check result shows; the count next to them is always complete.
SHOWN = 50
RUNS_SHOWN = 5
# Tables that the step of another one fills: failed work bears its name.
FILLED_BY = {"corporate_actions": "stock_prices_daily"}


@dataclass(frozen=True)
class Finding:
    """What a check found: how much it examined, how many rows offend, the first of them, and one line that says so.

    counts are further numbers by name, runs the ids of runs it speaks of.
    """

    examined: int
    offending: int
    message: str
    rows: Sequence[Mapping[str, object]] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    runs: Sequence[str] = ()


@dataclass
class Evidence:
    """One table as its checks see it, read once and only when needed; `start` to `end` is the run's window, if any."""

    connection: "Connection"
    table: str
    start: date | None
    end: date | None
    now: datetime

    @cached_property
    def window(self) -> "pd.DataFrame":
        """All columns of the rows in the window, or of all rows; of prices told one by one the newest of each."""
        from financehub_dagster.storage.queries import checks

        if self.table in PRICED:
            return checks.newest_rows(self.connection, self.table)
        return checks.read_frame(self.connection, self.table, self.start, self.end)

    @cached_property
    def followed(self) -> "pd.DataFrame":
        """symbol, date and close of the rows in the window, and of each symbol's last row before it."""
        import pandas as pd

        from financehub_dagster.storage.queries import checks

        rows = self.window[["symbol", "date", "close"]].astype({"date": "datetime64[s]"})
        if self.start is None or not len(rows):
            return rows
        before = checks.last_closes_before(self.connection, self.table, rows["symbol"].unique().tolist(), self.start)
        return pd.concat([before.astype({"date": "datetime64[s]"}), rows], ignore_index=True) if len(before) else rows

    @cached_property
    def bars(self) -> "BarArrays":
        """Every bar of a table of bars."""
        from financehub_dagster.storage.queries.bars import read_bars

        return read_bars(self.connection, self.table)

    @cached_property
    def instruments(self) -> list[Instrument]:
        """The active instruments this table is about, or that have bars at all."""
        from financehub_dagster.storage.queries.instruments import list_instruments

        kinds = {**BARS_OF, **ANSWERS_OF}.get(self.table, (*EXCHANGE_TRADED, *CRYPTOS))
        return list_instruments(self.connection, asset_types=kinds)


@dataclass(frozen=True)
class Check:
    """A check: its name in the webserver, what it promises, and how it examines a table."""

    name: str
    description: str
    examine: Callable[[Evidence], Finding] = field(repr=False)
    blocking: bool = False


def finding(examined: int, offending: int, what: str, rows: Sequence[Mapping[str, object]]) -> Finding:
    """What was found, in one line; `rows` are the offending ones, or the first of them."""
    first = "" if not rows else "; first: " + " ".join(str(value) for value in rows[0].values())
    message = f"{offending:,} of {examined:,} {what}{first}" if offending else f"{examined:,} examined, none amiss"
    return Finding(examined, offending, message, rows[:SHOWN])


def _schema(evidence: Evidence) -> Finding:
    import pandera.errors

    from financehub_dagster.market.schemas import schema_of

    frame = evidence.window
    try:
        schema_of(evidence.table).validate(frame, lazy=True)
    except pandera.errors.SchemaErrors as error:
        cases = error.failure_cases
        rows = [
            {
                **({} if index is None else _key_of(frame, index)),
                "column": column,
                "check": check,
                "value": case,
            }
            for column, check, case, index in cases[["column", "check", "failure_case", "index"]]
            .head(SHOWN)
            .itertuples(index=False)
        ]
        return finding(len(frame), len(cases), "values break the schema", rows)
    return finding(len(frame), 0, "", [])


def _key_of(frame: "pd.DataFrame", index: int) -> dict[str, object]:
    return {name: frame.at[index, name] for name in KEYS if name in frame}


def _bar_sanity(evidence: Evidence) -> Finding:
    from financehub_dagster.market.quality import bar_rules

    frame = evidence.bars.frame()
    _, rejected = bar_rules.judge(frame)
    rows = [{str(k): v for k, v in row.items()} for row in rejected.head(SHOWN).to_dict("records")]
    return finding(len(frame), len(rejected), "bars break a quality rule", rows)


def _no_doubtful_bars(evidence: Evidence) -> Finding:
    from financehub_dagster.market.quality import bar_rules

    frame = evidence.window
    _, doubtful = bar_rules.judge(frame, bar_rules.DOUBTS)
    rows = doubtful[["symbol", "date", "rule", "open", "high", "low", "close", "source"]].head(SHOWN)
    shown = [{**row, "date": str(row["date"])[:10]} for row in rows.to_dict("records")]
    return finding(len(frame), len(doubtful), "bars are in doubt", [{str(k): v for k, v in r.items()} for r in shown])


def _no_duplicates(evidence: Evidence) -> Finding:
    from financehub_dagster.storage.queries import checks, history

    rows = checks.duplicates(evidence.connection, evidence.table)
    total = history.row_count(evidence.connection, evidence.table)
    return finding(total, len(rows), "keys stand more than once", rows)


def _no_missing_sessions(evidence: Evidence) -> Finding:
    from financehub_dagster.market import calendars

    stored = evidence.bars
    dates = {
        symbol: stored.date[stored.offsets[number] : stored.offsets[number + 1]]
        for number, symbol in enumerate(stored.symbols)
    }
    expected, missing = 0, []
    for instrument in evidence.instruments:
        own = dates.get(instrument.symbol)
        if own is None:
            continue
        sessions = calendars.known(instrument, own[0].item(), own[-1].item()).dates
        expected += len(sessions)
        missing += [{"symbol": instrument.symbol, "date": str(day)} for day in calendars.without(sessions, own)]
    return finding(expected, len(missing), "sessions between the first and the last stored bar are missing", missing)


def _no_missing_rows(evidence: Evidence) -> Finding:
    from financehub_dagster.storage.queries import checks, history

    total, count, rows = 0, 0, []
    for table in BARS_OF:
        total += history.row_count(evidence.connection, table)
        lacking, first = checks.bars_without_indicators(evidence.connection, table, SHOWN)
        count += lacking
        rows += [{"symbol": symbol, "date": day} for symbol, day in first]
    return finding(total, count, "bars have no indicator row", rows)


def _freshness(evidence: Evidence) -> Finding:
    from financehub_dagster.market import calendars
    from financehub_dagster.storage.queries import history

    spans = history.stored_spans(evidence.connection, evidence.table, [i.symbol for i in evidence.instruments])
    late = []
    for instrument in evidence.instruments:
        due = calendars.last_finished_session(instrument, evidence.now)
        newest = spans[instrument.symbol][1] if instrument.symbol in spans else None
        if due is not None and (newest is None or newest < due):
            late.append({"symbol": instrument.symbol, "newest": newest, "due": due})
    return finding(len(evidence.instruments), len(late), "active instruments lack their last finished session", late)


def _sessions_known(evidence: Evidence) -> Finding:
    from financehub_dagster.market import calendars

    found = calendars.problems(evidence.instruments, evidence.now)
    rows = [{"symbols": ", ".join(each.symbols[:SHOWN]), "reason": each.message} for each in found]
    affected = sum(max(len(each.symbols), 1) for each in found)
    return finding(len(evidence.instruments), affected, "instruments have a calendar that ends or fails", rows)


def _no_open_failures(evidence: Evidence) -> Finding:
    from financehub_dagster.storage.dead_letters import dead_letters

    rows = dead_letters.live_failures(evidence.connection, FILLED_BY.get(evidence.table, evidence.table))
    parked = sum(row["status"] == "parked" for row in rows)
    found = finding(
        len(evidence.instruments), len(rows), f"pieces of work wait as dead letters, {parked} of them parked", rows
    )
    runs = dict.fromkeys(str(row["run_id"]) for row in rows if row["run_id"])
    return replace(found, counts={"parked": parked}, runs=list(runs)[:RUNS_SHOWN])


def _no_deferred_work(evidence: Evidence) -> Finding:
    from financehub_dagster.storage.dead_letters import deferred_work

    waiting = deferred_work.live_deferrals(evidence.connection, evidence.table)
    shown = ("symbol", "partition_key", "provider", "until", "reason")
    rows = [{name: row[name] for name in shown} for row in waiting]
    return finding(len(evidence.instruments), len(rows), "pieces of work wait until a vendor may be asked", rows)


SCHEMA = Check(
    "schema",
    "Columns, types and ranges of the rows this run covered are those declared (pandera).",
    _schema,
    blocking=True,
)
BAR_SANITY = Check(
    "bar_sanity",
    "low ≤ open, close ≤ high; prices positive and finite; volume not negative.",
    _bar_sanity,
    blocking=True,
)
NO_DOUBTFUL_BARS = Check(
    "no_doubtful_bars",
    "No bar of this run was stored although open or close lies outside of low to high, because no vendor has a better.",
    _no_doubtful_bars,
)
NO_DUPLICATES = Check("no_duplicates", "No two rows under the same key.", _no_duplicates, blocking=True)
NO_MISSING_SESSIONS = Check(
    "no_missing_sessions",
    "Every session of the instrument's exchange between its first and last stored bar is stored.",
    _no_missing_sessions,
)
NO_MISSING_ROWS = Check("no_missing_rows", "Every stored bar has its row of indicators.", _no_missing_rows)
FRESHNESS = Check("freshness", "Every active instrument has its last finished session.", _freshness)
SESSIONS_KNOWN = Check(
    "sessions_known",
    "The sessions of every active instrument are known, and will be in 60 days: else nothing of it counts as missing.",
    _sessions_known,
)
NO_OPEN_FAILURES = Check("no_open_failures", "No work on this table failed and still waits.", _no_open_failures)
NO_DEFERRED_WORK = Check(
    "no_deferred_work", "No work on this table waits until a vendor may be asked again.", _no_deferred_work
)
