"""`indicators_1h`: technical indicators of every instrument with hourly bars."""

from datetime import timedelta

from financehub_dagster.market.indicators.columns import INDICATORS_1H
from financehub_dagster.tables import defaults
from financehub_dagster.tables.columns import COMPUTED_AT, OPENS_AT, SYMBOL
from financehub_dagster.tables.daily.indicators_daily import indicator
from financehub_dagster.tables.declaration import Derived, Job, Table

TABLE = Table(
    name="indicators_1h",
    comment="Technical indicators over all stored hours; warm-up rows are NULL.",
    columns=(SYMBOL, OPENS_AT, *(indicator(column) for column in INDICATORS_1H), COMPUTED_AT),
    grain="bar",
    bar_minutes=60,
    filled=Derived(
        inputs=("ohlc_1h",), function="financehub_dagster.market.indicators.rows:compute_hours", sessions=True
    ),
    group="indicators",
    source=("talib",),
    details="One row per stored hour: the columns of `indicators_daily`, and `vwap` since the session's first bar. Each"
    " value is computed over all stored hours of the instrument, whatever range was requested; after an hour changed,"
    " every later value is recomputed.",
    partitions="day",
    checks=(*defaults.CHECKS, "no_missing_rows"),
    keep_revisions=True,
    range_partitioned=True,
    freshness=defaults.DAILY_FRESHNESS,
    lateness=defaults.late_after(timedelta(hours=3)),
    runtime=timedelta(minutes=30),
    jobs=(
        Job(
            "calculate_hourly_indicators",
            "Technical indicators of the hours of every active instrument.",
            cron="8 * * * *",
            why="Every hour, when the hour's last minutes have come, and once a day in any case.",
            days_back=1,
            only_changed=True,
        ),
    ),
)
