"""`ohlc_5m`: bars of five minutes."""

from financehub_dagster.tables.intraday.longer_bars import longer_bars

TABLE = longer_bars(5, "five minutes")
