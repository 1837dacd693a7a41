"""What checks are made of, and the checks of every table and of bars: what each looks at and what it finds.

Belongs here: one function per check from evidence to a finding. Does not belong here: where evidence comes from
(`evidence`), Dagster's definitions of checks (`steps`). A blocking check stops what is built on the table; the others
warn.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import TYPE_CHECKING, Literal

from financehub_dagster.market.instruments import Instrument
from financehub_dagster.tables import DERIVED, TABLES, period_of
from financehub_dagster.wording import counted

if TYPE_CHECKING:
    import pandas as pd

    from financehub_dagster.storage.database.engine import Connection

# What a row is named by, where it has them.
KEYS = ("symbol", "date", "ts", "quoted_at", "url")

# Rows a check result shows; the count next to them is always complete.
SHOWN = 50
RUNS_SHOWN = 5
EVER = (date(1900, 1, 1), date(2200, 1, 1))


@dataclass(frozen=True)
class Finding:
    """What a check found: how much it examined, how many rows offend, the first of them, and one line that says so.

    counts are further numbers by name, runs the ids of runs it speaks of; what is the end of the line, by which
    findings of one check about different rows are merged.
    """

    examined: int
    offending: int
    message: str
    rows: Sequence[Mapping[str, object]] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    runs: Sequence[str] = ()
    what: str = ""


@dataclass
class Evidence:
    """Some rows of a table, and the instruments to judge; read once and only when needed.

    window: the days that `rows` are of, None: of all days.
    """

    connection: "Connection"
    table: str
    members: Sequence[Instrument]
    now: datetime
    window: tuple[date, date] | None = None

    @property
    @abstractmethod
    def rows(self) -> "pd.DataFrame":
        """All columns of the rows to judge."""

    @property
    @abstractmethod
    def before(self) -> "pd.DataFrame":
        """symbol, date and close of each symbol's last bar before `rows`, where there is one."""

    @property
    @abstractmethod
    def reach(self) -> Mapping[str, tuple[date, date]]:
        """By symbol the first and the last day between which `rows` should hold every session."""

    @property
    def symbols(self) -> list[str]:
        """Those of the members."""
        return [each.symbol for each in self.members]


@dataclass(frozen=True)
class Check:
    """A check: its name in the webserver, what it promises, and how it examines evidence.

    by: what its evidence is divided into where there is much of it. Findings about different rows, or different
    members, add up; a check of the whole looks at all members at once and reads none of the table's rows. audited: the
    nightly audit makes it too, over the whole table.
    """

    name: str
    description: str
    examine: Callable[[Evidence], Finding] = field(repr=False)
    blocking: bool = False
    by: Literal["rows", "members", "whole"] = "whole"
    audited: bool = False


def finding(examined: int, offending: int, what: str, rows: Sequence[Mapping[str, object]]) -> Finding:
    """What was found, in one line; `rows` are the offending ones, or the first of them."""
    found = f"{what}: {offending:,} of {examined:,}{_first(rows)}"
    message = found if offending else f"{examined:,} examined, none amiss"
    return Finding(examined, offending, message, rows[:SHOWN], what=what)


def _first(rows: Sequence[Mapping[str, object]]) -> str:
    return "" if not rows else "; first: " + " ".join(str(value) for value in rows[0].values())


def merge(findings: Sequence[Finding]) -> Finding:
    """The finding about all rows, from those about some of them each."""
    if len(findings) == 1:
        return findings[0]
    rows = [row for each in findings for row in each.rows]
    what = next((each.what for each in findings), "")
    return finding(sum(each.examined for each in findings), sum(each.offending for each in findings), what, rows)


def _schema(evidence: Evidence) -> Finding:
    from financehub_dagster.market.schemas import SchemaErrors, schema_of

    frame = evidence.rows
    try:
        schema_of(evidence.table, TABLES[evidence.table].limits).validate(frame, lazy=True)
    except SchemaErrors as error:
        cases = error.failure_cases
        keys = [name for name in KEYS if name in frame]
        rows = [
            {
                **{name: frame.at[index, name] for name in keys if index is not None},
                "column": column,
                "check": check,
                "value": case,
            }
            for column, check, case, index in cases[["column", "check", "failure_case", "index"]]
            .head(SHOWN)
            .itertuples(index=False)
        ]
        return finding(len(frame), len(cases), "values break the schema", rows)
    return finding(len(frame), 0, "values break the schema", [])


def _bar_sanity(evidence: Evidence) -> Finding:
    from financehub_dagster.market.quality import bar_rules

    frame = evidence.rows
    _, rejected = bar_rules.judge(frame)
    return finding(len(frame), len(rejected), "bars break a quality rule", _bars_shown(rejected))


def _no_doubtful_bars(evidence: Evidence) -> Finding:
    frame = evidence.rows
    if "flags" not in frame:  # bars of minutes are judged by themselves alone
        from financehub_dagster.market.quality import bar_rules

        _, alone = bar_rules.judge(frame, bar_rules.DOUBTS)
        return finding(len(frame), len(alone), "bars are doubtful", _bars_shown(alone))
    doubtful = frame[frame["flags"].str.len() > 0]
    found = finding(
        len(frame),
        len(doubtful),
        "bars are doubtful",
        _bars_shown(doubtful.assign(rule=doubtful["flags"].str.join(" "))),
    )
    counts = doubtful["flags"].explode().value_counts()
    return replace(found, counts={str(rule): int(count) for rule, count in counts.items()})


def _bars_shown(judged: "pd.DataFrame") -> list[dict[str, object]]:
    time = "date" if "date" in judged else "ts"
    shown = judged[["symbol", time, "rule", "open", "high", "low", "close", "volume", "source"]].head(SHOWN)
    rows = ({str(name): value for name, value in row.items()} for row in shown.to_dict("records"))
    return [{**row, time: str(row[time])[: 10 if time == "date" else 16]} for row in rows]


def _no_missing_sessions(evidence: Evidence) -> Finding:
    from financehub_dagster.market import calendars

    days = evidence.rows.assign(date=evidence.rows["date"].to_numpy("datetime64[D]")).groupby("symbol")["date"]
    stored = {symbol: own.to_numpy("datetime64[D]") for symbol, own in days}
    expected, missing = 0, []
    for instrument in evidence.members:
        if instrument.symbol not in evidence.reach:
            continue
        sessions = calendars.known(instrument, *evidence.reach[instrument.symbol]).dates
        expected += len(sessions)
        lacking = calendars.without(sessions, stored.get(instrument.symbol))
        missing += [{"symbol": instrument.symbol, "date": str(day)} for day in lacking]
    return finding(expected, len(missing), "sessions between the first and the last stored bar are missing", missing)


def _no_missing_rows(evidence: Evidence) -> Finding:
    from financehub_dagster.ingest.partitions import start_of
    from financehub_dagster.market.derived import first_period
    from financehub_dagster.storage.queries import checks

    total, count, rows = 0, 0, []
    first, last = evidence.window or EVER
    window = max(first, first_period(period_of(evidence.table), start_of(evidence.table))), last
    for table in DERIVED[evidence.table].inputs:
        symbols = [each.symbol for each in evidence.members if each.asset_type in TABLES[table].instruments]
        found = checks.bars_without_rows(evidence.connection, table, evidence.table, symbols, window, SHOWN)
        total += found.bars
        count += found.lacking
        rows += [{"symbol": symbol, "date": day} for symbol, day in found.first]
    return finding(total, count, "bars have no row", rows)


def _freshness(evidence: Evidence) -> Finding:
    from financehub_dagster.market import calendars
    from financehub_dagster.market.derived import period_start
    from financehub_dagster.storage.queries import history

    newest = history.newest_times(evidence.connection, evidence.table, evidence.symbols)
    late = []
    for instrument in evidence.members:
        due = calendars.last_finished_session(instrument, evidence.now)
        last = newest.get(instrument.symbol)
        if due is not None and (last is None or last < period_start(period_of(evidence.table), due)):
            late.append({"symbol": instrument.symbol, "newest": last or "none", "due": due})
    return finding(len(evidence.members), len(late), "instruments lack their last finished session", late)


def _sessions_known(evidence: Evidence) -> Finding:
    from financehub_dagster.market import calendars

    found = calendars.problems(evidence.members, evidence.now)
    rows = [{"symbols": ", ".join(each.symbols[:SHOWN]), "reason": each.message} for each in found]
    affected = sum(max(len(each.symbols), 1) for each in found)
    return finding(len(evidence.members), affected, "instruments have a calendar that ends or fails", rows)


def _no_open_failures(evidence: Evidence) -> Finding:
    from financehub_dagster.storage.dead_letters import dead_letters

    rows = dead_letters.live_failures(evidence.connection, TABLES[evidence.table].filled_by)
    parked = sum(row["status"] == "parked" for row in rows)
    runs = dict.fromkeys(str(row["run_id"]) for row in rows if row["run_id"])
    told = [{name: row[name] for name in ("symbol", "partition_key", "exception") if row[name]} for row in rows[:1]]
    message = _waiting("in the dead letters", len(rows), told, f", {parked} parked")
    return Finding(len(rows), len(rows), message, rows[:SHOWN], {"parked": parked}, list(runs)[:RUNS_SHOWN])


def _no_deferred_work(evidence: Evidence) -> Finding:
    from financehub_dagster.storage.dead_letters import deferred_work

    shown = ("symbol", "partition_key", "provider", "until", "reason")
    waiting = deferred_work.live_deferrals(evidence.connection, evidence.table)
    rows = [{name: row[name] for name in shown} for row in waiting]
    return Finding(len(rows), len(rows), _waiting("until a vendor may be asked", len(rows), rows), rows[:SHOWN])


def _no_discrepancies(evidence: Evidence) -> Finding:
    from financehub_dagster.storage import discrepancies

    count, newest = discrepancies.open_rows(evidence.connection, evidence.table, evidence.symbols, SHOWN)
    rows = [{**row, "off": row["off"] or "not known"} for row in newest]
    of = counted(len(evidence.symbols), "instrument")
    message = f"values that another vendor has otherwise: {count:,}, of {of}{_first(rows)}"
    return Finding(len(evidence.symbols), count, message if count else f"{of} examined, none amiss", rows)


def _waiting(how: str, count: int, rows: Sequence[Mapping[str, object]], more: str = "") -> str:
    if not count:
        return f"no work waits {how}"
    return f"{counted(count, 'piece of work waits', 'pieces of work wait')} {how}{more}{_first(rows)}"


NO_DISCREPANCIES = Check(
    "no_discrepancies",
    "No value of this run's instruments differed from another vendor's when they were last compared (the job"
    " reconcile_prices, some instruments a day); `off` is the vendor that two others disagree with.",
    _no_discrepancies,
)
SCHEMA = Check(
    "schema",
    "Columns, types and ranges of the rows this run covered are those declared (pandera).",
    _schema,
    blocking=True,
    by="rows",
    audited=True,
)
BAR_SANITY = Check(
    "bar_sanity",
    "low ≤ open, close ≤ high; prices positive and finite; volume not negative.",
    _bar_sanity,
    blocking=True,
    by="rows",
    audited=True,
)
NO_DOUBTFUL_BARS = Check(
    "no_doubtful_bars",
    "No bar of this run was stored with flags: names of quality rules that make it doubtful. Look at those it names;"
    " docs/quality.md explains the rules.",
    _no_doubtful_bars,
    by="rows",
)
NO_MISSING_SESSIONS = Check(
    "no_missing_sessions",
    "Every session of the instrument's exchange between its first and last stored bar is stored, of the days and"
    " instruments this run covered.",
    _no_missing_sessions,
    by="rows",
    audited=True,
)
NO_MISSING_ROWS = Check(
    "no_missing_rows",
    "Every stored bar of the days and instruments this run covered has its row.",
    _no_missing_rows,
    by="members",
    audited=True,
)
FRESHNESS = Check("freshness", "Every instrument of this run has its last finished session.", _freshness)
SESSIONS_KNOWN = Check(
    "sessions_known",
    "The sessions of this run's instruments are known, and will be in 60 days: else none of them counts as missing.",
    _sessions_known,
)
NO_OPEN_FAILURES = Check("no_open_failures", "No work on this table failed and still waits.", _no_open_failures)
NO_DEFERRED_WORK = Check(
    "no_deferred_work", "No work on this table waits until a vendor may be asked again.", _no_deferred_work
)
