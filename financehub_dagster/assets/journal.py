"""`journal`: what every account held at the end of a week, what it gained, and what became of signals.

Belongs here: the asset and what it shows of a run. Does not belong here: arithmetic (market.journal), pages and files
(serving.journal).
"""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field

from financehub_dagster.assets.tables import OWNERS
from financehub_dagster.ingest.record_table import record_table
from financehub_dagster.tables import ACTIONS, BARS_OF
from financehub_dagster.wording import counted

if TYPE_CHECKING:
    from financehub_dagster.serving.journal.writing import Written

NAME = "journal"
MOST_ACCOUNTS = 10
"""Accounts whose journals the metadata shows; the files have all."""


class Journals(dg.Config):
    """Which journals a run writes."""

    week: str | None = Field(default=None, description="An ISO week such as 2026-W48; without one the last complete.")
    accounts: list[str] | None = Field(default=None, description="Only these accounts; without any, all of them.")


@dg.multi_asset(
    name=NAME,
    specs=[
        dg.AssetSpec(
            NAME,
            deps=["holdings", "signals", "notifications", ACTIONS, *BARS_OF],
            description="A report per account and week: positions, gains, signals and what became of them, as Markdown"
            " and HTML under FINANCEHUB_HOME/journal and in the metadata.\n\nRuns every Saturday as `write_journal`;"
            " docs/journal.md explains the figures.",
            group_name="portfolio",
            owners=OWNERS,
            kinds={"markdown"},
        )
    ],
)
def journal(context: dg.AssetExecutionContext, config: Journals) -> dg.MaterializeResult:
    """Write the journals of a week; again is the same files."""
    from financehub_dagster.market.journal.week import WeekError, last_complete, named
    from financehub_dagster.serving.errors import ReadError
    from financehub_dagster.serving.journal.reading import journals
    from financehub_dagster.serving.journal.writing import write

    try:
        week = last_complete(datetime.now(UTC)) if config.week is None else named(config.week)
        written = [write(each) for each in journals(week, only=config.accounts)]
    except (WeekError, ReadError) as error:
        raise dg.Failure(str(error), allow_retries=False) from None
    if not written:
        context.log.warning(f"{NAME}: nothing is held: `financehub holdings import` stores what is")
    for each in written:
        lacking = [position.symbol for position in each.journal.account.positions if position.problems]
        if lacking:
            positions = counted(len(lacking), "position")
            context.log.warning(f"{NAME}: {each.journal.account.name}: something is missing of {positions}")
    shown = {
        f"journal of {each.journal.account.name}": dg.MetadataValue.md(each.shortened())
        for each in written[:MOST_ACCOUNTS]
    }
    columns = ("account", "positions", "value", "week", "since opened", "currency", "missing", "html", "markdown")
    accounts = record_table(columns, [_row(each) for each in written])
    return dg.MaterializeResult(asset_key=NAME, metadata={"week": str(week), "accounts": accounts, **shown})


def _row(written: "Written") -> dict[str, object]:
    account = written.journal.account
    return {
        "account": account.name,
        "positions": len(account.positions),
        "value": f"{account.total('value'):,.2f}",
        "week": f"{account.total('week'):+,.2f}",
        "since opened": f"{account.total('total'):+,.2f}",
        "currency": account.currency,
        "missing": sum(bool(position.problems) for position in account.positions),
        "html": written.paths["html"],
        "markdown": written.paths["md"],
    }
