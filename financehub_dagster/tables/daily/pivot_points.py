"""`pivot_points`: the floor traders' pivots of each trade date."""

from datetime import timedelta

from financehub_dagster.tables import defaults
from financehub_dagster.tables.columns import COMPUTED_AT, PREVIOUS_SESSION, SYMBOL, TRADE_DATE, number
from financehub_dagster.tables.declaration import Derived, Freshness, Job, Table

TABLE = Table(
    name="pivot_points",
    comment="Pivot points of each trade date, from the session before it.",
    columns=(
        SYMBOL,
        TRADE_DATE,
        PREVIOUS_SESSION,
        number("pp", "pivot: (high + low + close) / 3 of the session before"),
        number("r1", "first resistance: 2 pp - low"),
        number("s1", "first support: 2 pp - high"),
        number("r2", "second resistance: pp + high - low"),
        number("s2", "second support: pp - (high - low)"),
        COMPUTED_AT,
    ),
    grain="next session",
    filled=Derived(
        inputs=("stock_prices_daily", "crypto_prices_daily", "fx_prices_daily"),
        function="financehub_dagster.market.levels:pivots_of_bars",
        after=("levels_daily",),
        sessions=True,
        follows=True,
    ),
    group="indicators",
    source=("numpy",),
    details="One row per row of `levels_daily`, computed from the same bars: the formulas are in docs/intraday.md.",
    partitions="month",
    checks=defaults.LEVEL_CHECKS,
    keep_revisions=True,
    freshness=Freshness(by="30 8 * * 2-6", within=timedelta(minutes=35), timezone="Europe/Berlin"),
    runtime=timedelta(minutes=30),
    jobs=(
        Job(
            "calculate_pivots",
            "Pivot points of the next session of every active instrument.",
            cron="55 7 * * 2-6",
            timezone="Europe/Berlin",
            why="Five minutes before 8:00 in Berlin, Tuesday to Saturday: every exchange of the day before has closed.",
            days_back=7,
        ),
    ),
)
