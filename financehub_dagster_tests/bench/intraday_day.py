"""One New York session of 500 instruments in the database, for `bench_intraday`: writing, ticks, deriving longer bars.

Writing is compared with a bare binary COPY of the same bytes into the same partition with its indexes; deriving with
one statement of plain SQL that aggregates the same rows into the same three lengths. A tick is everything but asking
vendors: the plan, the write, the longer bars, the ledger. Wall time on an embedded server with durable commits; the
sides take turns.
"""

import logging
import os
import statistics
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from financehub_dagster.automation.jobs.realtime import plan_tick
from financehub_dagster.ingest.intraday.minutes import MinutesRun, update_minutes
from financehub_dagster.ingest.partitions import Window
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.market.intraday.resampling import LENGTHS, resample
from financehub_dagster.market.intraday.trading_hours import MINUTE, trading_hours
from financehub_dagster.providers import all_providers
from financehub_dagster.providers.base import IntradayAnswers, IntradayBars
from financehub_dagster.providers.routing import IntradayRouter
from financehub_dagster.settings import get_settings
from financehub_dagster.storage.database import schema
from financehub_dagster.storage.database.engine import raw_cursor
from financehub_dagster.storage.database.month_partitions import ensure_months
from financehub_dagster.storage.database.urls import libpq_url
from financehub_dagster.storage.queries import minutes as stored_minutes
from financehub_dagster.storage.queries.instruments import upsert_instruments
from financehub_dagster.storage.upsert import upsert
from financehub_dagster.storage.upsert.batch import make_batch
from financehub_dagster.storage.upsert.binary_copy import encode
from financehub_dagster_tests.bench.bench_indicator_table import took
from financehub_dagster_tests.bench.bench_writer import migrated_engine
from financehub_dagster_tests.bench.stored_minutes import Prices, timed
from financehub_dagster_tests.fixtures.database import reset_engine

TABLE = "ohlc_1m"
DAY = date(2026, 6, 2)
OPENED, CLOSED = np.datetime64("2026-06-02T13:30:00", "s"), np.datetime64("2026-06-02T20:00:00", "s")
TICKS = 30
"""Minutes that ticks bring one by one, up to the close: bars of every length end in some of them."""
_IN_SQL = """
    select {minutes} as length, symbol, '2026-06-02 13:30Z'::timestamptz + {minutes} * number * interval '1 min' as ts,
        (array_agg(open order by ts))[1], max(high), min(low), (array_agg(close order by ts desc))[1], sum(volume)
    from (select *, floor(extract(epoch from ts - '2026-06-02 13:30Z') / 60 / {minutes}) as number from ohlc_1m) as bars
    group by symbol, number
    """


class Ready:
    """A router whose vendor has answered already: each instrument's minutes of the range asked for."""

    def __init__(self, bars: dict[str, pd.DataFrame]) -> None:
        self._bars = bars

    only = None

    def batches(self, instruments: Sequence[Instrument]) -> list[list[Instrument]]:
        return [list(instruments)]

    def earlier_than(self, _instrument: Instrument, _provider: str) -> list[str]:
        return []

    def intraday_bars(
        self, instruments: Sequence[Instrument], interval: int, start: datetime, end: datetime
    ) -> IntradayAnswers:
        first, after = (np.datetime64(at.replace(tzinfo=None), "s") for at in (start, end))
        found = {}
        for each in instruments:
            own = self._bars[each.symbol]
            own = own[(own["ts"] >= first) & (own["ts"] < after)]
            found[each.symbol] = IntradayBars(each.symbol, interval, own, "yahoo", end, 1, end)
        return IntradayAnswers(found, {})


def measure(instruments: int, repeats: int) -> None:
    """Print seconds and ratios."""
    minutes = trading_hours("XNYS").minutes(OPENED, CLOSED)
    members = [Instrument(f"S{n:05d}", "Any", AssetType.STOCK, "XNYS") for n in range(instruments)]
    columns = Prices(instruments).bars([each.symbol for each in members], minutes)
    with migrated_engine() as engine:
        home = str(Path(str(engine.url.query["host"])).parent)
        os.environ |= {"FINANCEHUB_DATABASE_URL": libpq_url(engine.url), "FINANCEHUB_HOME": home}
        get_settings.cache_clear()
        reset_engine()
        with engine.begin() as connection:
            upsert_instruments(connection, members)
            ensure_months(connection, TABLE, [DAY])
        _write(engine, columns, repeats)
        _derive(engine, members, repeats)
        _tick(engine, members, columns)
        reset_engine()


def _empty(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("truncate ohlc_1m, ohlc_5m, ohlc_15m, ohlc_1h, minute_coverage, minute_gaps")


def _write(engine: Engine, columns: dict[str, np.ndarray], repeats: int) -> None:
    table, turns = schema.table(TABLE), []
    batch = make_batch(table, columns)

    def floor() -> None:
        into = f"copy {TABLE} from stdin (format binary)"
        with engine.begin() as connection, raw_cursor(connection) as cursor, cursor.copy(into) as target:
            for piece in encode(batch.fields, batch.rows):
                target.write(piece)

    def ours() -> None:
        with engine.begin() as connection:
            upsert.write(connection, table, columns, run_id="bench", keep_revisions=True)

    for _ in range(repeats + 1):
        _empty(engine)
        bare = timed(floor)[0]
        _empty(engine)
        turns.append((bare, timed(ours)[0]))
    ratio = statistics.median(bare / own for bare, own in turns[1:])
    bare, own = (statistics.median(side) for side in zip(*turns[1:], strict=True))
    print(
        f"writing {len(columns['ts']):,} minutes: {own:.2f} s, a bare binary COPY {bare:.2f} s: {ratio:.2f}× (goal 0.3)"
    )


def _derive(engine: Engine, members: Sequence[Instrument], repeats: int) -> None:
    hours, complete = [trading_hours("XNYS")] * len(members), np.full(len(members), CLOSED)
    spans = {each.symbol: (OPENED, CLOSED) for each in members}
    statement = " union all ".join(_IN_SQL.format(minutes=length) for length in LENGTHS)
    counts = []

    def ours() -> None:
        with engine.begin() as connection:
            made = resample(stored_minutes.read(connection, TABLE, spans), hours, LENGTHS, complete)
        counts.append(sum(int(each.final.sum()) for each in made.values()))

    def plain() -> None:
        with engine.begin() as connection:
            counts.append(connection.execute(sa.text(f"select count(*) from ({statement}) as bars")).scalar_one())

    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("vacuum analyze"))
    turns = [(timed(ours)[0], timed(plain)[0]) for _ in range(repeats + 1)][1:]
    assert len(set(counts)) == 1, counts
    ratio = statistics.median(own / other for own, other in turns)
    own, other = (statistics.median(side) for side in zip(*turns, strict=True))
    print(
        f"deriving {counts[0]:,} bars of three lengths: {own:.2f} s, plain SQL {other:.2f} s: {ratio:.2f}× (goal 1.5)"
    )


def _tick(engine: Engine, members: Sequence[Instrument], columns: dict[str, np.ndarray]) -> None:
    frame = pd.DataFrame(columns)[["symbol", "ts", "open", "high", "low", "close", "volume"]]
    frame["ts"] = frame["ts"].astype("datetime64[s]")
    router = Ready({str(symbol): own.drop(columns="symbol") for symbol, own in frame.groupby("symbol")})
    asked = IntradayRouter().over(all_providers())
    log = logging.getLogger("bench")
    _empty(engine)

    def tick(at: np.datetime64) -> int:
        now = datetime.fromtimestamp(int(at.astype(np.int64)), UTC)
        symbols = set(plan_tick(asked, now + timedelta(seconds=2)).symbols)
        chosen = [each for each in members if each.symbol in symbols]
        window = Window(DAY, DAY, DAY.isoformat())
        pull = MinutesRun(TABLE, cast("IntradayRouter", router), window, "bench", now, tail_only=True)
        return update_minutes(pull, chosen, log)[TABLE].inserted

    tick(CLOSED - (TICKS + 1) * MINUTE)
    rows: list[int] = []
    costs = [
        took(lambda at=CLOSED - number * MINUTE: rows.append(tick(at)))  # type: ignore[misc]
        for number in range(TICKS, -1, -1)
    ]
    assert rows == [len(members)] * (TICKS + 1), rows
    wall, own, server = (statistics.median(seconds) for seconds in zip(*costs, strict=True))
    print(
        f"a tick of {len(members)} instruments, fetch aside: {wall:.2f} s (goal 2), {own:.2f} + {server:.2f} s of CPU; "
        f"the longest {max(cost.wall for cost in costs):.2f} s"
    )
