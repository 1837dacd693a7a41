"""Dagster's daemon as the platform runs it."""

import inspect
import logging

import pytest
from dagster._daemon import backfill, controller

from financehub_dagster.cli import daemon


def test_backfills_are_looked_after_every_few_seconds(monkeypatch) -> None:
    monkeypatch.setattr(controller, "DEFAULT_DAEMON_INTERVAL_SECONDS", controller.DEFAULT_DAEMON_INTERVAL_SECONDS)
    monkeypatch.setattr("sys.argv", ["daemon", "--help"])
    with pytest.raises(SystemExit):
        daemon.main()
    assert controller.DEFAULT_DAEMON_INTERVAL_SECONDS == daemon.BACKFILL_SECONDS
    assert "sleep_time = max(0, DEFAULT_DAEMON_INTERVAL_SECONDS - " in inspect.getsource(
        backfill.execute_backfill_iteration_loop
    )


def test_a_look_is_not_written_down_and_a_reason_to_skip_once() -> None:
    quiet = daemon.SayOnce()

    def written(message: str, *values: object, level: int = logging.INFO) -> bool:
        return quiet.filter(logging.LogRecord("dagster.daemon.SensorDaemon", level, "", 0, message, values, None))

    assert not written("Checking for new runs for sensor: %s", "heal_gaps_sensor")
    assert not written("Evaluating schedule `a_schedule` at 2026-11-30 06:25:00 +0000")
    assert written("Launching run for heal_gaps_sensor")
    assert [written("Sensor a skipped: 0 runs failed.") for _ in range(3)] == [True, False, False]
    assert not written("Sensor a skipped: 12 runs failed."), "the same reason with another number"
    assert written("Sensor b skipped: 0 runs failed.")
    assert [written(f"Sensor a skipped: {reason}.") for reason in ("late", "late", "0 runs failed")] == [
        True,
        False,
        True,
    ]
    assert written("Checking for new runs failed", level=logging.ERROR)
