"""`indicators_1h`: stored values equal those over all stored hours, with VWAP by session, whatever changes."""

from datetime import UTC, datetime, timedelta

import numpy as np

from financehub_dagster.market.indicators import engine
from financehub_dagster.market.indicators.columns import INDICATORS_1H
from financehub_dagster.market.instruments import AssetType, Instrument

BTC = Instrument("BTC", "Bitcoin", AssetType.CRYPTO, "XXXX", "USD", "UTC", aliases={"binance": "BTCUSDT"})
NAMES = [column.name for column in INDICATORS_1H]


def expected(platform) -> np.ndarray:
    rows = platform.rows("select ts, open, high, low, close, volume from ohlc_1h where symbol = 'BTC' order by ts")
    days = np.array([row[0].astimezone(UTC).date() for row in rows], "datetime64[D]")
    columns = np.array([row[1:] for row in rows], float).T
    values = engine.compute_many([0, len(rows)], *columns, columns=INDICATORS_1H, sessions=days)
    return np.column_stack([values[name] for name in NAMES])


def stored(platform) -> np.ndarray:
    rows = platform.rows(f"select {', '.join(NAMES)} from indicators_1h where symbol = 'BTC' order by ts")
    return np.array([[np.nan if value is None else value for value in row] for row in rows])


def test_every_hour_has_its_row_and_a_changed_minute_changes_what_follows(market):
    platform, now = market.platform, datetime.now(UTC)
    first = (now - timedelta(days=3)).date()
    market.pull(now, [BTC], first)
    market.sandbox.freeze(None)
    outcome = platform.run("indicators_1h", first.isoformat(), now.date().isoformat(), symbols=["BTC"], checked=True)
    assert outcome.success, outcome.error
    assert all(check.passed for check in platform.checks(outcome, "indicators_1h").values())
    before = stored(platform)
    assert len(before) > 60
    np.testing.assert_allclose(before, expected(platform), rtol=1e-9, atol=1e-9)

    at = datetime.combine(first, datetime.min.time(), UTC) + timedelta(hours=30, minutes=3)
    market.sandbox.set_minute("BTC", at, high=10_000_000.0)
    platform.execute("delete from minute_coverage")
    market.pull(now, [BTC], first)
    today = now.date().isoformat()
    assert platform.run("indicators_1h", today, symbols=["BTC"]).success
    np.testing.assert_allclose(stored(platform), expected(platform), rtol=1e-9, atol=1e-9)
    assert not np.allclose(stored(platform)[40:], before[40:], equal_nan=True)
