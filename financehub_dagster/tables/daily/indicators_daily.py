"""`indicators_daily`: technical indicators of every instrument with daily bars."""

from datetime import timedelta

from financehub_dagster.market.indicators.columns import INDICATORS, IndicatorColumn
from financehub_dagster.tables import defaults
from financehub_dagster.tables.columns import COMPUTED_AT, SESSION, SYMBOL, number
from financehub_dagster.tables.declaration import Column, Derived, Job, Lateness, Table

ROUNDING = 1e-6
"""How far a running sum may carry a bounded indicator over its bound."""


def indicator(column: IndicatorColumn) -> Column:
    """The column of an indicator: NULL while it warms up."""
    if column.bounds is None:
        return number(column.name, column.description, nullable=True)
    low, high = column.bounds
    return number(column.name, column.description, nullable=True, least=low - ROUNDING, most=high + ROUNDING)


TABLE = Table(
    name="indicators_daily",
    comment="Technical indicators over the full stored history; warm-up rows are NULL.",
    columns=(SYMBOL, SESSION, *(indicator(column) for column in INDICATORS), COMPUTED_AT),
    grain="session",
    filled=Derived(
        inputs=("stock_prices_daily", "crypto_prices_daily"),
        function="financehub_dagster.market.indicators.rows:compute",
        after=("corporate_actions",),
    ),
    group="indicators",
    source=("talib",),
    details="One row per stored daily bar. Each value is computed over the instrument's full stored history, whatever"
    " range was requested; after a bar changed, every later value is recomputed. An instrument with a bar that breaks a"
    " quality rule is left out and named.",
    partitions="month",
    checks=defaults.DERIVED_CHECKS,
    ledger=True,
    keep_revisions=True,
    freshness=defaults.DAILY_FRESHNESS,
    lateness=(Lateness("sessions", timedelta(hours=8)),),
    runtime=timedelta(minutes=30),
    jobs=(
        Job(
            "calculate_indicators",
            "Technical indicators and signals of every active instrument over its full stored history.",
            cron="15 * * * *",
            why="Every hour where bars have changed, and once a day in any case.",
            days_back=7,
            only_changed=True,
            also=("signals",),
        ),
    ),
    chart="indicators",
)
