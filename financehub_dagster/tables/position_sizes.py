"""`position_sizes`: how much to buy on a signal."""

from financehub_dagster.tables import defaults
from financehub_dagster.tables.columns import COMPUTED_AT, SESSION, SYMBOL, not_negative, number, positive
from financehub_dagster.tables.declaration import Column, Maintained, Table

TABLE = Table(
    name="position_sizes",
    comment="How large a position is, by two rules, for each recent signal to enter.",
    columns=(
        SYMBOL,
        SESSION,
        Column("rule", "text", "the rule that fired", key=True),
        Column("currency", "text", "ISO 4217, of all money in the row"),
        positive("equity", "what the sizes are a part of"),
        positive("price", "close of the session"),
        number("held", "units held in all accounts"),
        not_negative("fixed_fraction_units", "units that cost the configured fraction of equity"),
        number("atr", "average true range of 14 sessions", nullable=True, above=0),
        number("stop", "price at which the configured risk is lost; NULL without an ATR", nullable=True),
        number("atr_risk_units", "units that lose the configured risk at the stop", nullable=True, least=0),
        COMPUTED_AT,
    ),
    grain="none",
    filled=Maintained(after=("signals", "indicators_daily", "holdings")),
    group="portfolio",
    source=("numpy",),
    details="Recomputed with every run of `send_notifications`; the formulas are in docs/signals.md.",
    checks=defaults.CHECKS,
)
