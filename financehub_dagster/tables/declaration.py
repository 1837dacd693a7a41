"""What a table is: the words in which each file of this folder declares one.

Belongs here: the shapes of a declaration, as plain data. Does not belong here: any one table, SQL, Dagster. Every
process that loads the code location reads this, so nothing heavy is imported.
"""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from financehub_dagster.market.instruments import AssetType
from financehub_dagster.market.quality.limits import Kind, Limit

type ColumnType = Literal[
    "text",
    "text[]",
    "date",
    "datemultirange",
    "double precision",
    "integer",
    "bigint",
    "timestamp with time zone",
    "boolean",
    "jsonb",
]

_KINDS: dict[ColumnType, Kind] = {
    "text": Kind.TEXT,
    "date": Kind.DAY,
    "timestamp with time zone": Kind.INSTANT,
    "boolean": Kind.FLAG,
    "jsonb": Kind.MAPPING,
    "text[]": Kind.LIST,
}


@dataclass(frozen=True)
class Column:
    """A column: its PostgreSQL type, what it means with its unit, whether it may be NULL, and what its values are.

    default is SQL. A stamp says when a row was made; two rows that differ in nothing else are the same row. A number is
    above `above`, at least `least` and at most `most`; a text matches `pattern`, or is one of `choices`.
    """

    name: str
    type: ColumnType
    comment: str
    nullable: bool = False
    key: bool = False
    default: str | None = None
    stamp: bool = False
    above: float = -math.inf
    least: float = -math.inf
    most: float = math.inf
    pattern: str | None = None
    choices: Collection[str] | Callable[[], Collection[str]] = ()

    @property
    def limit(self) -> Limit:
        """What a value has to be before it is stored, and what the schema check finds stored."""
        kind = _KINDS.get(self.type, Kind.NUMBER)
        return Limit(kind, self.nullable, self.above, self.least, self.most, self.pattern, self.choices)


@dataclass(frozen=True)
class History:
    """Filled with bars over ranges of sessions, by the resource `router`."""

    router: str = "daily_bars"


@dataclass(frozen=True)
class Intraday:
    """Filled with bars within the day, from where each instrument's are complete, by the resource `router`."""

    router: str = "intraday_bars"


@dataclass(frozen=True)
class FilledWith:
    """Filled from the answers that fill another table."""

    table: str


@dataclass(frozen=True)
class Snapshots:
    """Filled with current values from vendors, by the resource `router`.

    batch: instruments per request and write; where each instrument takes a request of its own, a killed run loses at
    most so many answers. keeps: `newest` adds a row when its time is newer than the stored one, `daily` has one row for
    each UTC day of asking, `articles` are owned by the first provider that reports them. priced: a fallback vendor's
    price has to be near the last stored close. look_back: how far back vendors can be asked, None: current values only.
    """

    router: str
    batch: int
    keeps: Literal["newest", "daily", "articles"]
    priced: bool = False
    look_back: timedelta | None = None


@dataclass(frozen=True)
class Derived:
    """Computed from the rows of other tables by `function`, "module:name".

    inputs: the tables of bars it reads, each for its own instruments. after: other tables whose changes count as
    changes of the inputs, for lineage alone. The function takes `market.bar_arrays.BarArrays` and a flag for each bar,
    whether it was a trade, and returns `market.derived.DerivedRows`. sessions: it also takes each instrument's session
    dates, from those of its first bar to some weeks after its last. sparse: a session may have any number of rows, or
    none, and a missing row does not show whether it was computed: a run writes all rows of its window and of every
    stretch with changed inputs, and withdraws those that are no longer computed. follows: a month is computed again, by
    declarative automation, once a run has filled it in an input and not here.
    """

    inputs: tuple[str, ...]
    function: str
    after: tuple[str, ...] = ()
    sessions: bool = False
    sparse: bool = False
    follows: bool = False


@dataclass(frozen=True)
class Maintained:
    """Kept by commands, by the gateway or by the ledger; a module of `assets` of the table's name reports on it.

    after: the tables that its rows follow from, for lineage.
    """

    after: tuple[str, ...] = ()


TIMES = ("date", "ts", "quoted_at", "published_at")
"""Names of the column that places a row in time; a table has one of them, or none."""

type Filling = History | Intraday | FilledWith | Snapshots | Derived | Maintained

type Grain = Literal["session", "week", "next session", "bar", "instant", "day", "none"]
"""What one row of an instrument is about: a session, the week from a Monday, the session after the one it is made of, a
bar within the day, an instant, the day on which it was known, or no time at all."""


@dataclass(frozen=True)
class Freshness:
    """By when a run has to have filled the table: at each tick of the cron line `by`, less than `within` ago.

    The ticks follow those of the schedule that fills the table, on holidays too, so that no closed market makes the
    table late; `lateness` is about its rows.
    """

    by: str
    within: timedelta
    timezone: str = "UTC"


type Due = Literal["sessions", "open markets", "always"]
"""When newer rows are due: after each session's close; all the time that a market is open; at any time of any day."""


@dataclass(frozen=True)
class Lateness:
    """How long after they are due newer rows may be missing before the table is late; kinds: of these only."""

    due: Due
    bound: timedelta
    kinds: tuple[AssetType, ...] = ()


type Queue = Literal["high", "default", "low"]
"""The class of a job's runs in the queue: of two that wait, a higher one starts first (`automation.queues`)."""


@dataclass(frozen=True)
class Job:
    """A job over the table, under a predecessor's name where it had one, and its schedule.

    asset_types, providers: what its runs are limited to. cron is in `timezone`, None: nothing schedules it. days_back:
    how far before the tick its partitions begin. tick_asset_types: the kinds a tick asks about, where those are not the
    job's. while_open: a tick asks only while a market of these kinds is open, or was a moment ago. only_changed: a
    tick asks only where an input has changed since, and once a day in any case. also: tables computed from the same
    inputs that its runs compute too. queue: the class of its runs.
    """

    name: str
    description: str
    asset_types: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    cron: str | None = None
    timezone: str = "UTC"
    why: str = ""
    days_back: int = 0
    tick_asset_types: tuple[str, ...] = ()
    while_open: bool = False
    only_changed: bool = False
    also: tuple[str, ...] = ()
    queue: Queue = "default"


@dataclass(frozen=True)
class Table:
    """A table: everything about it that the platform has to know.

    comment says what it holds in one sentence, details continues it as Markdown in the webserver and in the docs.
    source names what makes its rows, for the webserver; without it, the vendors that are asked first.
    instruments are the kinds it takes. partitions: cut into months or days, None: not at all; current_only: they begin
    with the platform's first day. rules names the quality rules of whole rows (`market.quality.acceptance`), checks
    those of its asset (`assets.checks.steps`).
    bar_minutes: how long a bar within the day is. range_partitioned: PostgreSQL keeps each month of its rows as a
    partition, so that months can be dropped.
    ledger: whether each row is expected, so that a missing one is a gap. keep_revisions: replaced rows go to
    price_revisions. lateness is the bound of its SLA, runtime that of a scheduled run's step.
    time_index: an index on the time alone, for tables that are read across instruments.
    """

    name: str
    comment: str
    columns: tuple[Column, ...]
    grain: Grain
    filled: Filling
    group: str
    details: str
    source: tuple[str, ...] = ()
    instruments: tuple[AssetType, ...] = tuple(AssetType)
    partitions: Literal["month", "day"] | None = None
    current_only: bool = False
    rules: Literal["bar", "quote", "market", "company", "article"] | None = None
    checks: tuple[str, ...] = ()
    ledger: bool = False
    keep_revisions: bool = False
    freshness: Freshness | None = None
    lateness: tuple[Lateness, ...] = ()
    runtime: timedelta | None = None
    jobs: tuple[Job, ...] = ()
    chart: str | None = None
    time_index: Literal["brin", "btree"] | None = None
    bar_minutes: int = 0
    range_partitioned: bool = False

    @property
    def key(self) -> tuple[str, ...]:
        """The names of the key's columns."""
        return tuple(column.name for column in self.columns if column.key)

    @property
    def time(self) -> str | None:
        """The name of the column that places a row in time; None where rows have no time."""
        names = [column.name for column in self.columns]
        return next((name for name in TIMES if name in names), None)

    @property
    def limits(self) -> dict[str, Limit]:
        """What the values of each column are, in the order of the columns."""
        return {column.name: column.limit for column in self.columns}

    @property
    def filled_by(self) -> str:
        """The table whose step fills this one: its own, or that of the answers it comes with."""
        return self.filled.table if isinstance(self.filled, FilledWith) else self.name

    def takes(self, kinds: Sequence[AssetType]) -> bool:
        """Whether it holds rows of any of these kinds of instruments."""
        return any(kind in self.instruments for kind in kinds)
