"""Commands run in this process, asked for their JSON.

Belongs here: running one and reading what it printed. Does not belong here: folders, databases, vendors (conftest).
"""

import json
from typing import Any

import pytest

from financehub_dagster.cli.app import run


class Asked:
    """Runs commands, which end with `code`, for their JSON; messages is what the last one wrote to stderr."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys
        self.messages = ""

    def __call__(self, *arguments: str, code: int = 0) -> Any:
        ended = run([*arguments, "--json"])
        told = self.capsys.readouterr()
        self.messages = told.err
        assert ended == code, told.err
        return json.loads(told.out)

    def text(self, *arguments: str) -> str:
        """What people get of a command that succeeds."""
        assert run(arguments) == 0
        return self.capsys.readouterr().out
