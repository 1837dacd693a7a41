"""Comparing stored bars with a second vendor's, for some instruments a day, as far as budgets allow.

Belongs here: whom to ask, and what is written down. Does not belong here: the comparison (market.quality), orders of
vendors (providers.routing), limits and quotas (gateway): a request here is one like any other, made only while a vendor
has more than half of each of its budgets left.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from logging import Logger
from typing import TYPE_CHECKING, Any

from financehub_dagster.gateway.errors import ProviderError
from financehub_dagster.gateway.request_context import counting
from financehub_dagster.ingest.vendor_errors import Compared, measure
from financehub_dagster.market.instruments import Instrument
from financehub_dagster.providers import listings
from financehub_dagster.providers.base import DailyBars
from financehub_dagster.providers.budgets import budgets
from financehub_dagster.providers.routing import DailyBarsRouter
from financehub_dagster.storage import discrepancies, measured_bars
from financehub_dagster.storage.database import locks, schema
from financehub_dagster.storage.database.engine import Connection, market_engine, transaction
from financehub_dagster.storage.database.transactions import in_transaction
from financehub_dagster.storage.queries import checks
from financehub_dagster.storage.queries.given_up import given_up, replaced
from financehub_dagster.storage.rate_limits.availability import unavailable
from financehub_dagster.storage.rate_limits.usage import usage_report

if TYPE_CHECKING:
    import pandas as pd

    from financehub_dagster.market.quality.reconciliation import Discrepancy

SPARE = 0.5
"""The share of every budget of an account that must be left before it is asked."""
SESSIONS = 40
"""Sessions compared: two months, one request at every vendor."""
BEFORE = timedelta(days=100)
"""Earlier bars that are requested with them: what is usual of an instrument tells which of its bars are doubtful."""
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
    instruments: Sequence[Instrument],
    run_id: str,
    log: Logger,
) -> Reconciled:
    """Compare the stored bars of `instruments` with a second vendor's, and with a third's where they differ."""
    work = _Work(table, router, run_id, log)
    with counting() as sent:
        for instrument in instruments:
            work.compare(instrument)
    work.result.calls = sent.requests
    return work.result


@dataclass(frozen=True)
class _Work:
    """One run's order, and what it has compared."""

    table: str
    router: DailyBarsRouter
    run_id: str
    log: Logger
    result: Reconciled = field(default_factory=Reconciled)

    def compare(self, instrument: Instrument) -> None:
        """Compare the stored bars of one instrument, and write down what differs."""
        from financehub_dagster.market.quality import reconciliation

        result, until = self.result, datetime.now(UTC).date() - SETTLED
        with transaction() as connection:
            stored = checks.recent_rows(connection, self.table, instrument.symbol, until, SESSIONS).reset_index()
        if not len(stored):
            result.skipped["nothing is stored"] += 1
            return
        others = self._others(instrument, set(stored["source"]))
        span = stored["date"].iloc[0].date(), stored["date"].iloc[-1].date()
        second = self._ask(others, instrument, span)
        if second is None:
            result.skipped["no other vendor could be asked"] += 1
            return
        volumes = instrument.asset_type not in reconciliation.OWN_VOLUMES
        found, compared = reconciliation.compare(stored, second.bars, volumes=volumes)
        result.instruments += 1
        for column, count in compared.items():
            result.values[second.source, column] += count
        later = others[others.index(second.source) + 1 :]
        third = self._ask(later, instrument, span) if found else None
        rows = [_row(each, stored, second, third) for each in found]
        for row in rows:
            result.found[second.source, row.column_name, row.kind] += 1
            result.off.update([row.off] if row.off else [])
        vendor, symbol = second.source, instrument.symbol
        pair = Compared(self.table, instrument, stored, second, third)

        def keep(connection: Connection) -> bool:
            for kept in (schema.discrepancies, schema.measured_bars):
                locks.lock_table(connection, kept, [symbol])
            if replaced(given_up(connection), [symbol]):
                return False
            discrepancies.replace(connection, self.table, symbol, vendor, span, rows, self.run_id)
            for name, measured in measure(connection, pair).items():
                measured_bars.replace(connection, self.table, symbol, name, pair.span, measured, self.run_id)
            return True

        if not in_transaction(keep):
            result.skipped["it was renamed meanwhile"] += 1

    def _others(self, instrument: Instrument, sources: set[str]) -> list[str]:
        """The vendors that have not sent any of the stored bars, and know the instrument, in the router's order."""
        return [
            name
            for name in self.router.askable(instrument)
            if name not in sources and listings.symbol_at(name, instrument) is not None
        ]

    def _ask(self, names: Sequence[str], instrument: Instrument, span: tuple[date, date]) -> DailyBars | None:
        """The bars of the first of these vendors that has budget to spare and answers."""
        for name in names:
            if not self._has_spare(name):
                self.result.skipped[f"{name} has no budget to spare"] += 1
                continue
            try:
                answer: DailyBars = self.router.vendor(name).daily_bars(instrument, span[0] - BEFORE, span[1])
            except ProviderError as error:
                self.result.skipped[f"{name} did not answer"] += 1
                self.log.info(f"{instrument.symbol}: not compared with {name}: {error}")
                continue
            if len(answer.bars):
                return answer
        return None

    def _has_spare(self, name: str) -> bool:
        """Has one of a vendor's accounts more than SPARE of each of its budgets left, and may it be asked now?"""
        with transaction() as connection:
            if name in unavailable(connection, "daily_bars"):
                return False
        accounts: dict[tuple[str | None, str], bool] = {}
        for window in budgets({name: self.router.vendor(name)}, usage_report(market_engine())).windows:
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
