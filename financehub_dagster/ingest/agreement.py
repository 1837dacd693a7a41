"""Whether a fallback vendor means the security, and the unit, that is stored.

Belongs here: what its answer is compared with, and the refusal. Does not belong here: the comparison itself
(market.quality), or who is a fallback (providers.routing, from configuration).
"""

from collections.abc import Collection
from dataclasses import replace

from financehub_dagster.gateway.errors import BadRequest, ProviderError
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.market.quality.agreement import Difference, difference
from financehub_dagster.providers.base import Answers, DailyBars
from financehub_dagster.providers.routing import DailyBarsRouter
from financehub_dagster.storage.database.engine import transaction
from financehub_dagster.storage.queries import sources
from financehub_dagster.tables import BARS_OF


def require_bars(table: str, router: DailyBarsRouter, instrument: Instrument, got: DailyBars) -> None:
    """Raise BadRequest where bars do not agree with the stored ones of vendors whose rows count for more."""
    earlier = router.earlier_than(instrument, got.source)
    if not earlier or not len(got.bars):
        return
    told = dict(zip(got.bars["date"].dt.date, got.bars["close"].tolist(), strict=True))
    with transaction() as connection:
        stored = sources.closes_around(connection, table, instrument.symbol, earlier, min(told), max(told))
    splits = got.actions.loc[(got.actions["kind"] == "split").to_numpy(), "value"].tolist()
    found = difference(told, stored, splits, volatile=instrument.asset_type is AssetType.CRYPTO)
    if found is not None:
        raise _refusal(found, got.source, instrument.symbol)


def without_strangers(answer: Answers, symbols: Collection[str]) -> Answers:
    """Current prices without those of `symbols` that are far from the last stored close: these have failed."""
    rows = answer.rows[answer.rows["symbol"].isin(list(symbols))]
    days, prices = rows["quoted_at"].dt.tz_convert("UTC").dt.date.tolist(), rows["price"].tolist()
    told = dict(zip(rows["symbol"].tolist(), zip(days, prices, strict=True), strict=True))
    failed: dict[str, ProviderError] = {}
    with transaction() as connection:
        for table, kinds in BARS_OF.items():
            for symbol, (day, close) in sources.last_closes(connection, table, list(told)).items():
                found = difference(dict([told[symbol]]), {day: close}, volatile=AssetType.CRYPTO in kinds)
                if found is not None:
                    failed[symbol] = _refusal(found, answer.source, symbol)
    if not failed:
        return answer
    kept = answer.rows[~answer.rows["symbol"].isin(list(failed))].reset_index(drop=True)
    return replace(answer, rows=kept, failed={**answer.failed, **failed})


def _refusal(found: Difference, source: str, symbol: str) -> BadRequest:
    return BadRequest(source, f"{found}; check its `{source}` alias", symbol=symbol)
