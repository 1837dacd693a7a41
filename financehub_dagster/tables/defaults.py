"""What tables of one kind have in common: the checks of their assets, and how fresh they have to be.

Belongs here: choices that several declarations share. Does not belong here: what a check does (assets.checks).
"""

from datetime import timedelta

from financehub_dagster.market.instruments import AssetType
from financehub_dagster.tables.declaration import Freshness, Lateness

CHECKS = ("schema", "no_open_failures")
"""The checks of every table."""
BAR_CHECKS = (
    *CHECKS,
    "no_deferred_work",
    "bar_sanity",
    "no_doubtful_bars",
    "no_discrepancies",
    "no_missing_sessions",
    "freshness",
    "sessions_known",
    "one_unit",
    "one_security",
)
LISTED_BAR_CHECKS = (*BAR_CHECKS, "splits_applied", "in_session")
INTRADAY_CHECKS = (*CHECKS, "no_deferred_work", "bar_sanity", "final_bars")
LONGER_BAR_CHECKS = (*CHECKS, "bar_sanity", "final_bars")
LEVEL_CHECKS = (*CHECKS, "no_missing_levels", "freshness")
DERIVED_CHECKS = (*CHECKS, "no_missing_rows", "freshness")
SNAPSHOT_CHECKS = (*CHECKS, "no_deferred_work")

HOURLY_FRESHNESS = Freshness(by="0 * * * *", within=timedelta(hours=1))
"""Of tables that an hourly schedule fills."""
DAILY_FRESHNESS = Freshness(by="50 2 * * *", within=timedelta(hours=24))
"""Of tables that an hourly schedule computes where an input has changed, and once a day in any case."""


def late_after(bound: timedelta) -> tuple[Lateness, ...]:
    """Bars within the day are due while their market is open; that of cryptos always is."""
    exchange_traded = (AssetType.STOCK, AssetType.ETF, AssetType.INDEX, AssetType.FX)
    return tuple(Lateness("open markets", bound, kinds) for kinds in (exchange_traded, (AssetType.CRYPTO,)))
