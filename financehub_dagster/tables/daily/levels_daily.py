"""`levels_daily`: for each trade date, the high, low and close of the session before it."""

from datetime import timedelta

from financehub_dagster.tables import defaults
from financehub_dagster.tables.columns import COMPUTED_AT, PREVIOUS_SESSION, SYMBOL, TRADE_DATE, positive
from financehub_dagster.tables.declaration import Derived, Freshness, Table

TABLE = Table(
    name="levels_daily",
    comment="High, low and close of the session before each trade date.",
    columns=(
        SYMBOL,
        TRADE_DATE,
        PREVIOUS_SESSION,
        positive("high", "of that session, split-adjusted"),
        positive("low", "of that session, split-adjusted"),
        positive("close", "of that session, split-adjusted"),
        COMPUTED_AT,
    ),
    grain="next session",
    filled=Derived(
        inputs=("stock_prices_daily", "crypto_prices_daily", "fx_prices_daily"),
        function="financehub_dagster.market.levels:levels_of_bars",
        sessions=True,
        follows=True,
    ),
    group="indicators",
    source=("numpy",),
    details="One row per instrument and trade date, by the instrument's own calendar: the row of a Monday has Friday's"
    " values. Without a bar of the session just before, a trade date has no row. A run over the running month also"
    " writes the row of the next session, as soon as the one before it has closed.",
    partitions="month",
    checks=defaults.LEVEL_CHECKS,
    keep_revisions=True,
    freshness=Freshness(by="45 22 * * 1-5", within=timedelta(minutes=106), timezone="Europe/Berlin"),
    runtime=timedelta(minutes=30),
)
