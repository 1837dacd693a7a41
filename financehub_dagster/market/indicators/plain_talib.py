"""TA-Lib, imported without polars.

It imports polars where there is one, to take its series, which costs each process 0.2 s. Here it is given arrays.
"""

from financehub_dagster.plain_imports import without

with without("polars"):
    import talib

__all__ = ["talib"]
