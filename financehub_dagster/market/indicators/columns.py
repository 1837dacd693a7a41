"""Every indicator column of the platform, declared once: its name, what it means and how it is computed.

Belongs here: plain declarations, importable without numpy, because table definitions, migrations and documents read
them. Does not belong here: any computing; `engine` interprets these declarations.

A column names an engine, one of its functions, the bar arrays handed over in order, the parameters, and which of the
function's outputs it is. Engines: `talib` (TA-Lib's function of that name), `own` (a function of `formulas`, for what
TA-Lib lacks) and `pandas_ta` (pandas-ta's function of that name, loaded only when a column asks for it).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

type Engine = Literal["talib", "own", "pandas_ta"]
type Bar = Literal["open", "high", "low", "close", "volume"]
type Parameter = int | float | bool | str


@dataclass(frozen=True, slots=True)
class IndicatorColumn:
    """One column: `function(*inputs, **parameters)` of `engine`, of which it is output number or name `output`.

    unit is `price` (of the instrument's currency), `percent`, `units` (of volume) or `number`; source names where the
    formula is defined.
    """

    name: str
    description: str
    unit: Literal["price", "percent", "units", "number"]
    engine: Engine
    function: str
    inputs: tuple[Bar, ...]
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    output: int | str = 0
    source: str = "TA-Lib"


_HLC: tuple[Bar, ...] = ("high", "low", "close")
_MACD: Mapping[str, Parameter] = {"fastperiod": 12, "slowperiod": 26, "signalperiod": 9}
_BBANDS: Mapping[str, Parameter] = {"timeperiod": 20, "nbdevup": 2.0, "nbdevdn": 2.0}
_STOCH: Mapping[str, Parameter] = {"fastk_period": 14, "slowk_period": 3, "slowd_period": 3}
_KELTNER: Mapping[str, Parameter] = {"ema_period": 20, "atr_period": 10, "multiplier": 2.0}
_WILDER = "TA-Lib, after J. W. Wilder, New Concepts in Technical Trading Systems (1978)"
_SUPERTREND = "TradingView Pine reference, ta.supertrend"
_KELTNER_SOURCE = "TradingView Pine reference, ta.kc, with TA-Lib's EMA and ATR"


def _average(kind: Literal["SMA", "EMA"], period: int) -> IndicatorColumn:
    word = {"SMA": "Simple", "EMA": "Exponential"}[kind]
    name = f"{kind.lower()}_{period}"
    about = f"{word} moving average of close over {period} bars"
    return IndicatorColumn(name, about, "price", "talib", kind, ("close",), {"timeperiod": period})


INDICATORS: tuple[IndicatorColumn, ...] = (
    _average("SMA", 20),
    _average("SMA", 50),
    _average("SMA", 200),
    _average("EMA", 12),
    _average("EMA", 26),
    IndicatorColumn(
        "rsi_14",
        "Relative strength index, 0 to 100",
        "number",
        "talib",
        "RSI",
        ("close",),
        {"timeperiod": 14},
        0,
        _WILDER,
    ),
    IndicatorColumn("macd", "EMA 12 less EMA 26 of close", "price", "talib", "MACD", ("close",), _MACD, 0),
    IndicatorColumn("macd_signal", "EMA 9 of macd", "price", "talib", "MACD", ("close",), _MACD, 1),
    IndicatorColumn("macd_hist", "macd less macd_signal", "price", "talib", "MACD", ("close",), _MACD, 2),
    IndicatorColumn(
        "bb_upper", "Bollinger band: bb_middle + 2 deviations", "price", "talib", "BBANDS", ("close",), _BBANDS, 0
    ),
    IndicatorColumn(
        "bb_middle", "Bollinger band: mean close of 20 bars", "price", "talib", "BBANDS", ("close",), _BBANDS, 1
    ),
    IndicatorColumn(
        "bb_lower", "Bollinger band: bb_middle - 2 deviations", "price", "talib", "BBANDS", ("close",), _BBANDS, 2
    ),
    IndicatorColumn("atr_14", "Average true range", "price", "talib", "ATR", _HLC, {"timeperiod": 14}, 0, _WILDER),
    IndicatorColumn(
        "adx_14", "Average directional index, 0 to 100", "number", "talib", "ADX", _HLC, {"timeperiod": 14}, 0, _WILDER
    ),
    IndicatorColumn(
        "stoch_k", "Slow stochastic %K, 14 bars smoothed by 3", "percent", "talib", "STOCH", _HLC, _STOCH, 0
    ),
    IndicatorColumn("stoch_d", "Slow stochastic %D, mean of 3 stoch_k", "percent", "talib", "STOCH", _HLC, _STOCH, 1),
    IndicatorColumn("cci_20", "Commodity channel index", "number", "talib", "CCI", _HLC, {"timeperiod": 20}),
    IndicatorColumn(
        "obv", "On-balance volume since the first stored bar", "units", "talib", "OBV", ("close", "volume")
    ),
    IndicatorColumn(
        "mfi_14", "Money flow index, 0 to 100", "number", "talib", "MFI", (*_HLC, "volume"), {"timeperiod": 14}
    ),
    IndicatorColumn("willr_14", "Williams' %R, -100 to 0", "percent", "talib", "WILLR", _HLC, {"timeperiod": 14}),
    IndicatorColumn("roc_10", "Rate of change of close", "percent", "talib", "ROC", ("close",), {"timeperiod": 10}),
    IndicatorColumn(
        "psar",
        "Parabolic stop and reverse, step 0.02 up to 0.2",
        "price",
        "talib",
        "SAR",
        ("high", "low"),
        {"acceleration": 0.02, "maximum": 0.2},
        0,
        _WILDER,
    ),
    IndicatorColumn(
        "supertrend",
        "Supertrend line: the band of mid price ± 3 × ATR 10 that trails the trend",
        "price",
        "own",
        "supertrend",
        _HLC,
        {"atr_period": 10, "multiplier": 3.0},
        0,
        _SUPERTREND,
    ),
    IndicatorColumn(
        "donchian_upper", "Highest high of 20 bars", "price", "talib", "MAX", ("high",), {"timeperiod": 20}
    ),
    IndicatorColumn("donchian_lower", "Lowest low of 20 bars", "price", "talib", "MIN", ("low",), {"timeperiod": 20}),
    IndicatorColumn(
        "keltner_upper", "EMA 20 of close + 2 × ATR 10", "price", "own", "keltner", _HLC, _KELTNER, 0, _KELTNER_SOURCE
    ),
    IndicatorColumn(
        "keltner_lower", "EMA 20 of close - 2 × ATR 10", "price", "own", "keltner", _HLC, _KELTNER, 1, _KELTNER_SOURCE
    ),
)

INDICATOR_COLUMNS: tuple[str, ...] = tuple(column.name for column in INDICATORS)
"""The column names of the indicator tables, in table order."""
