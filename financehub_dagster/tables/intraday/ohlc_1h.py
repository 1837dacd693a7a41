"""`ohlc_1h`: bars of an hour."""

from financehub_dagster.tables.intraday.longer_bars import longer_bars

TABLE = longer_bars(60, "an hour")
