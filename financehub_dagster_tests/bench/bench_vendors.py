"""The tables of vendors' errors: of a sample market with faults, of real errors of Yahoo, and what they cost.

Sample market: a fault of every kind put into one vendor's answers about one stock each, and what `financehub vendors
--markdown` prints once `reconcile_prices` has run. It shows that each kind is found, and nothing about real vendors.
Errors: 17 series that Yahoo served, 15 of them recorded because of their faults, compared with their corrected forms.
They show that the kinds fit errors as vendors make them; they are no rate of Yahoo's. Cost: adding up what 10,000
instruments, three vendors and 20 years can hold at most, and replacing what is kept of one of them.
"""

import argparse
import time
from collections import Counter
from dataclasses import replace
from datetime import date, timedelta

import dagster as dg
import numpy as np
import pandas as pd
import psutil
import pytest
import sqlalchemy as sa

from financehub_dagster.market.bar_arrays import DAILY_VALUES
from financehub_dagster.market.quality import vendor_errors
from financehub_dagster.market.quality.vendor_errors import Finding
from financehub_dagster.operations.vendor_errors import as_markdown, rates
from financehub_dagster.sandbox.client import running_sandbox
from financehub_dagster.settings import get_settings
from financehub_dagster.storage import measured_bars
from financehub_dagster.storage.measured_bars import COMPARED, Measured
from financehub_dagster_tests.assets.conftest import asking, platform_on
from financehub_dagster_tests.assets.snapshots.answers import make_room
from financehub_dagster_tests.bench.bench_writer import migrated_engine
from financehub_dagster_tests.fixtures import vendor_faults
from financehub_dagster_tests.fixtures.database import chosen
from financehub_dagster_tests.fixtures.faulty_series import Case, flags_of, real_cases, real_series
from financehub_dagster_tests.fixtures.sandbox import as_new

YEARS, INSTRUMENTS = 20, 10_000


def found_in(case: Case, right: pd.DataFrame) -> list[Finding]:
    """The errors of a series, whose corrected form `right` judges as any other two vendors that agree."""
    told = case.bars.assign(source="yahoo")
    splits = case.actions[case.actions["kind"] == "split"]
    broken = [
        (bar["date"].date(), flag, column, float(bar[column]))
        for bar, flags in zip(case.bars.to_dict("records"), flags_of(case), strict=True)
        for flag in sorted(flags)
        for column in [vendor_errors.column_of(flag, bar)]
    ]
    rules = vendor_errors.by_rules("yahoo", broken, right, "the corrected form")
    compared = vendor_errors.by_comparison(told, "the corrected form", right, right, splits)
    return vendor_errors.together(rules, compared)


def corrected(case: Case) -> pd.DataFrame:
    """The corrected form of a series: its closes and adjusted closes, and the other prices on their basis."""
    rows = real_series(case.name)
    factor = (rows["right_close"] / rows["close"]).to_numpy(np.float64)
    right = {name: rows[name] * factor for name in ("open", "high", "low")}
    return rows.assign(**right, close=rows["right_close"], adj_close=rows["right_adj_close"])[["date", *DAILY_VALUES]]


def real_errors() -> None:
    """Print the errors of the real series by kind."""
    bars, kinds, series = 0, Counter[str](), dict[str, set[str]]()
    examples: dict[str, str] = {}
    for case in real_cases():
        bars += len(case.bars)
        for each in sorted(found_in(case, corrected(case)), key=lambda each: each.date):
            kinds[each.kind] += 1
            series.setdefault(each.kind, set()).add(case.name)
            other = "" if each.other is None else f"; corrected {each.other:,.6g}"
            examples[each.kind] = f"{case.name} {each.date}: {each.column} {each.told:,.6g}{other}"
    print(f"{len(real_cases())} series of Yahoo, {bars:,} bars\n")
    print("| kind | bars wrong | series | newest example |\n|---|---|---|---|")
    for kind in vendor_errors.NAMES:
        if kinds[kind]:
            print(f"| `{kind}` | {kinds[kind]:,} | {', '.join(sorted(series[kind]))} | {examples[kind]} |")


def sample_market() -> None:
    """Print what is measured of the sample market with the faults of `vendor_faults` put in."""
    with (
        migrated_engine() as engine,
        chosen(engine.url) as database,
        running_sandbox() as process,
        as_new(process) as sandbox,
        pytest.MonkeyPatch.context() as environment,
        dg.DagsterInstance.ephemeral() as instance,
    ):
        for name, value in sandbox.keys.items():
            environment.setenv(name, value)
        get_settings.cache_clear()
        make_room(sandbox)
        platform = platform_on(database, sandbox, instance)
        overrides, definitions = asking(sandbox.yahoo_url, sandbox.binance_url, keyed=True)
        platform = replace(platform, overrides=overrides, definitions=definitions)
        vendor_faults.fill(platform)
        vendor_faults.reconcile(platform)
        with database.engine.begin() as connection:
            print(as_markdown(rates(connection)), end="\n\n")


def cost(instruments: int) -> None:
    """Print how long adding up takes, and replacing two months of one instrument."""
    first = date(2004, 1, 1)
    days = [day for number in range(YEARS * 365) if (day := first + timedelta(days=number)).weekday() < 5]
    texts = ["{" + ",".join(f"[{day},{day}]" for day in some) + "}" for some in (days, days[::100])]
    put_in = sa.text("""
        INSERT INTO measured_bars (table_name, symbol, vendor, kind, decided, sessions, bars, example)
        SELECT 'stock_prices_daily', 'S' || number, vendor, kind, decided, CAST(:sessions AS datemultirange), :bars,
            CASE WHEN kind <> 'compared' THEN jsonb_build_object('date', date '2004-01-01' + number,
                'column', 'close', 'told', 1.5, 'other', 2.5, 'against', 'yahoo') END
        FROM generate_series(1, :instruments) AS number,
            unnest(ARRAY['yahoo', 'twelve_data', 'alpha_vantage']) AS vendor,
            unnest(CAST(:kinds AS text[])) AS kind, unnest(CAST(:decided AS boolean[])) AS decided
    """)
    with migrated_engine() as engine:
        with engine.begin() as connection:
            for kinds, decided, text, bars in (
                ([COMPARED], [True], texts[0], len(days)),
                (list(vendor_errors.NAMES), [True, False], texts[1], len(days[::100])),
            ):
                values = {"kinds": kinds, "decided": decided, "sessions": text, "bars": bars}
                connection.execute(put_in, {**values, "instruments": instruments})
            rows = connection.execute(sa.text("SELECT count(*) FROM measured_bars")).scalar_one()
        with engine.begin() as connection:
            before, start = psutil.Process().memory_info().rss, time.perf_counter()
            rates(connection)
            took, grown = time.perf_counter() - start, psutil.Process().memory_info().rss - before
            print(f"adding up {rows:,} rows of {instruments:,} instruments: {took:.2f} s, {grown / 2**20:.0f} MiB")
            start = time.perf_counter()
            found = [Measured(COMPARED, True, days[-40:])]
            measured_bars.replace(connection, "stock_prices_daily", "S1", "yahoo", (days[-40], days[-1]), found, None)
            print(f"replacing two months of 20 years: {(time.perf_counter() - start) * 1000:.0f} ms")


def main() -> None:
    """Print what is found, and what it costs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer instruments")
    sample_market()
    real_errors()
    cost(100 if parser.parse_args().quick else INSTRUMENTS)


if __name__ == "__main__":
    main()
