"""`ohlc_15m`: bars of a quarter of an hour."""

from financehub_dagster.tables.intraday.longer_bars import longer_bars

TABLE = longer_bars(15, "a quarter of an hour")
