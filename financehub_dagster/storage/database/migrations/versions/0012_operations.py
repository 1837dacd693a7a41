"""Tables in which the platform records its own health, SLA breaches, alerts, statistics of jobs and freshness."""

import sqlalchemy as sa
from alembic import op

revision: str = "0012"
down_revision: str | None = "0011"
branch_labels: None = None
depends_on: None = None

_INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the tables, and let a vendor's calls say when the last of them was and what its clock showed."""
    op.add_column("api_usage", sa.Column("last_at", _INSTANT, comment="when the last of these calls ended"))
    comment = "seconds by which the vendor's clock was ahead of this machine's, by the last Date header"
    op.add_column("api_usage", sa.Column("clock_offset", sa.Double(), comment=comment))
    _health_checks()
    _sla_breaches()
    _alerts()
    _statistics()


def _health_checks() -> None:
    op.create_table(
        "health_checks",
        sa.Column("component", sa.Text(), nullable=False, comment="database, daemon, vendor:yahoo, ..."),
        sa.Column("since", _INSTANT, nullable=False, comment="the first check that found this status"),
        sa.Column("checked_at", _INSTANT, nullable=False, comment="the last check that found this status"),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False, comment="what the last check found"),
        sa.Column("seconds", sa.Double(), comment="how long the last check took"),
        sa.Column("checks", sa.BigInteger(), nullable=False, server_default=sa.text("1"), comment="how many found it"),
        sa.PrimaryKeyConstraint("component", "since", name="health_checks_pkey"),
        sa.CheckConstraint("status in ('ok','degraded','failed')", name="health_checks_status_check"),
        comment="The health of each component: one row for each time it had one status without a break.",
    )


def _sla_breaches() -> None:
    op.create_table(
        "sla_breaches",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("table_name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False, comment="freshness or runtime"),
        sa.Column("subject", sa.Text(), nullable=False, comment="what is late: an exchange, or a run"),
        sa.Column("began_at", _INSTANT, nullable=False, comment="when the bound was passed"),
        sa.Column("ended_at", _INSTANT, comment="NULL: it lasts"),
        sa.Column("checked_at", _INSTANT, nullable=False, server_default=sa.text("now()")),
        sa.Column("bound", sa.Double(), nullable=False, comment="seconds that were allowed"),
        sa.Column("worst", sa.Double(), nullable=False, comment="seconds that it took, or that have passed so far"),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="sla_breaches_pkey"),
        sa.CheckConstraint("kind in ('freshness','runtime')", name="sla_breaches_kind_check"),
        comment="Bounds on freshness and runtime that were not kept, each once, from its beginning to its end.",
    )
    op.create_index(
        "sla_breaches_open_key",
        "sla_breaches",
        ["table_name", "kind", "subject"],
        unique=True,
        postgresql_where=sa.text("ended_at is null"),
    )


def _alerts() -> None:
    op.create_table(
        "alerts",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("incident", sa.Text(), nullable=False, comment="what is wrong: health/database, freshness/quotes"),
        sa.Column("opened_at", _INSTANT, nullable=False),
        sa.Column("ended_at", _INSTANT, comment="NULL: it lasts"),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("recurrence", sa.Integer(), nullable=False, comment="how often it was open before, of late"),
        sa.Column("announced_at", _INSTANT, comment="when its beginning was delivered"),
        sa.Column("end_announced_at", _INSTANT, comment="when its end was delivered"),
        sa.Column(
            "attempts", sa.Integer(), nullable=False, server_default=sa.text("0"), comment="deliveries that failed"
        ),
        sa.Column("next_attempt_at", _INSTANT, comment="not delivered before this"),
        sa.Column("error", sa.Text(), comment="why the last delivery failed"),
        sa.PrimaryKeyConstraint("id", name="alerts_pkey"),
        comment="Incidents that people are told of: one row from beginning to end, and whether both were delivered.",
    )
    op.create_index(
        "alerts_open_key", "alerts", ["incident"], unique=True, postgresql_where=sa.text("ended_at is null")
    )


def _statistics() -> None:
    op.create_table(
        "job_statistics",
        sa.Column("job_name", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False, comment="success, failure or canceled"),
        sa.Column("runs", sa.BigInteger(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False, comment="runtime of all of them"),
        sa.Column("last_ended_at", _INSTANT, comment="when the last of them ended"),
        sa.Column("last_run_id", sa.Text()),
        sa.PrimaryKeyConstraint("job_name", "outcome", name="job_statistics_pkey"),
        comment="Finished runs of every job since the beginning, each counted once, whatever Dagster still keeps.",
    )
    op.create_table(
        "job_statistics_cursor",
        sa.Column("one", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("next_id", sa.BigInteger(), nullable=False, comment="all of Dagster's runs before it are counted"),
        sa.Column("counted", sa.ARRAY(sa.BigInteger()), nullable=False, comment="runs from there on that are counted"),
        sa.PrimaryKeyConstraint("one", name="job_statistics_cursor_pkey"),
        sa.CheckConstraint("one", name="job_statistics_cursor_one_check"),
        comment="How far Dagster's runs are counted in job_statistics.",
    )
    op.create_table(
        "table_freshness",
        sa.Column("table_name", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False, comment="the exchange, or empty for the whole table"),
        sa.Column("newest", _INSTANT, comment="the newest session or time that is stored"),
        sa.Column("due", _INSTANT, comment="when newer rows are due; NULL: none are expected, as on a holiday"),
        sa.Column("bound", sa.Double(), nullable=False, comment="seconds that rows may be late"),
        sa.Column("late", sa.Double(), nullable=False, comment="seconds since they were due; 0: nothing is late"),
        sa.Column("measured_at", _INSTANT, nullable=False, server_default=sa.text("now()")),
        sa.PrimaryKeyConstraint("table_name", "subject", name="table_freshness_pkey"),
        comment="How fresh each table is, for each exchange whose sessions it follows.",
    )


def downgrade() -> None:
    """Forget all of it."""
    for name in (
        "table_freshness",
        "job_statistics_cursor",
        "job_statistics",
        "alerts",
        "sla_breaches",
        "health_checks",
    ):
        op.drop_table(name)
    op.drop_column("api_usage", "clock_offset")
    op.drop_column("api_usage", "last_at")
