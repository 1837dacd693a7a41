"""The page on the command line is complete: a command or an option it does not mention fails here."""

from collections.abc import Iterator

import pytest
import typer.main

from financehub_dagster.cli.app import app
from financehub_dagster_tests.fixtures.folder import REPOSITORY

PAGE = (REPOSITORY / "docs/cli.md").read_text()


def commands(command, path: str) -> Iterator[tuple[str, list[str]]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield path, [option for parameter in command.params for option in parameter.opts if option.startswith("--")]
        return
    for name, below in inner.items():
        yield from commands(below, f"{path} {name}")


ALL = dict(commands(typer.main.get_command(app), "financehub"))


@pytest.mark.parametrize("command", ALL)
def test_every_command_and_option_is_on_the_page(command):
    assert f"`{command}`" in PAGE
    assert [option for option in ALL[command] if option not in PAGE] == []


@pytest.mark.parametrize("command", ALL)
def test_every_command_speaks_json_and_shows_stack_traces_on_request(command):
    assert {"--json", "--debug"} <= set(ALL[command])


def test_the_names_that_people_rely_on_are_there():
    names = "demo up down status backfill update usage sandbox".split()
    groups = {"db": "upgrade url", "instruments": "list add remove import"}
    names += [f"{group} {name}" for group, inner in groups.items() for name in inner.split()]
    assert {f"financehub {name}" for name in names} <= set(ALL)
