"""docs/jobs.md is what the definitions say, and it has a place for every task of the predecessors."""

import re

import pytest

from financehub_dagster.cli.commands import jobs as report
from financehub_dagster.cli.reports.predecessors import PREDECESSORS
from financehub_dagster.cli.runs import code_location
from financehub_dagster_tests.fixtures.folder import REPOSITORY

PAGE = REPOSITORY / "docs/jobs.md"
NAMES = (
    "fetch_yahoo_stocks fetch_alpha_stocks fetch_binance_cryptos fetch_coingecko_cryptos fetch_unified_crypto "
    "fetch_stock_prices fetch_news calculate_indicators cleanup_old_data update_single_asset cache_warming "
    "health_check fetch_all_markets batch_update_popular historical_seed realtime_pull daily_close calculate_pivots "
    "test_connection cleanup_failed_tasks replay_dead_letters heal_gaps"
)
"""The jobs that people who come from the predecessors look for."""
CADENCES = {
    "fetch_crypto_quotes": "`*/2 * * * *` UTC",
    "fetch_stock_prices": "`*/5 * * * *` UTC",
    "realtime_pull": "`* * * * *` UTC",
    "fetch_news": "`5,35 * * * *` UTC",
    "calculate_indicators": "`15 * * * *` UTC",
    "calculate_hourly_indicators": "`8 * * * *` UTC",
    "daily_close": "`59 20 * * 1-5` Europe/Berlin",
    "calculate_pivots": "`55 7 * * 2-6` Europe/Berlin",
    "health_check_sensor": "`health_check_sensor`, every 60 s",
    "cleanup_old_data": "`20 3 * * *` UTC",
    "cleanup_failed_tasks": "`40 3 * * *` UTC",
}


@pytest.fixture(scope="module")
def rows() -> list[report.JobRow]:
    return report.collect(code_location())


def test_the_page_lists_the_jobs_as_they_are(rows):
    [there] = re.findall(r"<!-- financehub jobs --markdown -->\n(.*?)\n<!-- end -->", PAGE.read_text(), re.DOTALL)
    assert there.strip() == report.as_markdown(rows), "write what `financehub jobs --markdown` prints into docs/jobs.md"


def test_every_name_and_cadence_that_people_rely_on_is_there(rows):
    found = {row.job: row for row in rows}
    assert {*NAMES.split()} <= found.keys()
    assert {job: found[job].started_by for job in CADENCES} == {job: [cadence] for job, cadence in CADENCES.items()}
    assert {row.job for row in rows if row.on is False} == set()
    assert {row.job for row in rows if not row.fills} == set()


def test_every_task_of_the_predecessors_has_a_place(rows):
    assert [each.number for each in PREDECESSORS] == list(range(1, 39))
    assert {job for each in PREDECESSORS for job in each.jobs} <= {row.job for row in rows}
    assert [each.number for each in PREDECESSORS if not each.jobs and not each.here] == []
    for name, anchor in re.findall(r"\]\(([\w.-]+)(?:#([\w-]+))?\)", " ".join(each.here for each in PREDECESSORS)):
        text = (PAGE.parent / name).read_text()
        headings = {
            re.sub(r"[^\w -]", "", line).strip().replace(" ", "-").lower()
            for line in text.splitlines()
            if line.startswith("#")
        }
        assert not anchor or anchor in headings, f"{name}#{anchor}"
