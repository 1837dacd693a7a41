"""Several questions at once: what becomes of them when nobody takes their answers any more."""

from contextlib import closing
from threading import Barrier, Event

import pytest

from financehub_dagster.gateway.pausing import Abandoned, pause
from financehub_dagster.ingest import concurrency as module
from financehub_dagster.ingest.concurrency import apart, at_once

DAY = 86_400.0


def test_pauses_of_questions_that_nobody_waits_for_end_at_once():
    """A run that waited for slots, or for a vendor to recover, was cancelled only when the pauses were over."""
    ended: list[str] = []
    begun = Barrier(5)

    def ask(question: int) -> int:
        begun.wait()
        if question:
            try:
                pause(DAY)
            except Abandoned:
                ended.append("abandoned")
                raise
        return question

    with closing(at_once(ask, range(5), 5)) as answers:
        assert next(answers) == 0
    assert ended == ["abandoned"] * 4


def test_a_question_that_takes_its_time_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(module, "GRACE_SECONDS", 0.01)
    begun, answered, ended = Barrier(2), Event(), Event()

    def ask(question: int) -> int:
        begun.wait()
        if question:
            answered.wait()
            ended.set()
        return question

    with closing(at_once(ask, [0, 1], 2)) as answers:
        assert next(answers) == 0
    assert not ended.is_set()
    answered.set()
    assert ended.wait(60)


def test_questions_that_were_not_begun_are_not_asked(monkeypatch):
    monkeypatch.setattr(module, "GRACE_SECONDS", 0.01)
    asked: list[int] = []
    with closing(at_once(asked.append, range(1000), 1)) as answers:
        next(answers)
    assert len(asked) < 1000


def test_an_error_is_raised_where_the_answer_is_taken_and_ends_the_others():
    def ask(question: int) -> None:
        if question:
            pause(DAY)
        raise ValueError("no such question")

    with pytest.raises(ValueError, match="no such question"), closing(at_once(ask, range(3), 3)) as answers:
        next(answers)


def test_one_question_is_asked_apart():
    assert apart(lambda question: question + 1, 1) == 2
