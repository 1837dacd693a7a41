"""Levels and pivot points follow their bars by declarative automation: months of history too, and no month twice."""

import dagster as dg
import pytest
from dagster._core.definitions.asset_daemon_cursor import AssetDaemonCursor

from financehub_dagster.automation.following import follow_inputs
from financehub_dagster.automation.queues import QUEUE_TAG
from financehub_dagster.tables import DERIVED, FOLLOWING

BARS = "stock_prices_daily"
MONTHS = ["2014-03-01", "2014-04-01", "2016-01-01"]


class Followed:
    """What the condition asks for, tick by tick, as runs fill months of tables."""

    def __init__(self, definitions: dg.Definitions, instance: dg.DagsterInstance) -> None:
        self.definitions = definitions
        self.instance = instance
        self.cursor: AssetDaemonCursor | None = None
        self.job = definitions.resolve_implicit_global_asset_job_def()

    def filled(self, *tables: str, months=tuple(MONTHS)) -> None:
        """One run has filled the months of these tables."""
        run = self.instance.create_run_for_job(
            self.job, status=dg.DagsterRunStatus.SUCCESS, asset_selection=frozenset(map(dg.AssetKey, tables))
        )
        for table in tables:
            for month in months:
                filled = dg.AssetMaterialization(table, partition=month)
                self.instance.report_dagster_event(event(filled), run.run_id)

    def asked(self) -> dict[str, list[str]]:
        """What the next tick asks for, by table."""
        found = dg.evaluate_automation_conditions(
            self.definitions,
            self.instance,
            asset_selection=dg.AssetSelection.assets(*FOLLOWING),
            cursor=self.cursor,
        )
        self.cursor = found.cursor
        asked = {table: sorted(map(str, found.get_requested_partitions(dg.AssetKey(table)))) for table in FOLLOWING}
        return {table: months for table, months in asked.items() if months}


def event(filled: dg.AssetMaterialization):
    from dagster._core.events import DagsterEvent, DagsterEventType, StepMaterializationData

    return DagsterEvent(
        DagsterEventType.ASSET_MATERIALIZATION.value, "job", event_specific_data=StepMaterializationData(filled)
    )


@pytest.fixture
def followed(platform, tmp_path):
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        followed = Followed(platform.definitions, instance)
        assert followed.asked() == {}
        yield followed


def test_months_whose_bars_were_filled_alone_are_asked_for_once(followed):
    followed.filled(BARS)
    assert followed.asked() == dict.fromkeys(FOLLOWING, MONTHS)
    followed.filled(*FOLLOWING)
    assert followed.asked() == {}
    assert followed.asked() == {}


def test_bars_that_were_filled_right_after_their_levels_are_followed_again(followed):
    """Both fall between two ticks, a minute apart: the later one counts."""
    followed.filled(BARS)
    assert followed.asked() == dict.fromkeys(FOLLOWING, MONTHS)
    followed.filled(*FOLLOWING)
    followed.filled(BARS, months=MONTHS[1:])
    assert followed.asked() == dict.fromkeys(FOLLOWING, MONTHS[1:])
    followed.filled(BARS, months=MONTHS[2:])
    followed.filled(*FOLLOWING)
    assert followed.asked() == {}


def test_a_month_whose_run_failed_is_not_asked_for_every_minute_and_again_when_its_bars_are_filled_anew(followed):
    followed.filled(BARS)
    assert followed.asked() == dict.fromkeys(FOLLOWING, MONTHS)
    assert followed.asked() == {}
    assert followed.asked() == {}
    followed.filled(BARS, months=MONTHS[:1])
    assert followed.asked() == dict.fromkeys(FOLLOWING, MONTHS[:1])


def test_a_run_that_fills_bars_and_levels_together_asks_for_nothing(followed):
    followed.filled(BARS, *FOLLOWING)
    assert followed.asked() == {}


def test_pivot_points_follow_levels_that_were_computed_alone(followed):
    followed.filled("levels_daily", months=MONTHS[2:])
    assert followed.asked() == {"pivot_points": MONTHS[2:]}


def test_the_tables_that_follow_are_those_without_a_schedule_of_their_bars():
    assert set(FOLLOWING) == {"levels_daily", "pivot_points"}
    assert {bars for table in FOLLOWING for bars in DERIVED[table].inputs} >= {BARS}
    assert follow_inputs.emit_backfills, "months of one tick have to become one backfill"
    assert follow_inputs.run_tags[QUEUE_TAG] == "default"
