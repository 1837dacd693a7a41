"""Each kind of error, put into one vendor's answers, is measured as what it is and as that vendor's."""

import pytest

from financehub_dagster.market.quality.vendor_errors import NAMES
from financehub_dagster_tests.assets.conftest import Platform
from financehub_dagster_tests.assets.snapshots.answers import make_room
from financehub_dagster_tests.fixtures.vendor_faults import FAULTS, SECOND, SYMBOLS, THIRD, YAHOO, fill, reconcile


def measured(platform: Platform) -> dict[str, list[tuple[str, str, bool, int]]]:
    found: dict[str, list[tuple[str, str, bool, int]]] = {symbol: [] for symbol in SYMBOLS}
    query = "select symbol, vendor, kind, decided, bars from measured_bars where kind <> 'compared' order by 1, 2, 3"
    for symbol, *error in platform.rows(query):
        found[symbol].append(tuple(error))
    return found


@pytest.fixture
def faulty(keyed_platform: Platform) -> Platform:
    """Stocks whose stored bars are Yahoo's, with one fault of one vendor each."""
    fill(keyed_platform)
    return keyed_platform


def test_each_kind_of_error_is_measured_as_what_it_is(faulty: Platform) -> None:
    metadata = reconcile(faulty)
    found = measured(faulty)
    wanted = {fault.symbol: sorted(fault.errors) for fault in FAULTS}
    many = {symbol for symbol, errors in wanted.items() if any(not bars for *_, bars in errors)}
    named = {
        symbol: [(*error[:3], 0 if symbol in many else error[3]) for error in errors]
        for symbol, errors in found.items()
    }
    assert named == wanted
    assert {kind for errors in wanted.values() for _, kind, *_ in errors} == set(NAMES)
    assert "| twelve_data | `missing` | 1 |" in str(metadata["errors of vendors"].value)
    compared = faulty.rows(
        "select vendor, bars from measured_bars where symbol = 'NVDA' and kind = 'compared' order by 1"
    )
    assert compared == [(SECOND, 40), (YAHOO, 40)]

    reconcile(faulty)
    assert measured(faulty) == found

    faulty.sandbox.reset()
    make_room(faulty.sandbox)
    reconcile(faulty)
    left = {error for errors in measured(faulty).values() for error in errors}
    of_yahoo = {(vendor, kind) for errors in wanted.values() for vendor, kind, decided, _ in errors if decided}
    of_yahoo = {(vendor, kind) for vendor, kind in of_yahoo if vendor == YAHOO}
    assert {(vendor, kind) for vendor, kind, *_ in left} == of_yahoo | {(THIRD, "dividend_day")}
