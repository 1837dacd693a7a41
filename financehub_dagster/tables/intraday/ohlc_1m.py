"""`ohlc_1m`: bars of a minute."""

from datetime import timedelta

from financehub_dagster.tables import defaults
from financehub_dagster.tables.columns import INTRADAY_BARS
from financehub_dagster.tables.declaration import Intraday, Table

TABLE = Table(
    name="ohlc_1m",
    comment="OHLCV bars of one minute, within trading hours.",
    columns=INTRADAY_BARS,
    grain="bar",
    bar_minutes=1,
    filled=Intraday(),
    group="intraday",
    details="One row per instrument and minute in which it traded, under the minute's opening instant in UTC. Minutes"
    " are fetched from the last complete one on; a minute is stored once it is over. Minutes that a vendor changes"
    " afterwards are replaced, and the replaced rows kept in `price_revisions`. Months are PostgreSQL partitions.",
    partitions="day",
    rules="bar",
    checks=defaults.INTRADAY_CHECKS,
    ledger=True,
    keep_revisions=True,
    time_index="btree",
    range_partitioned=True,
    # Where credits are counted, the planner spaces the pulls of an instrument by a quarter of an hour and more.
    lateness=defaults.late_after(timedelta(minutes=40)),
    runtime=timedelta(minutes=10),
)
