"""The ledger of sessions, work put off, and what makes a killed run recoverable."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: None = None
depends_on: None = None

_INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the tables, and the column that says who tries a dead letter again."""
    op.alter_column("task_failures", "run_id", comment="the run that failed last")
    op.add_column(
        "task_failures", sa.Column("replay_run_id", sa.Text(), comment="the run that tries again, while retrying")
    )
    _deferred_work()
    _empty_answers()
    _coverage()
    _unreported_writes()


def _deferred_work() -> None:
    op.create_table(
        "deferred_work",
        sa.Column("task_name", sa.Text(), nullable=False),
        sa.Column("partition_key", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False, comment="whose budget is spent"),
        sa.Column("until", _INSTANT, nullable=False, comment="when the budget is there again"),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("kwargs", JSONB(), nullable=False, server_default=sa.text("'{}'::jsonb")),
        sa.Column("deferred_at", _INSTANT, nullable=False, server_default=sa.func.now()),
        sa.Column("run_id", sa.Text()),
        sa.PrimaryKeyConstraint("task_name", "partition_key", "symbol", name="deferred_work_pkey"),
        comment="Work put off to the reset of a vendor's budget; a row goes when the work is done.",
    )


def _empty_answers() -> None:
    op.create_table(
        "empty_answers",
        sa.Column("table_name", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("date", sa.Date(), nullable=False, comment="a session the vendor was asked for and had nothing"),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("asked", sa.Integer(), nullable=False, comment="how often"),
        sa.Column("last_asked_at", _INSTANT, nullable=False),
        sa.Column("next_ask_at", _INSTANT, comment="asked again from then on; NULL: confirmed, there is nothing"),
        sa.PrimaryKeyConstraint("table_name", "symbol", "date", name="empty_answers_pkey"),
        comment="Sessions that vendors answered without a bar: what `coverage` calls empty once it is confirmed.",
    )


def _sessions(name: str, comment: str) -> sa.Column[list[object]]:
    empty = sa.text("'{}'::date[]")
    return sa.Column(name, ARRAY(sa.Date()), nullable=False, server_default=empty, comment=comment)


def _coverage() -> None:
    op.create_table(
        "coverage",
        sa.Column("table_name", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("month", sa.Date(), nullable=False, comment="first day, which is the partition's key"),
        sa.Column("expected", sa.Integer(), nullable=False, comment="finished sessions of the month"),
        sa.Column("stored", sa.Integer(), nullable=False, comment="sessions of these that have their row"),
        _sessions("empty", "sessions the vendor confirms to have nothing for"),
        _sessions("gap", "sessions that are missing and will be asked for"),
        _sessions("dead_lettered", "sessions whose work failed and waits in task_failures"),
        _sessions("deferred", "sessions whose work waits in deferred_work"),
        sa.Column("settled_at", _INSTANT, nullable=False, server_default=sa.func.now()),
        sa.CheckConstraint(
            "expected = stored + cardinality(empty) + cardinality(gap) + cardinality(dead_lettered)"
            " + cardinality(deferred)",
            name="coverage_adds_up_check",
        ),
        sa.PrimaryKeyConstraint("table_name", "symbol", "month", name="coverage_pkey"),
        comment="The ledger: of every instrument and month, what is stored and what became of every other session.",
    )
    op.create_index(
        "coverage_gap_idx", "coverage", ["table_name", "symbol"], postgresql_where=sa.text("gap <> '{}'::date[]")
    )


def _unreported_writes() -> None:
    op.create_table(
        "unreported_writes",
        sa.Column("table_name", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("first_date", sa.Date(), nullable=False, comment="first session whose row changed"),
        sa.Column("last_date", sa.Date(), nullable=False),
        sa.Column("written_at", _INSTANT, nullable=False, server_default=sa.func.now()),
        sa.PrimaryKeyConstraint("table_name", "run_id", name="unreported_writes_pkey"),
        comment="Committed writes whose run has not yet reported a materialization; a row goes with the report.",
    )


def downgrade() -> None:
    """Drop what `upgrade` made."""
    for table in ("unreported_writes", "coverage", "empty_answers", "deferred_work"):
        op.drop_table(table)
    op.drop_column("task_failures", "replay_run_id")
    op.alter_column("task_failures", "run_id", comment=None)
