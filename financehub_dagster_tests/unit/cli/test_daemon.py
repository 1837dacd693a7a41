"""Dagster's daemon as the platform runs it."""

import inspect

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
