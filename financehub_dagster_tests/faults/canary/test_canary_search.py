"""The search for keys finds one that is planted, in every spelling and on every surface it claims to search."""

import base64
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import dagster as dg
import pytest
import sqlalchemy as sa

from financehub_dagster_tests.faults.canary.canary import KEYS, seen
from financehub_dagster_tests.faults.canary.overheard import Overheard
from financehub_dagster_tests.fixtures.database import Database

VENDOR, KEY = next(iter(KEYS.items()))


def as_base64(before: str, encode: Callable[[bytes], bytes]) -> str:
    return encode(f"{before}{KEY} and more".encode()).decode()


@pytest.mark.parametrize(
    "spelling",
    [
        KEY,
        KEY[5:20],
        quote(KEY),
        quote(KEY, safe=""),
        quote_plus(KEY),
        *(
            as_base64(before, encode)
            for before in ("", "a", "ab")
            for encode in (base64.b64encode, base64.urlsafe_b64encode)
        ),
        json.dumps({"key": KEY}),
    ],
)
def test_a_key_is_found_in_every_spelling(spelling: str) -> None:
    assert len(seen([f"GET /query?x={spelling}&y=1"])) == 1
    assert seen([f"GET /query?x={spelling}&y=1"])[0].startswith(f"{VENDOR}: ")


def test_what_may_be_shown_of_a_key_is_not_taken_for_it() -> None:
    assert seen(["...789q-1f3c", KEY[-4:], KEY[:4], ""]) == []


def found_on(overheard: Overheard) -> list[str]:
    return [surface for surface, texts in overheard.texts.items() if seen(texts)]


@pytest.mark.parametrize("name", ["root", "urllib3.util.retry", "canary.never.heard.of"])
@pytest.mark.parametrize("deaf", [False, True], ids=["hearing", "deaf"])
def test_a_key_in_any_log_is_found(name: str, deaf: bool) -> None:
    overheard, logger = Overheard(), logging.getLogger(None if name == "root" else name)
    level, propagate = logger.level, logger.propagate
    if deaf and name != "root":
        logger.setLevel(logging.CRITICAL)
        logger.propagate = False
    try:
        with overheard.listening():
            logger.debug("asking %s", f"https://host/?key={KEY}")
    finally:
        logger.setLevel(level)
        logger.propagate = propagate
    assert found_on(overheard) == ["logs"]


@pytest.mark.parametrize(
    "say",
    [
        lambda: print(KEY),
        lambda: print(KEY, file=sys.stderr),
        lambda: os.write(1, KEY.encode()),
        lambda: os.write(2, KEY.encode()),
        lambda: subprocess.run([sys.executable, "-c", f"print({KEY!r})"], check=True),
    ],
    ids=["print", "stderr", "descriptor", "descriptor-of-errors", "child"],
)
def test_a_key_in_any_output_is_found(say: Callable[[], object]) -> None:
    overheard = Overheard()
    with overheard.listening():
        say()
    assert found_on(overheard) == ["output"]


def raised(error: BaseException, cause: BaseException | None, context: BaseException | None) -> BaseException:
    error.__cause__, error.__context__ = cause, context
    return error


@pytest.mark.parametrize(
    "error",
    [
        ValueError(KEY),
        raised(ValueError("no"), KeyError(KEY), None),
        raised(ValueError("no"), None, OSError(KEY)),
        raised(ValueError("no"), None, raised(OSError("no"), RuntimeError(KEY), None)),
    ],
    ids=["itself", "cause", "context", "deeper"],
)
def test_a_key_in_an_error_or_what_it_came_from_is_found(error: BaseException) -> None:
    overheard = Overheard()
    overheard.error(error)
    assert found_on(overheard) == ["errors"]


@pytest.mark.parametrize("type_", ["text", "text[]", "jsonb", "json", "varchar(99)", "bytea"])
def test_a_key_in_a_table_of_tomorrow_is_found(database: Database, type_: str) -> None:
    value = {
        "text[]": "array[cast(:key as text)]",
        "jsonb": "jsonb_build_object('a', cast(:key as text))",
        "json": "json_build_array(cast(:key as text))",
    }
    written = {"bytea": "convert_to(:key, 'UTF8')"} | value
    with database.engine.begin() as connection:
        connection.execute(sa.text(f"create table of_tomorrow (id int, said {type_})"))
        connection.execute(sa.text(f"insert into of_tomorrow values (1, {written.get(type_, ':key')})"), {"key": KEY})
    overheard = Overheard()
    overheard.tables(database.engine)
    assert found_on(overheard) == ["table of_tomorrow"]


def test_a_key_anywhere_in_dagster_is_found(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Each place gets another vendor's."""
    metadata, log, output, error, tag, config = KEYS.values()

    @dg.op(config_schema=str)
    def speak(context: dg.OpExecutionContext) -> dg.Output[int]:
        context.log.info(log)
        print(output)
        return dg.Output(1, metadata={"said": metadata})

    @dg.op
    def fail(spoken: int) -> None:
        raise ValueError(error)

    @dg.job
    def speaking() -> None:
        fail(speak())

    overheard = Overheard()
    with dg.DagsterInstance.local_temp(str(tmp_path_factory.mktemp("dagster"))) as instance:
        run_config = {"ops": {"speak": {"config": config}}}
        speaking.execute_in_process(instance=instance, raise_on_error=False, tags={"said": tag}, run_config=run_config)
        overheard.dagster(instance)
    told = [each for texts in overheard.texts.values() for each in seen(texts)]
    assert {each.partition(":")[0] for each in told} == set(KEYS)
    assert {"runs", "events", "files .db"} <= set(found_on(overheard))
