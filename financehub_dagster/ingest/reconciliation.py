"""Comparing stored bars with a second vendor's, for some instruments a day, as far as budgets allow.

Belongs here: whom to ask, and what is written down. Does not belong here: the comparison (market.quality), orders of
vendors (providers.routing), limits and quotas (gateway): a request here is one like any other, made only while a vendor
has more than half of each of its budgets left.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from logging import Logger
from typing import TYPE_CHECKING, Any

from financehub_dagster.gateway.errors import ProviderError
from financehub_dagster.gateway.request_context import counting
from financehub_dagster.market.instruments import Instrument
from financehub_dagster.providers import listings
from financehub_dagster.providers.base import DailyBars
from financehub_dagster.providers.budgets import budgets
from financehub_dagster.providers.routing import DailyBarsRouter, switched_on
from financehub_dagster.storage import discrepancies
from financehub_dagster.storage.database.engine import market_engine, transaction
from financehub_dagster.storage.database.transactions import in_transaction
from financehub_dagster.storage.queries import checks
from financehub_dagster.storage.rate_limits.availability import unavailable
from financehub_dagster.storage.rate_limits.usage import usage_report

if TYPE_CHECKING:
    import pandas as pd

    from financehub_dagster.market.quality.reconciliation import Discrepancy

SPARE = 0.5
"""The share of every budget of an account that must be left before it is asked."""
SESSIONS = 40
"""Sessions compared: two months, one request at every vendor."""
SETTLED = timedelta(days=3)
"""Sessions this young are left out: vendors correct closes and volumes within days."""


@dataclass
class Reconciled:
    """What a run compared. Counters of values are by (vendor, column), those of discrepancies by kind too.

    instruments: those compared; skipped: why others were not; off: how often a vendor was in the minority.
    """

    instruments: int = 0
    calls: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    values: Counter[tuple[str, str]] = field(default_factory=Counter)
    found: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    off: Counter[str] = field(default_factory=Counter)

    def rates(self) -> list[dict[str, Any]]:
        """One row for each vendor, column and kind, and for columns without a discrepancy."""
        rows = []
        for (vendor, column), compared in sorted(self.values.items()):
            kinds = {kind: count for (name, of, kind), count in self.found.items() if (name, of) == (vendor, column)}
            for kind, count in sorted(kinds.items()) or [("none", 0)]:
                rate = f"{count / compared:.2%}" if compared else "-"
                row = {"vendor": vendor, "column": column, "kind": kind, "compared": compared}
                rows.append({**row, "differ": count, "rate": rate})
        return rows


def reconcile(
    table: str,
    router: DailyBarsRouter,
    providers: Mapping[str, Any],
    instruments: Sequence[Instrument],
    run_id: str,
    log: Logger,
) -> Reconciled:
    """Compare the stored bars of `instruments` with a second vendor's, and with a third's where they differ."""
    result = Reconciled()
    with counting() as sent:
        for instrument in instruments:
            _reconcile_one(table, router, providers, instrument, run_id, log, result)
    result.calls = sent.requests
    return result


def _reconcile_one(
    table: str,
    router: DailyBarsRouter,
    providers: Mapping[str, Any],
    instrument: Instrument,
    run_id: str,
    log: Logger,
    result: Reconciled,
) -> None:
    from financehub_dagster.market.quality import reconciliation

    with transaction() as connection:
        until = datetime.now(UTC).date() - SETTLED
        stored = checks.recent_rows(connection, table, instrument.symbol, until, SESSIONS).reset_index()
    if not len(stored):
        result.skipped["nothing is stored"] += 1
        return
    others = _others(router, providers, instrument, set(stored["source"]))
    second = _ask(providers, others, instrument, stored, log, result)
    if second is None:
        result.skipped["no other vendor could be asked"] += 1
        return
    found, compared = reconciliation.compare(stored, second.bars)
    result.instruments += 1
    for column, count in compared.items():
        result.values[second.source, column] += count
    third = None
    if found:
        later = others[others.index(second.source) + 1 :]
        third = _ask(providers, later, instrument, stored, log, result)
    rows = [_row(each, stored, second, third) for each in found]
    for row in rows:
        result.found[second.source, row.column, row.kind] += 1
        result.off.update([row.off] if row.off else [])
    span = stored["date"].iloc[0].date(), stored["date"].iloc[-1].date()
    symbol, vendor = instrument.symbol, second.source
    in_transaction(lambda connection: discrepancies.replace(connection, table, symbol, vendor, span, rows, run_id))


def _others(
    router: DailyBarsRouter, providers: Mapping[str, Any], instrument: Instrument, sources: set[str]
) -> list[str]:
    """The vendors that have not sent any of the stored bars, and know the instrument, in the router's order."""
    return [
        name
        for name in switched_on(providers, router.precedence(instrument))
        if name not in sources and listings.symbol_at(name, instrument) is not None
    ]


def _ask(
    providers: Mapping[str, Any],
    names: Sequence[str],
    instrument: Instrument,
    stored: "pd.DataFrame",
    log: Logger,
    result: Reconciled,
) -> DailyBars | None:
    """The bars of the first of these vendors that has budget to spare and answers."""
    first, last = stored["date"].iloc[0].date(), stored["date"].iloc[-1].date()
    for name in names:
        if not has_spare(name, providers):
            result.skipped[f"{name} has no budget to spare"] += 1
            continue
        try:
            answer: DailyBars = providers[name].daily_bars(instrument, first, last)
        except ProviderError as error:
            result.skipped[f"{name} did not answer"] += 1
            log.info(f"{instrument.symbol}: not compared with {name}: {error}")
            continue
        if len(answer.bars):
            return answer
    return None


def has_spare(name: str, providers: Mapping[str, Any]) -> bool:
    """Has one of a vendor's accounts more than SPARE of each of its budgets left, and may it be asked now?"""
    with transaction() as connection:
        if name in unavailable(connection, "daily_bars"):
            return False
    accounts: dict[tuple[str | None, str], bool] = {}
    for window in budgets({name: providers[name]}, usage_report(market_engine())).windows:
        if window.configured and window.provider == name:
            enough = window.left is None or window.amount is None or window.left > SPARE * window.amount
            account = window.key, window.place
            accounts[account] = accounts.get(account, True) and enough and window.benched_until is None
    return any(accounts.values()) or not accounts


def _row(found: "Discrepancy", stored: "pd.DataFrame", second: DailyBars, third: DailyBars | None) -> discrepancies.Row:
    """A discrepancy with the vendor whose value is in the minority, where a third one tells."""
    from financehub_dagster.market.quality import reconciliation

    own = stored[stored["date"].dt.date == found.date].iloc[0]
    source, off = str(own["source"]), None
    value = None if third is None else _value(third.bars, found.date, found.column)
    if third is not None and value is not None:
        place = reconciliation.odd_one_out(found.column, found.stored, found.told, value)
        off = None if place is None else (source, second.source, third.source)[place]
    return discrepancies.Row(found.date, found.column, found.kind, source, found.stored, found.told, off)


def _value(bars: "pd.DataFrame", day: date, column: str) -> float | None:
    own = bars.loc[(bars["date"].dt.date == day).to_numpy(bool), column]
    return float(own.iloc[0]) if len(own) else None
