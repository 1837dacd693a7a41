"""What the nightly audit finds in tables of bars within the day, page by page."""

from datetime import UTC, datetime, timedelta

import pytest

from financehub_dagster.assets.checks import evidence
from financehub_dagster.assets.checks.scope import members_of
from financehub_dagster.assets.table_audit import AUDITED
from financehub_dagster.market.instrument_files import default_universe

NOW = datetime(2026, 11, 27, 18, 30, tzinfo=UTC)
"""After New York's early close."""


@pytest.fixture
def audit(market, monkeypatch):
    """Counts the findings of a table by check; pages are of 111 rows, as they are of 111,111 in use."""
    monkeypatch.setattr(evidence, "VALUES", 1000)
    known = {each.symbol: each for each in default_universe()}
    market.pull(NOW, [known["AAPL"], known["BTC"]], NOW.date())

    def audit(table: str) -> tuple[int, dict[str, int]]:
        rows, findings = evidence.judge_table(table, members_of(table), AUDITED[table], NOW)
        return rows, {name: found.offending for name, found in findings.items() if found.offending}

    return audit


def test_stored_bars_are_final_and_in_their_place(market, audit):
    assert audit("ohlc_1m") == (210 + 18 * 60 + 30, {})
    assert audit("ohlc_1h") == (4 + 18, {})


def test_bars_that_were_damaged_are_found_whatever_page_they_are_on(market, audit):
    platform = market.platform
    row = "'2026-11-27 {time}Z', 1, 1, 1, 1, 1, 'yahoo', '2026-11-27 18:30Z'"
    for table, time in (("ohlc_1m", "18:00"), ("ohlc_1m", "14:30:30"), ("ohlc_1h", "15:00")):
        platform.execute(f"insert into {table} values ('AAPL', {row.format(time=time)})")
    platform.execute("update ohlc_1h set low = high * 2 where symbol = 'BTC' and ts = '2026-11-27 09:00Z'")
    fetched = "update ohlc_1m set fetched_at = ts + :after where symbol = 'BTC' and ts < '2026-11-27 03:00Z'"
    platform.execute(fetched, after=timedelta(seconds=30))
    assert audit("ohlc_1m")[1] == {"final_bars": 2}
    platform.execute(fetched, after=-timedelta(seconds=1))
    assert audit("ohlc_1m")[1] == {"final_bars": 2 + 180}
    found = audit("ohlc_1h")[1]
    assert found["final_bars"] == 1
    assert found["bar_sanity"] == 1
