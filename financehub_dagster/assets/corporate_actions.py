"""`corporate_actions`: dividends, splits and capital gains, as they come with the daily bars."""

from financehub_dagster.assets.tables import table_spec

NAME = "corporate_actions"

SPEC = table_spec(
    NAME,
    group="prices",
    kinds={"yahoo"},
    deps=["instruments"],
    details="One row per instrument, ex-date and kind. Filled by the same vendor call as `stock_prices_daily`; months"
    " without any action are materialized with no rows. An action that the vendor no longer tells is taken back.",
)
