"""What a run over signals shows in the webserver: the newest ones.

Belongs here: a table over stored rows. Does not belong here: deciding when.
"""

import dagster as dg

from financehub_dagster.ingest.partitions import Window
from financehub_dagster.ingest.record_table import record_table

LISTED = 20


def signals_shown(window: Window) -> dict[str, dg.MetadataValue]:
    """The newest signals of the window's last week that are not candlesticks, of which there are several a bar."""
    from financehub_dagster.market.signals.rules import BY_NAME, title
    from financehub_dagster.storage.database.engine import transaction
    from financehub_dagster.storage.queries import recent_signals

    rules = [rule.name for rule in BY_NAME.values() if rule.family != "candlesticks"]
    with transaction() as connection:
        found = recent_signals.newest(connection, rules, window.end, LISTED)
    rows = [
        {
            "date": row["date"],
            "symbol": row["symbol"],
            "signal": title(row["rule"], row["direction"]),
            "rule": row["rule"],
            "direction": row["direction"],
            "value": f"{row['value']:,.6g}",
            "level": "-" if row["level"] is None else f"{row['level']:,.6g}",
            "close": f"{row['price']:,.6g} {row['currency']}",
        }
        for row in found
    ]
    return {"latest": record_table(list(rows[0]), rows)} if rows else {}
