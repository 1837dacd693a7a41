"""The ledger keeps one row per table and instrument with ranges of what is not stored; empty answers become ranges too.

The rows of `coverage` follow from the other tables, so they are not converted: the next look at the ledger settles
every instrument anew. What vendors answered is kept, each session with when it was asked for.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, DATEMULTIRANGE

revision: str = "0011"
down_revision: str | None = "0010"
branch_labels: None = None
depends_on: None = None

_INSTANT = sa.DateTime(timezone=True)
_ABOUT_ANSWERS = "Sessions that vendors answered without a bar: what `coverage` calls empty once it is confirmed."
_STATES = {
    "empty": "sessions the vendor confirms to have nothing for",
    "gap": "sessions that are missing and will be asked for",
    "dead_lettered": "sessions whose work failed and waits in task_failures",
    "deferred": "sessions whose work waits in deferred_work",
}
_COLUMNS = "provider, asked, last_asked_at, next_ask_at"


def upgrade() -> None:
    """Make the tables anew, and move the empty answers."""
    op.drop_table("coverage")
    op.create_table(
        "coverage",
        sa.Column("table_name", sa.Text(), nullable=False, comment="the table it is about"),
        sa.Column("symbol", sa.Text(), nullable=False, comment="the instrument"),
        sa.Column("first", sa.Date(), nullable=False, comment="since when sessions are expected"),
        sa.Column("through", sa.Date(), nullable=False, comment="the last session that was settled"),
        sa.Column(
            "calendar_digest",
            sa.BigInteger(),
            nullable=False,
            comment="a checksum of the sessions from first to through",
        ),
        *(
            sa.Column(
                name, DATEMULTIRANGE(), nullable=False, server_default=sa.text("'{}'::datemultirange"), comment=of
            )
            for name, of in _STATES.items()
        ),
        _settled_at(),
        sa.CheckConstraint("first <= through", name="coverage_days_check"),
        sa.CheckConstraint(
            "not (empty && gap or empty && dead_lettered or empty && deferred"
            " or gap && dead_lettered or gap && deferred or dead_lettered && deferred)",
            name="coverage_one_state_check",
        ),
        sa.PrimaryKeyConstraint("table_name", "symbol", name="coverage_pkey"),
        comment="The ledger: of every instrument, which sessions were settled, and which of them are not stored.",
    )
    op.create_index(
        "coverage_gap_idx",
        "coverage",
        ["table_name", "symbol"],
        postgresql_where=sa.text("gap <> '{}'::datemultirange"),
    )
    _empty_answers_as_ranges()


def _settled_at() -> sa.Column[object]:
    return sa.Column(
        "settled_at", _INSTANT, nullable=False, server_default=sa.text("now()"), comment="when it was computed"
    )


def _empty_answers_as_ranges() -> None:
    op.execute("CREATE TEMPORARY TABLE old_answers AS SELECT * FROM empty_answers")
    op.drop_table("empty_answers")
    op.create_table(
        "empty_answers",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("table_name", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column(
            "sessions", DATEMULTIRANGE(), nullable=False, comment="what the vendor was asked for and had nothing"
        ),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("asked", sa.Integer(), nullable=False, comment="how often"),
        sa.Column("last_asked_at", _INSTANT, nullable=False),
        sa.Column("next_ask_at", _INSTANT, comment="asked again from then on; NULL: confirmed, there is nothing"),
        sa.PrimaryKeyConstraint("id", name="empty_answers_pkey"),
        comment=_ABOUT_ANSWERS,
    )
    op.create_index("empty_answers_symbol_idx", "empty_answers", ["table_name", "symbol"])
    op.execute(
        f"INSERT INTO empty_answers (table_name, symbol, sessions, {_COLUMNS})"
        f" SELECT table_name, symbol, range_agg(daterange(date, date + 1)), {_COLUMNS}"
        f" FROM old_answers GROUP BY table_name, symbol, {_COLUMNS}"
    )
    op.drop_table("old_answers")


def downgrade() -> None:
    """Make the tables as they were; the ledger is computed anew, and every day of a range becomes a session."""
    op.execute("CREATE TEMPORARY TABLE new_answers AS SELECT * FROM empty_answers")
    op.drop_table("empty_answers")
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
        comment=_ABOUT_ANSWERS,
    )
    op.execute(
        f"INSERT INTO empty_answers (table_name, symbol, date, {_COLUMNS})"
        f" SELECT table_name, symbol, CAST(day AS date), {_COLUMNS} FROM new_answers, unnest(sessions) AS days,"
        " generate_series(lower(days), upper(days) - 1, interval '1 day') AS day ON CONFLICT DO NOTHING"
    )
    op.drop_table("new_answers")
    op.drop_table("coverage")
    _old_coverage()


def _old_coverage() -> None:
    op.create_table(
        "coverage",
        sa.Column("table_name", sa.Text(), nullable=False, comment="the table it is about"),
        sa.Column("symbol", sa.Text(), nullable=False, comment="the instrument"),
        sa.Column("month", sa.Date(), nullable=False, comment="first day, which is the partition's key"),
        sa.Column("expected", sa.Integer(), nullable=False, comment="finished sessions of the month"),
        sa.Column("stored", sa.Integer(), nullable=False, comment="sessions of these that have their row"),
        *(
            sa.Column(name, ARRAY(sa.Date()), nullable=False, server_default=sa.text("'{}'::date[]"), comment=of)
            for name, of in _STATES.items()
        ),
        _settled_at(),
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
