"""A server with room for 40 connections carries a platform and six workers, all at work."""

from pathlib import Path

import pytest

from financehub_dagster_tests.faults.celery_connections import ALLOWED, WORKERS, measure

pytestmark = [pytest.mark.full, pytest.mark.timeout(1200)]


def test_forty_connections_carry_a_platform_and_six_workers(tmp_path: Path, count_cases) -> None:
    seen = measure(tmp_path, ("2014-01", "2014-06"))
    assert seen.workers >= WORKERS - 2, "one that is quick may make the run of another"
    assert WORKERS < seen.total <= ALLOWED, seen.most
    refused = [log for log in tmp_path.rglob("*.log") if "too many clients" in log.read_text(errors="replace")]
    assert not refused
    count_cases("six workers on a server with few connections", WORKERS)
