"""Do Celery workers take this platform's runs?

Belongs here: asking them, and what their answers mean. Does not belong here: what a worker does
(automation.celery_workers), or runs that other engines make.
"""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from financehub_dagster.operations import probes
from financehub_dagster.settings import Settings
from financehub_dagster.storage.operations.health_checks import Checked, Status
from financehub_dagster.wording import counted

QUESTION = "financehub_worker"
"""The remote control command that each worker answers with its version and problem."""
ANSWER_SECONDS = 2.0
"""How long all workers have for their answers."""
START = "start `financehub worker`"
CLOCK_OFF = 10.0
"""Seconds by which a clock may differ; an answer takes up to two of them."""


def check(settings: Settings) -> Checked:
    """Workers of the platform's version answer, and the database answers them; raises Trouble."""
    from financehub_dagster.version import VERSION

    return judge(ask(settings), VERSION, time.time())


def ask(settings: Settings) -> dict[str, Mapping[str, Any]]:
    """What each worker says of itself, by its name; raises Trouble where the broker does not answer."""
    from celery import Celery
    from kombu.exceptions import OperationalError

    broker = settings.financehub_broker_url
    if broker is None:
        raise probes.Trouble("FINANCEHUB_BROKER_URL is not set")
    app = Celery(broker=broker.get_secret_value(), set_as_current=False)
    try:
        with app.connection_for_write(connect_timeout=ANSWER_SECONDS) as connection:
            connection.ensure_connection(max_retries=1, timeout=ANSWER_SECONDS)
            found: Sequence[Mapping[str, Mapping[str, Any]]] = (
                app.control.broadcast(QUESTION, reply=True, timeout=ANSWER_SECONDS, connection=connection) or ()
            )
    except (OperationalError, OSError) as error:
        raise probes.Trouble(f"the broker does not answer: {error}") from None
    return {name: answer for each in found for name, answer in each.items()}


def judge(answers: Mapping[str, Mapping[str, Any]], own: str, now: float) -> Checked:
    """Given what each worker answered; one that does not know the question is of a version before `own`.

    now: seconds since 1970 by the clock of this machine, when the answers had come.
    """
    versions = {name: str(answer.get("version", "an earlier version")) for name, answer in answers.items()}
    others = Counter(each for each in versions.values() if each != own)
    right = [name for name, each in versions.items() if each == own]
    idle = [name for name in right if answers[name].get("problem")]
    told = f"{len(right)} of version {own}"
    if others:
        told += ", " + ", ".join(f"{count} of {each}" for each, count in sorted(others.items()))
        told += f": those take no runs of {own}"
    if not right:
        return Checked("workers", "failed", f"{told}; {START}" if others else f"none answers: {START}")
    if idle:
        told += f"; {counted(len(idle), 'takes', 'take')} no runs, {min(idle)} until {answers[min(idle)]['problem']}"
    ahead = {name: answers[name]["clock"] - now for name in right if "clock" in answers[name]}
    wrong = {name: by for name, by in ahead.items() if abs(by) > CLOCK_OFF}
    for name, by in sorted(wrong.items()):
        told += f"; the clock of {name} is {abs(by):.0f} s {'ahead of' if by > 0 else 'behind'} this machine's"
    some = bool(idle or others or wrong)
    status: Status = "failed" if len(idle) == len(right) else "degraded" if some else "ok"
    return Checked("workers", status, told)
