"""What the answers of Celery workers say about the platform's health."""

import pytest

from financehub_dagster.operations import probes, workers
from financehub_dagster.settings import get_settings

OWN, OTHER = "1.2.0", "1.1.0"
NOW = 1_800_000_000.0
IDLE = {"version": OWN, "problem": "the database answers"}


@pytest.mark.parametrize(
    ("answers", "status", "told"),
    [
        ({}, "failed", "none answers: start `financehub worker`"),
        ({"a": {"version": OWN, "problem": None}}, "ok", "1 of version 1.2.0"),
        (
            {"a": {"version": OWN, "problem": None}, "b": {"version": OTHER, "problem": None}, "c": {"error": "?"}},
            "degraded",
            "1 of version 1.2.0, 1 of 1.1.0, 1 of an earlier version: those take no runs of 1.2.0",
        ),
        (
            {"b": {"version": OTHER, "problem": None}},
            "failed",
            "0 of version 1.2.0, 1 of 1.1.0: those take no runs of 1.2.0; start `financehub worker`",
        ),
        (
            {"a": {"version": OWN, "problem": None}, "b": IDLE},
            "degraded",
            "2 of version 1.2.0; 1 takes no runs, b until the database answers",
        ),
        (
            {"a": {"version": OWN, "problem": None, "clock": NOW + 61}, "b": {"version": OWN, "clock": NOW - 2}},
            "degraded",
            "2 of version 1.2.0; the clock of a is 61 s ahead of this machine's",
        ),
        ({"b": IDLE}, "failed", "1 of version 1.2.0; 1 takes no runs, b until the database answers"),
    ],
)
def test_workers_are_judged_by_version_and_by_whether_they_take_runs(answers, status, told):
    found = workers.judge(answers, OWN, NOW)
    assert (found.component, found.status, found.detail) == ("workers", status, told)


def test_a_broker_that_does_not_answer_is_a_finding_without_its_password(monkeypatch):
    monkeypatch.setenv("FINANCEHUB_BROKER_URL", "redis://:s3cret@127.0.0.1:1/0")
    get_settings.cache_clear()
    settings = get_settings()
    get_settings.cache_clear()
    with pytest.raises(probes.Trouble, match="the broker does not answer") as caught:
        workers.check(settings)
    assert "s3cret" not in str(caught.value)
