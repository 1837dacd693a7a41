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
type Unit = Literal["price", "percent", "units", "number"]
type Undefined = Literal["no_change", "no_range", "no_range_smoothed", "no_range_smoothed_twice", "no_flow"]
type Parameter = int | float | bool | str


@dataclass(frozen=True, slots=True)
class IndicatorColumn:
    """One column: `function(*inputs, **parameters)` of `engine`, of which it is output number or name `output`.

    unit is `price` (of the instrument's currency), `percent`, `units` (of volume) or `number`; source names where the
    formula is defined; bounds are the lowest and highest value it can have, None where it has none. undefined names the
    condition (`formulas.UNDEFINED`) under which the ratio is 0 / 0: such a row has no value, where TA-Lib says 0.
    """

    name: str
    description: str
    unit: Unit
    engine: Engine
    function: str
    inputs: tuple[Bar, ...]
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    output: int | str = 0
    source: str = "TA-Lib"
    bounds: tuple[float, float] | None = None
    undefined: Undefined | None = None


_CLOSE: tuple[Bar, ...] = ("close",)
_HLC: tuple[Bar, ...] = ("high", "low", "close")
_HUNDRED = (0.0, 100.0)
_WILDER = "TA-Lib, after J. W. Wilder, New Concepts in Technical Trading Systems (1978)"
_SUPERTREND = "TradingView Pine reference, ta.supertrend, with TA-Lib's ATR"
_CHANNEL = "TradingView Pine reference, ta.kc, with TA-Lib's EMA and ATR"
_MACD: Mapping[str, Parameter] = {"fastperiod": 12, "slowperiod": 26, "signalperiod": 9}
_BBANDS: Mapping[str, Parameter] = {"timeperiod": 20, "nbdevup": 2.0, "nbdevdn": 2.0}
_STOCH: Mapping[str, Parameter] = {"fastk_period": 14, "slowk_period": 3, "slowd_period": 3}
_SAR: Mapping[str, Parameter] = {"acceleration": 0.02, "maximum": 0.2}
_TREND: Mapping[str, Parameter] = {"atr_period": 10, "multiplier": 3.0}
_KELTNER: Mapping[str, Parameter] = {"ema_period": 20, "atr_period": 10, "multiplier": 2.0}


def _talib(
    name: str,
    description: str,
    unit: Unit,
    function: str,
    inputs: tuple[Bar, ...],
    parameters: int | Mapping[str, Parameter],
    output: int = 0,
    *,
    source: str = "TA-Lib",
    bounds: tuple[float, float] | None = None,
    undefined: Undefined | None = None,
) -> IndicatorColumn:
    """A column of TA-Lib's; a bare number is its time period."""
    given = {"timeperiod": parameters} if isinstance(parameters, int) else parameters
    return IndicatorColumn(name, description, unit, "talib", function, inputs, given, output, source, bounds, undefined)


def _own(
    name: str,
    description: str,
    function: str,
    parameters: Mapping[str, Parameter],
    output: int = 0,
    *,
    source: str,
) -> IndicatorColumn:
    """A column of our own formulas, all of which are prices made from high, low and close."""
    return IndicatorColumn(name, description, "price", "own", function, _HLC, parameters, output, source)


INDICATORS: tuple[IndicatorColumn, ...] = (
    _talib("sma_20", "Simple moving average of close over 20 bars", "price", "SMA", _CLOSE, 20),
    _talib("sma_50", "Simple moving average of close over 50 bars", "price", "SMA", _CLOSE, 50),
    _talib("sma_200", "Simple moving average of close over 200 bars", "price", "SMA", _CLOSE, 200),
    _talib("ema_12", "Exponential moving average of close over 12 bars", "price", "EMA", _CLOSE, 12),
    _talib("ema_26", "Exponential moving average of close over 26 bars", "price", "EMA", _CLOSE, 26),
    _talib(
        "rsi_14",
        "Relative strength index",
        "number",
        "RSI",
        _CLOSE,
        14,
        source=_WILDER,
        bounds=_HUNDRED,
        undefined="no_change",
    ),
    _talib("macd", "EMA 12 less EMA 26 of close", "price", "MACD", _CLOSE, _MACD, 0),
    _talib("macd_signal", "EMA 9 of macd", "price", "MACD", _CLOSE, _MACD, 1),
    _talib("macd_hist", "macd less macd_signal", "price", "MACD", _CLOSE, _MACD, 2),
    _talib("bb_upper", "Bollinger band: bb_middle + 2 standard deviations", "price", "BBANDS", _CLOSE, _BBANDS, 0),
    _talib("bb_middle", "Bollinger band: mean close of 20 bars", "price", "BBANDS", _CLOSE, _BBANDS, 1),
    _talib("bb_lower", "Bollinger band: bb_middle - 2 standard deviations", "price", "BBANDS", _CLOSE, _BBANDS, 2),
    _talib("atr_14", "Average true range", "price", "ATR", _HLC, 14, source=_WILDER, bounds=(0.0, float("inf"))),
    _talib("adx_14", "Average directional index", "number", "ADX", _HLC, 14, source=_WILDER, bounds=_HUNDRED),
    _talib(
        "stoch_k",
        "Slow stochastic %K: 14 bars, smoothed by 3",
        "percent",
        "STOCH",
        _HLC,
        _STOCH,
        0,
        bounds=_HUNDRED,
        undefined="no_range_smoothed",
    ),
    _talib(
        "stoch_d",
        "Slow stochastic %D: mean of 3 stoch_k",
        "percent",
        "STOCH",
        _HLC,
        _STOCH,
        1,
        bounds=_HUNDRED,
        undefined="no_range_smoothed_twice",
    ),
    _talib("cci_20", "Commodity channel index", "number", "CCI", _HLC, 20),
    _talib("obv", "On-balance volume since the first stored bar", "units", "OBV", ("close", "volume"), {}),
    _talib("mfi_14", "Money flow index", "number", "MFI", (*_HLC, "volume"), 14, bounds=_HUNDRED, undefined="no_flow"),
    _talib("willr_14", "Williams' %R", "percent", "WILLR", _HLC, 14, bounds=(-100.0, 0.0), undefined="no_range"),
    _talib("roc_10", "Rate of change of close over 10 bars", "percent", "ROC", _CLOSE, 10),
    _talib(
        "psar",
        "Parabolic stop and reverse: step 0.02, at most 0.2",
        "price",
        "SAR",
        ("high", "low"),
        _SAR,
        source=_WILDER,
    ),
    _own(
        "supertrend",
        "The band of mid price ± 3 × ATR 10 that trails the trend",
        "supertrend",
        _TREND,
        source=_SUPERTREND,
    ),
    _talib("donchian_upper", "Donchian channel: highest high of 20 bars", "price", "MAX", ("high",), 20),
    _talib("donchian_lower", "Donchian channel: lowest low of 20 bars", "price", "MIN", ("low",), 20),
    _own("keltner_upper", "Keltner channel: EMA 20 of close + 2 × ATR 10", "keltner", _KELTNER, 0, source=_CHANNEL),
    _own("keltner_lower", "Keltner channel: EMA 20 of close - 2 × ATR 10", "keltner", _KELTNER, 1, source=_CHANNEL),
)
"""Every column of the daily table, in table order."""

INDICATOR_COLUMNS: tuple[str, ...] = tuple(column.name for column in INDICATORS)
"""Their names."""

VWAP = IndicatorColumn(
    "vwap",
    "Volume-weighted average of (high + low + close) / 3 since the session's first bar",
    "price",
    "own",
    "vwap",
    (*_HLC, "volume"),
    source="TradingView Pine reference, ta.vwap",
)

INDICATORS_1H: tuple[IndicatorColumn, ...] = (*INDICATORS, VWAP)
"""Every column of the hourly table, in table order: those of the daily table, and what needs bars within a session."""
