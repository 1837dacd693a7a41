"""The declared tables of the market database; migrations must end at exactly these.

Belongs here: columns, keys and their meaning. Does not belong here: queries. Prices are double precision: every
vendor decimal of up to 15 significant digits comes back as the same digits.
"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, DATEMULTIRANGE, JSONB

from financehub_dagster.storage import quality_tables
from financehub_dagster.storage.database import as_of_functions, repaired_views
from financehub_dagster.tables import ACTIONS, DATA, TABLES
from financehub_dagster.tables.declaration import ColumnType, Table

metadata = sa.MetaData(naming_convention={"pk": "%(table_name)s_pkey", "ix": "%(table_name)s_%(column_0_N_name)s_idx"})

Double = sa.Double
Instant = sa.DateTime(timezone=True)

STAMP = {"stamp": True}
"""Marks a column that says when a row was made; two rows that differ in nothing else are the same row."""


_TYPES: dict[ColumnType, sa.types.TypeEngine[Any]] = {
    "text": sa.Text(),
    "text[]": ARRAY(sa.Text()),
    "date": sa.Date(),
    "datemultirange": DATEMULTIRANGE(),
    "integer": sa.Integer(),
    "double precision": sa.Double(),
    "bigint": sa.BigInteger(),
    "timestamp with time zone": Instant,
    "boolean": sa.Boolean(),
    "jsonb": JSONB(),
}


def _from_declaration(declared: Table, *constraints: sa.CheckConstraint | sa.UniqueConstraint | sa.Index) -> sa.Table:
    columns = (
        sa.Column(
            column.name,
            _TYPES[column.type],
            primary_key=column.key,
            nullable=column.nullable,
            comment=column.comment,
            server_default=None if column.default is None else sa.text(column.default),
            info=STAMP if column.stamp else {},
        )
        for column in declared.columns
    )
    return sa.Table(
        declared.name,
        metadata,
        *columns,
        *constraints,
        *_time_index(declared),
        comment=declared.comment,
        postgresql_partition_by=f"RANGE ({declared.time})" if declared.range_partitioned else None,
    )


def _time_index(declared: Table) -> list[sa.Index]:
    """An index on the time alone, where rows are read across instruments."""
    if declared.time_index is None or declared.time is None:
        return []
    name = f"{declared.name}_{declared.time}_idx"
    if declared.time_index == "btree":
        return [sa.Index(name, declared.time)]
    return [sa.Index(name, declared.time, postgresql_using=declared.time_index)]


_CONSTRAINTS: dict[str, tuple[sa.CheckConstraint | sa.UniqueConstraint | sa.Index, ...]] = {
    "instruments": (
        sa.CheckConstraint("asset_type in ('stock','crypto','etf','index','fx')", name="instruments_asset_type_check"),
        sa.UniqueConstraint("permanent_id", name="instruments_permanent_id_key"),
        sa.Index("instruments_renamed_idx", "symbol", postgresql_where=sa.text("former_aliases <> '{}'::jsonb")),
    ),
}
for _table in DATA.values():
    _from_declaration(_table, *_CONSTRAINTS.get(_table.name, ()))


def table(name: str) -> sa.Table:
    """The declared table of that name; raises KeyError."""
    return metadata.tables[name]


instruments = table("instruments")
actions = table(ACTIONS)
news_articles = table("news_articles")

news_links = sa.Table(
    "news_links",
    metadata,
    sa.Column(
        "url",
        sa.Text,
        sa.ForeignKey(news_articles.c.url, ondelete="CASCADE", name="news_links_url_fkey"),
        primary_key=True,
    ),
    sa.Column("symbol", sa.Text, primary_key=True, comment="an instrument the article is about"),
    sa.Index("news_links_symbol_idx", "symbol"),
    comment="Which instruments an article is about; a link goes with its article.",
)

price_revisions = sa.Table(
    "price_revisions",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("table_name", sa.Text, nullable=False),
    sa.Column("symbol", sa.Text, nullable=False),
    sa.Column("date", sa.Date, nullable=False),
    sa.Column(
        "old",
        JSONB,
        nullable=False,
        comment="the replaced row without symbol and date; of computed tables what changed",
    ),
    sa.Column("replaced_at", Instant, nullable=False, server_default=sa.func.now()),
    sa.Column("run_id", sa.Text),
    sa.Column(
        "withdrawn_by",
        sa.Text,
        comment="the provider, or the input table, that no longer has the row; NULL: it was replaced",
    ),
    sa.Index("price_revisions_row_idx", "table_name", "symbol", "date"),
    sa.Index("price_revisions_replaced_at_idx", "replaced_at", postgresql_using="brin"),
    comment="Every value that was replaced or taken back, so that a table can be read as it was known at a time.",
)

revisions_kept = sa.Table(
    "revisions_kept",
    metadata,
    sa.Column("table_name", sa.Text, primary_key=True),
    sa.Column("since", Instant, nullable=False, comment="the newest revision that was deleted was made then"),
    comment="Since when a table can be read as of a time: revisions from before are deleted after a while.",
)

vintages = sa.Table(
    "vintages",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("as_of", Instant, nullable=False, comment="what was known then"),
    sa.Column("note", sa.Text, nullable=False, server_default="", comment="what it is for"),
    sa.Column("taken_at", Instant, nullable=False, server_default=sa.func.now()),
    comment="Named times as of which tables are read; revisions that one of them needs are kept.",
)

rejected_rows = quality_tables.rejected_rows(metadata)
discrepancies = quality_tables.discrepancies(metadata)
measured_bars = quality_tables.measured_bars(metadata)
repaired_bars = quality_tables.repaired_bars(metadata)

dirty_marks = sa.Table(
    "dirty_marks",
    metadata,
    sa.Column("table_name", sa.Text, primary_key=True, comment="the table that has to be recomputed, or fetched again"),
    sa.Column("symbol", sa.Text, primary_key=True),
    sa.Column("dirty_from", sa.Date, comment="first session whose inputs changed; NULL: recomputed since"),
    sa.Column("version", sa.BigInteger, nullable=False, server_default=sa.text("1"), comment="grows with each mark"),
    comment="Instruments whose derived or adjusted rows are stale from a date on.",
)

task_failures = sa.Table(
    "task_failures",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("task_name", sa.Text, nullable=False),
    sa.Column("partition_key", sa.Text, nullable=False, server_default=""),
    sa.Column("symbol", sa.Text, nullable=False, server_default=""),
    sa.Column("provider", sa.Text),
    sa.Column("kwargs", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
    sa.Column("exception", sa.Text, nullable=False),
    sa.Column("traceback", sa.Text),
    sa.Column("attempts", sa.Integer, nullable=False, server_default=sa.text("1")),
    sa.Column("status", sa.Text, nullable=False, server_default="open"),
    sa.Column("first_failed_at", Instant, nullable=False, server_default=sa.func.now()),
    sa.Column("last_failed_at", Instant, nullable=False, server_default=sa.func.now()),
    sa.Column("next_retry_at", Instant),
    sa.Column("run_id", sa.Text, comment="the run that failed last"),
    sa.Column("replay_run_id", sa.Text, comment="the run that tries again, while retrying"),
    sa.CheckConstraint(
        "status in ('open','retrying','parked','resolved','discarded')", name="task_failures_status_check"
    ),
    sa.Index(
        "task_failures_live_key",
        "task_name",
        "partition_key",
        "symbol",
        unique=True,
        postgresql_where=sa.text("status in ('open','retrying','parked')"),
    ),
    comment="The dead letters: one live row per piece of failed work.",
)

deferred_work = sa.Table(
    "deferred_work",
    metadata,
    sa.Column("task_name", sa.Text, primary_key=True),
    sa.Column("partition_key", sa.Text, primary_key=True),
    sa.Column("symbol", sa.Text, primary_key=True),
    sa.Column("provider", sa.Text, nullable=False, comment="whose budget is spent"),
    sa.Column("until", Instant, nullable=False, comment="when the budget is there again"),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("kwargs", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
    sa.Column("deferred_at", Instant, nullable=False, server_default=sa.func.now()),
    sa.Column("run_id", sa.Text),
    comment="Work put off to the reset of a vendor's budget; a row goes when the work is done.",
)

empty_answers = sa.Table(
    "empty_answers",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("table_name", sa.Text, nullable=False),
    sa.Column("symbol", sa.Text, nullable=False),
    sa.Column("sessions", DATEMULTIRANGE, nullable=False, comment="what the vendor was asked for and had nothing"),
    sa.Column("provider", sa.Text, nullable=False),
    sa.Column("asked", sa.Integer, nullable=False, comment="how often"),
    sa.Column("last_asked_at", Instant, nullable=False),
    sa.Column("next_ask_at", Instant, comment="asked again from then on; NULL: confirmed, there is nothing"),
    sa.Index("empty_answers_symbol_idx", "table_name", "symbol"),
    comment="Sessions that vendors answered without a bar: what `coverage` calls empty once it is confirmed.",
)

coverage = _from_declaration(
    TABLES["coverage"],
    sa.CheckConstraint("first <= through", name="coverage_days_check"),
    sa.CheckConstraint(
        "not (empty && gap or empty && dead_lettered or empty && deferred"
        " or gap && dead_lettered or gap && deferred or dead_lettered && deferred)",
        name="coverage_one_state_check",
    ),
    sa.Index("coverage_gap_idx", "table_name", "symbol", postgresql_where=sa.text("gap <> '{}'::datemultirange")),
)

minute_coverage = sa.Table(
    "minute_coverage",
    metadata,
    sa.Column("symbol", sa.Text, primary_key=True),
    sa.Column("first", Instant, nullable=False, comment="since when minutes are expected"),
    sa.Column("complete_to", Instant, nullable=False, comment="every minute before it is settled"),
    sa.Column("asked_at", Instant, nullable=False, comment="when a vendor answered last"),
    sa.CheckConstraint("first <= complete_to", name="minute_coverage_span_check"),
    comment="The ledger of minutes: each settled minute is stored or had no trade, unless `minute_gaps` has it.",
)

minute_gaps = sa.Table(
    "minute_gaps",
    metadata,
    sa.Column("symbol", sa.Text, primary_key=True),
    sa.Column("start", Instant, primary_key=True, comment="the first minute that is not stored"),
    sa.Column("stop", Instant, nullable=False, comment="the end of the last one"),
    sa.Column("asked", sa.Integer, nullable=False, comment="how often a vendor was asked for them; 0: never"),
    sa.Column("provider", sa.Text, nullable=False, comment="the vendor that was asked last"),
    sa.Column(
        "next_ask_at",
        Instant,
        comment="asked again from then on; NULL: confirmed empty, or not expected if never asked",
    ),
    sa.CheckConstraint("start < stop", name="minute_gaps_span_check"),
    comment="Stretches of minutes that are missing, and those that vendors confirm to have nothing for.",
)

unreported_writes = sa.Table(
    "unreported_writes",
    metadata,
    sa.Column("table_name", sa.Text, primary_key=True),
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("first_date", sa.Date, nullable=False, comment="first session whose row changed"),
    sa.Column("last_date", sa.Date, nullable=False),
    sa.Column("written_at", Instant, nullable=False, server_default=sa.func.now()),
    comment="Committed writes whose run has not yet reported a materialization; a row goes with the report.",
)

rate_limits = sa.Table(
    "rate_limits",
    metadata,
    sa.Column("provider", sa.Text, primary_key=True),
    sa.Column("scope", sa.Text, primary_key=True, comment="ip, or a key's fingerprint"),
    sa.Column("limit_name", sa.Text, primary_key=True, comment="which of the provider's limits"),
    sa.Column("tat", Instant, nullable=False, comment="theoretical arrival time of the next call (GCRA)"),
    comment="One row per limit, moved by one UPDATE on the database's clock, shared by every process.",
)

quotas = sa.Table(
    "quotas",
    metadata,
    sa.Column("provider", sa.Text, primary_key=True),
    sa.Column("scope", sa.Text, primary_key=True, comment="ip, or a key's fingerprint"),
    sa.Column("quota_name", sa.Text, primary_key=True, comment="which of the provider's quotas"),
    sa.Column("amount", sa.BigInteger, nullable=False, comment="units in a window, as configured at the last booking"),
    sa.Column("expires", ARRAY(Instant), nullable=False, comment="when each booking stops to count, in order"),
    sa.Column("units", ARRAY(sa.BigInteger), nullable=False, comment="units of each booking"),
    sa.Column("resets_at", Instant, comment="the reset the vendor named last"),
    comment="Requests or credits used per minute, day or month, on the database's clock, shared by every process.",
)

api_keys = sa.Table(
    "api_keys",
    metadata,
    sa.Column("provider", sa.Text, primary_key=True),
    sa.Column("scope", sa.Text, primary_key=True, comment="the key's fingerprint, never the key"),
    sa.Column("day", sa.Date, comment="the UTC day of its last use"),
    sa.Column("used", sa.BigInteger, nullable=False, server_default=sa.text("0"), comment="weight used on that day"),
    sa.Column("benched_until", Instant, comment="not used before this"),
    sa.Column("cause", sa.Text, comment="the name of the error it is benched for"),
    sa.Column("reason", sa.Text, comment="what the vendor said, redacted"),
    comment="API keys by fingerprint: how much each was used, and which are benched until when.",
)

breakers = sa.Table(
    "breakers",
    metadata,
    sa.Column("provider", sa.Text, primary_key=True),
    sa.Column("capability", sa.Text, primary_key=True),
    sa.Column("failures", sa.Integer, nullable=False, server_default=sa.text("0"), comment="in a row"),
    sa.Column("open_until", Instant, comment="no call before this"),
    sa.Column("probe_until", Instant, comment="one process holds the half-open probe until this"),
    sa.Column("reason", sa.Text),
    comment="Circuit breakers, shared by every process.",
)

api_usage = _from_declaration(TABLES["api_usage"])

holdings = _from_declaration(TABLES["holdings"])
position_sizes = _from_declaration(TABLES["position_sizes"])
notifications = _from_declaration(
    TABLES["notifications"],
    sa.Index(
        "notifications_unsettled_idx",
        "state",
        postgresql_where=sa.text("state in ('waiting','sending','failed')"),
    ),
)

health_checks = sa.Table(
    "health_checks",
    metadata,
    sa.Column("component", sa.Text, primary_key=True, comment="database, daemon, vendor:yahoo, ..."),
    sa.Column("since", Instant, primary_key=True, comment="the first check that found this status"),
    sa.Column("checked_at", Instant, nullable=False, comment="the last check that found this status"),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("detail", sa.Text, nullable=False, comment="what the last check found"),
    sa.Column("seconds", Double, comment="how long the last check took"),
    sa.Column("checks", sa.BigInteger, nullable=False, server_default=sa.text("1"), comment="how many found it"),
    sa.CheckConstraint("status in ('ok','degraded','failed')", name="health_checks_status_check"),
    comment="The health of each component: one row for each time it had one status without a break.",
)

daemons = sa.Table(
    "daemons",
    metadata,
    sa.Column("token", sa.Text, primary_key=True, comment="made anew by each start of a platform"),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("home", sa.Text, nullable=False, comment="FINANCEHUB_HOME there"),
    sa.Column("process", sa.Text, nullable=False, comment="the process that started it, as JSON"),
    sa.Column("claims", sa.Boolean, nullable=False, comment="it is the one that may drive"),
    sa.Column("since", Instant, nullable=False, server_default=sa.text("clock_timestamp()")),
    sa.Column(
        "seen_at",
        Instant,
        nullable=False,
        server_default=sa.text("clock_timestamp()"),
        comment="when it last renewed its claim",
    ),
    sa.Column("beat_at", Instant, comment="when Dagster's daemon there last wrote a heartbeat"),
    sa.Index("daemons_claims_key", "claims", unique=True, postgresql_where=sa.text("claims")),
    comment="Dagster's daemons on this database; the one that claims it drives schedules, sensors and the queue.",
)

sla_breaches = sa.Table(
    "sla_breaches",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("table_name", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False, comment="freshness or runtime"),
    sa.Column("subject", sa.Text, nullable=False, comment="what is late: an exchange, or a run"),
    sa.Column("began_at", Instant, nullable=False, comment="when it was noticed that the bound had passed"),
    sa.Column("ended_at", Instant, comment="NULL: it lasts"),
    sa.Column("checked_at", Instant, nullable=False, server_default=sa.func.now()),
    sa.Column("bound", Double, nullable=False, comment="seconds that were allowed"),
    sa.Column("worst", Double, nullable=False, comment="seconds that it took, or that have passed so far"),
    sa.Column("detail", sa.Text, nullable=False),
    sa.CheckConstraint("kind in ('freshness','runtime')", name="sla_breaches_kind_check"),
    sa.Index(
        "sla_breaches_open_key",
        "table_name",
        "kind",
        "subject",
        unique=True,
        postgresql_where=sa.text("ended_at is null"),
    ),
    comment="Bounds on freshness and runtime that were not kept, each once, from its beginning to its end.",
)

alerts = sa.Table(
    "alerts",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("incident", sa.Text, nullable=False, comment="what is wrong: health/database, freshness/quotes"),
    sa.Column("opened_at", Instant, nullable=False),
    sa.Column("ended_at", Instant, comment="NULL: it lasts"),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("recurrence", sa.Integer, nullable=False, comment="how often it was open before, of late"),
    sa.Column("announced_at", Instant, comment="when its beginning was delivered"),
    sa.Column("end_announced_at", Instant, comment="when its end was delivered"),
    sa.Column("attempts", sa.Integer, nullable=False, server_default=sa.text("0"), comment="deliveries that failed"),
    sa.Column("next_attempt_at", Instant, comment="not delivered before this"),
    sa.Column("error", sa.Text, comment="why the last delivery failed"),
    sa.Index("alerts_open_key", "incident", unique=True, postgresql_where=sa.text("ended_at is null")),
    comment="Incidents that people are told of: one row from beginning to end, and whether both were delivered.",
)

job_statistics = sa.Table(
    "job_statistics",
    metadata,
    sa.Column("job_name", sa.Text, primary_key=True),
    sa.Column("outcome", sa.Text, primary_key=True, comment="success, failure or canceled"),
    sa.Column("runs", sa.BigInteger, nullable=False),
    sa.Column("seconds", Double, nullable=False, comment="runtime of all of them"),
    sa.Column("last_ended_at", Instant, comment="when the last of them ended"),
    sa.Column("last_run_id", sa.Text),
    comment="Finished runs of every job since the beginning, each counted once, whatever Dagster still keeps.",
)

job_statistics_cursor = sa.Table(
    "job_statistics_cursor",
    metadata,
    sa.Column("one", sa.Boolean, primary_key=True, server_default=sa.text("true")),
    sa.Column("next_id", sa.BigInteger, nullable=False, comment="all of Dagster's runs before it are counted"),
    sa.Column("counted", ARRAY(sa.BigInteger), nullable=False, comment="runs from there on that are counted"),
    sa.CheckConstraint("one", name="job_statistics_cursor_one_check"),
    comment="How far Dagster's runs are counted in job_statistics.",
)

table_freshness = sa.Table(
    "table_freshness",
    metadata,
    sa.Column("table_name", sa.Text, primary_key=True),
    sa.Column("subject", sa.Text, primary_key=True, comment="the exchange, or empty for the whole table"),
    sa.Column("newest", Instant, comment="the newest session or time that is stored"),
    sa.Column("due", Instant, comment="when newer rows are due; NULL: none are expected, as on a holiday"),
    sa.Column("bound", Double, nullable=False, comment="seconds that rows may be late"),
    sa.Column("late", Double, nullable=False, comment="seconds since they were due; 0: nothing is late"),
    sa.Column("measured_at", Instant, nullable=False, server_default=sa.func.now()),
    comment="How fresh each table is, for each exchange whose sessions it follows.",
)


@sa.event.listens_for(metadata, "after_create")
def _create_what_reads_them(_: sa.MetaData, connection: sa.Connection, **_options: object) -> None:
    as_of_functions.create(connection, metadata)
    repaired_views.create(connection, metadata)
