"""`signals`: the sessions on which trading rules fire."""

from financehub_dagster.market.signals.rules import BY_NAME, DIRECTIONS
from financehub_dagster.tables import defaults
from financehub_dagster.tables.columns import COMPUTED_AT, SESSION, SYMBOL, number, positive
from financehub_dagster.tables.declaration import Column, Derived, Table

TABLE = Table(
    name="signals",
    comment="Trading signals: the sessions on which a declared rule fires.",
    columns=(
        SYMBOL,
        SESSION,
        Column("rule", "text", "name of the rule; docs/signals.md lists all", key=True, choices=tuple(BY_NAME)),
        Column("direction", "text", "entry or exit; of candlesticks bullish, bearish or neutral", choices=DIRECTIONS),
        number("value", "what the rule looked at on that session; of candlesticks TA-Lib's score"),
        number("level", "what it was compared with; NULL for candlesticks", nullable=True),
        positive("price", "close of the session, split-adjusted"),
        COMPUTED_AT,
    ),
    grain="session",
    filled=Derived(
        inputs=("stock_prices_daily", "crypto_prices_daily"),
        function="financehub_dagster.market.signals.firing:compute",
        after=("indicators_daily",),
        sparse=True,
    ),
    group="signals",
    source=("talib",),
    details="One row per instrument, session and rule that fires, over the full stored history; most sessions have"
    " none or few. A bar that changes has all signals of its instrument computed again from its date on: those that no"
    " longer fire are withdrawn, and kept in `price_revisions`. The rules are listed in docs/signals.md.",
    partitions="month",
    checks=defaults.CHECKS,
    keep_revisions=True,
    chart="signals",
)
