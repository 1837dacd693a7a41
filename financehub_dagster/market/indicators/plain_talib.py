"""TA-Lib, imported without polars.

It imports polars where there is one, to take its series, which costs each process 0.2 s. Here it is given arrays.
"""

import sys

_hidden = "polars" not in sys.modules
if _hidden:
    sys.modules["polars"] = None  # type: ignore[assignment]  # so Python marks a module that cannot be imported
try:
    import talib
finally:
    if _hidden:
        del sys.modules["polars"]

__all__ = ["talib"]
