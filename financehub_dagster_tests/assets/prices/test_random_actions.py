"""Random dividends and splits, told, changed and taken back in random windows: always one basis."""

from random import Random

import pytest

from financehub_dagster_tests.assets.prices.scripted_yahoo import ScriptedYahoo, Series, is_of
from financehub_dagster_tests.fixtures.fault_form import CASE

pytestmark = pytest.mark.full


@pytest.mark.parametrize("seed", range(20))
def test_actions_and_windows_leave_one_basis(yahoo: ScriptedYahoo, record_property, seed: int) -> None:
    """Actions come, change and go in the window of a run or after it; one before it is not told in the answer."""
    random = Random(seed)
    series = Series()
    for _ in range(4):
        first = random.randint(1, 4)
        days = [day for day in Series().days[1:] if day.month >= first]
        for _ in range(random.randint(0, 2)):
            series.dividends[random.choice(days)] = random.choice([0.05, 0.7, 3.0])
        if random.random() < 0.4:
            series.splits[random.choice(days)] = random.choice([2.0, 3.0, 0.1])
        old = [day for day in series.dividends if day.month >= first]
        if old and random.random() < 0.4:
            del series.dividends[random.choice(old)]
        series.real_splits = dict(series.splits)
        yahoo.tells(series)
        yahoo.run(f"0{first}", f"0{random.randint(first, 4)}")
        assert len(yahoo.vendor.asked) <= 2
        is_of(yahoo, series)
        yahoo.a_day_passes()
        yahoo.tells(series)
        assert yahoo.run(f"0{first}")["rows_updated"] == 0
        yahoo.a_day_passes()
    record_property(CASE, ("sequences of dividends and splits", 1))
