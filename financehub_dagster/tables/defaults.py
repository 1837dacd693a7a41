"""What tables of one kind have in common: the checks of their assets, and how fresh they have to be.

Belongs here: choices that several declarations share. Does not belong here: what a check does (assets.checks).
"""

from datetime import timedelta

from financehub_dagster.tables.declaration import Freshness

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

DAILY_FRESHNESS = Freshness(warn=timedelta(days=4), fail=timedelta(days=5))
"""Friday's bars are the newest until Monday's session closes; a public holiday may add a day."""
