"""Which computed tables get what they lack without a dead letter."""

from dataclasses import replace
from typing import Any

import pytest

from financehub_dagster.tables import CATCHING_UP, DERIVED, TABLES, catching_up
from financehub_dagster.tables.declaration import Table


def test_every_computed_table_of_ours_catches_up():
    assert set(DERIVED) == CATCHING_UP


def without(name: str, **changes: Any) -> dict[str, Table]:
    """The tables, with others declared of one."""
    return {**TABLES, name: replace(TABLES[name], **changes)}


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("indicators_daily", {"ledger": False}),
        ("pivot_points", {"filled": replace(DERIVED["pivot_points"], follows=False)}),
        ("indicators_1h", {"jobs": ()}),
        ("indicators_1h", {"jobs": (replace(TABLES["indicators_1h"].jobs[0], cron=None),)}),
    ],
)
def test_one_that_neither_heals_nor_follows_nor_writes_all_changes_on_a_schedule_does_not(name, changed):
    assert set(DERIVED) - catching_up(without(name, **changed)) == {name}


def test_the_signals_catch_up_with_the_job_of_another_table_alone():
    assert "signals" not in catching_up(without("indicators_daily", jobs=()))
