"""The declared tables about the quality of rows: what was refused, compared and repaired.

Belongs here: their columns, keys and meaning, for `schema`. Does not belong here: queries.
"""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import DATEMULTIRANGE, JSONB

from financehub_dagster.market.bar_arrays import DAILY_VALUES

Double = sa.Double
Instant = sa.DateTime(timezone=True)


def rejected_rows(metadata: sa.MetaData) -> sa.Table:
    """Rows that no table accepts."""
    return sa.Table(
        "rejected_rows",
        metadata,
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("table_name", sa.Text, nullable=False),
        sa.Column("symbol", sa.Text, nullable=False),
        sa.Column("date", sa.Date, nullable=False),
        sa.Column("rule", sa.Text, nullable=False, comment="the quality rule it broke"),
        sa.Column("row", JSONB, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("rejected_at", Instant, nullable=False, server_default=sa.func.now()),
        sa.Column("run_id", sa.Text),
        sa.UniqueConstraint("table_name", "symbol", "date", "rule", "source", name="rejected_rows_once_key"),
        comment="Rows a vendor sent that no table accepts; one row per rule and source, however often it is sent.",
    )


def discrepancies(metadata: sa.MetaData) -> sa.Table:
    """Values that two vendors have differently."""
    return sa.Table(
        "discrepancies",
        metadata,
        sa.Column("table_name", sa.Text, primary_key=True),
        sa.Column("symbol", sa.Text, primary_key=True),
        sa.Column("date", sa.Date, primary_key=True),
        sa.Column("column_name", sa.Text, primary_key=True),
        sa.Column("vendor", sa.Text, primary_key=True, comment="the provider that was compared with"),
        sa.Column("kind", sa.Text, nullable=False, comment="value; basis or unit: of all closes, the newest is named"),
        sa.Column("source", sa.Text, nullable=False, comment="the provider of the stored value"),
        sa.Column("stored", Double, nullable=False),
        sa.Column("told", Double, nullable=False, comment="the value of the provider that was compared with"),
        sa.Column("off", sa.Text, comment="the provider that two others disagree with; NULL: not known"),
        sa.Column("compared_at", Instant, nullable=False, server_default=sa.func.now()),
        sa.Column("run_id", sa.Text),
        comment="Values that another vendor has otherwise than they are stored, as last compared.",
    )


def measured_bars(metadata: sa.MetaData) -> sa.Table:
    """What was compared of each vendor's bars, and what was wrong."""
    return sa.Table(
        "measured_bars",
        metadata,
        sa.Column("table_name", sa.Text, primary_key=True),
        sa.Column("symbol", sa.Text, primary_key=True),
        sa.Column("vendor", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, primary_key=True, comment="compared: all of them; else a kind of error"),
        sa.Column(
            "decided",
            sa.Boolean,
            primary_key=True,
            comment="false: two vendors differ, and no third one tells who is off",
        ),
        sa.Column("sessions", DATEMULTIRANGE, nullable=False),
        sa.Column("bars", sa.Integer, nullable=False, comment="the number of sessions"),
        sa.Column("example", JSONB, comment="date, column, told, other and against (whom) of the newest of them"),
        sa.Column("compared_at", Instant, nullable=False, server_default=sa.func.now(), comment="when it was last"),
        sa.Column("run_id", sa.Text),
        comment="Sessions of which a vendor's bars were compared, and those with an error of each kind.",
    )


def repaired_bars(metadata: sa.MetaData) -> sa.Table:
    """Bars as they are after repairs."""
    return sa.Table(
        "repaired_bars",
        metadata,
        sa.Column("table_name", sa.Text, primary_key=True),
        sa.Column("symbol", sa.Text, primary_key=True),
        sa.Column("date", sa.Date, primary_key=True),
        *(sa.Column(name, Double, nullable=name == "adj_close") for name in DAILY_VALUES),
        comment="Daily bars with the repairs that have one right answer, where a bar has one or is moved by one.",
    )
