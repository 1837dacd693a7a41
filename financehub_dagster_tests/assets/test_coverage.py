"""The asset `coverage`: what the webserver shows of the ledger."""

import base64
import io
from datetime import UTC, date, datetime

import dagster as dg
import numpy as np
import pytest
from matplotlib.image import imread

from financehub_dagster.assets.charts.coverage import MOST_ROWS, STATES, heat_map, states_of
from financehub_dagster.settings import get_settings
from financehub_dagster.storage.coverage import ledger
from financehub_dagster.storage.coverage.gaps import Shares, shares_by_month
from financehub_dagster.storage.database.engine import transaction

STOCKS = "stock_prices_daily"


@pytest.fixture
def small(platform, monkeypatch):
    """Two instruments and the history of a year and a half."""
    monkeypatch.setenv("FINANCEHUB_HISTORY_START", "2025-06-01")
    get_settings.cache_clear()
    platform.execute("delete from instruments where symbol <> all(:chosen)", chosen=["AAPL", "BTC"])
    yield platform
    get_settings.cache_clear()


def pixels(picture: dg.MarkdownMetadataValue) -> np.ndarray:
    """The picture in the metadata, as the webserver shows it."""
    head, _, data = str(picture.value).partition("base64,")
    assert head.endswith("](data:image/png;")
    return imread(io.BytesIO(base64.b64decode(data.removesuffix(")"))), format="png")


def report(platform) -> tuple[dict, dict[str, dg.AssetCheckEvaluation]]:
    job = platform.definitions.resolve_job_def("report_coverage")
    result = job.execute_in_process(instance=platform.instance)
    [event] = result.asset_materializations_for_node("coverage")
    outputs = [each for each in result.all_events if each.event_type_value == "STEP_OUTPUT"]
    [output] = [each.step_output_data for each in outputs if each.step_key == "coverage"]
    assert not output.metadata, "the pictures are stored once"
    return dict(event.metadata), {e.check_name: e for e in result.get_asset_check_evaluations()}


def test_the_ledger_is_reported_with_counts_gaps_and_heat_maps(small):
    metadata, checks = report(small)
    assert metadata["gap"].value == metadata["expected"].value > 500
    assert [record.data["symbol"] for record in metadata["open_gaps"].records] == ["BTC", "AAPL"]
    assert not checks["no_open_gaps"].passed
    assert checks["no_open_gaps"].severity == dg.AssetCheckSeverity.WARN
    assert "heat_map_indicators" not in metadata  # indicators are expected of stored bars only
    assert pixels(metadata["heat_map"]).size > 10_000


def test_a_complete_ledger_passes_its_check(small, monkeypatch):
    monkeypatch.setenv("FINANCEHUB_HISTORY_START", f"{datetime.now(UTC):%Y-%m}-01")
    get_settings.cache_clear()
    month = get_settings().financehub_history_start.isoformat()
    for tables in (["stock_prices_daily", "crypto_prices_daily"], ["indicators_daily"]):
        assert small.run(tables, month).success
    metadata, checks = report(small)
    assert metadata["percent_accounted_for"].value == 100.0
    assert checks["no_open_gaps"].passed
    assert pixels(metadata["heat_map_indicators"]).size > 10_000


def shares(symbols: int, months: int) -> Shares:
    first = np.datetime64("2009-01", "M")
    starts: list[date] = [(first + n).astype("datetime64[D]").item() for n in range(months)]
    ones = np.ones((symbols, months), np.float32)
    return Shares([f"SYMBOL{n:03d}" for n in range(symbols)], starts, ones.copy(), ones.copy())


def test_seventy_instruments_over_seventeen_years_have_a_row_and_a_column_of_pixels_each():
    found = shares(70, 204)
    found.shares[7, 100] = 0.0
    picture = heat_map("daily bars", found)
    assert picture is not None
    height, width, _ = pixels(picture).shape
    assert height > 70 * 12
    assert width > 204 * 3
    found.shares[7, 100] = 1.0
    assert heat_map("daily bars", found) != picture


def test_what_is_stored_looks_different_from_what_is_empty_missing_or_not_expected():
    found = shares(1, 7)
    found.shares[0] = [np.nan, 1.0, 1.0, 1.0, 0.5, 0.0, 0.5]
    found.stored[0] = [np.nan, 1.0, 0.9, 0.0, 0.5, 0.0, 0.0]
    assert states_of(found)[0].tolist() == [0, 1, 2, 3, 4, 5, 4]
    assert len({colour for _, colour in STATES}) == len(STATES)


def test_the_ledger_tells_stored_from_confirmed_empty(small):
    month = date(2025, 7, 1)
    report(small)
    july = "'{[2025-07-01,2025-08-01)}'::datemultirange"
    small.execute(f"update coverage set gap = gap - {july}, empty = {july} where table_name <> 'indicators_daily'")
    with transaction() as connection:
        found = shares_by_month(connection, ["stock_prices_daily", "crypto_prices_daily"])
    place = found.months.index(month)
    assert found.shares[:, place].tolist() == [1.0, 1.0]
    assert found.stored[:, place].tolist() == [0.0, 0.0]
    assert STATES[states_of(found)[0, place]][0] == "all confirmed empty"


def test_of_very_many_instruments_those_that_lack_most_are_drawn():
    found = shares(MOST_ROWS * 5, 24)
    picture = heat_map("daily bars", found)
    assert picture is not None
    assert pixels(picture).shape[0] < MOST_ROWS * 20
    assert heat_map("nothing", Shares([], [], np.zeros((0, 0), np.float32), np.zeros((0, 0), np.float32))) is None


def test_reporting_brings_the_ledger_up_to_now(small):
    report(small)
    assert ledger.refresh(datetime.now(UTC)) == 0
    assert small.scalar("select count(distinct symbol) from coverage where table_name = :t", t=STOCKS) == 1
