"""What every command has in common: the options `--json` and `--debug`, and a console to speak through.

Belongs here: turning a function into a command. Does not belong here: any one command.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from financehub_dagster.cli.console import Console

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as one JSON document on stdout.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the stack trace of an error.")]

_COMMON = {"as_json": AsJson, "debug": Debug}


class ReaderGone(Exception):
    """Whoever read our output has seen enough."""


type Work = Callable[..., None]


def new_app(help_text: str) -> typer.Typer:
    """A command tree whose errors reach us as exceptions."""
    return typer.Typer(help=help_text, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def command(app: typer.Typer, name: str) -> Callable[[Work], Work]:
    """Register a function as `name`; its first parameter is the console, the others are the command line's."""

    def register(work: Work) -> Work:
        @functools.wraps(work)
        def call(*, as_json: bool = False, debug: bool = False, **arguments: Any) -> None:
            try:
                work(Console(as_json=as_json, debug=debug), **arguments)
            except BrokenPipeError:
                raise ReaderGone from None

        _, *own = inspect.signature(work).parameters.values()
        common = [
            inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=annotation)
            for key, annotation in _COMMON.items()
        ]
        parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]
        call.__signature__ = inspect.Signature([*parameters, *common])  # type: ignore[attr-defined]
        call.__annotations__ = {p.name: p.annotation for p in [*parameters, *common]}
        app.command(name)(call)
        return work

    return register
