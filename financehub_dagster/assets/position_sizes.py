"""`position_sizes`: how much to buy on each recent signal.

Belongs here: the asset and what it shows of a run. Does not belong here: computing (ingest.position_sizes).
"""

import dagster as dg

from financehub_dagster.assets.tables import kept

NAME = "position_sizes"


@kept(NAME)
def position_sizes(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """Size positions for recent signals to enter; without an equity nothing is sized, and the run says so."""
    from financehub_dagster.ingest.position_sizes import size_positions

    sized = size_positions(context.run.run_id)
    if sized.equity is None:
        context.log.warning(f"{NAME}: set FINANCEHUB_EQUITY, or import holdings in {sized.currency}")
    equity = "unknown" if sized.equity is None else f"{sized.equity:,.2f} {sized.currency}"
    skipped = ", ".join(f"{count} {reason}" for reason, count in sized.skipped.items())
    return dg.MaterializeResult(
        asset_key=NAME,
        metadata={"sized": sized.rows, "equity": equity, "skipped": dg.MetadataValue.text(skipped or "none")},
    )
