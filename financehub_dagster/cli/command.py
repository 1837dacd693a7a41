"""What every command has in common: the options `--home`, `--json` and `--debug`, an example, and a console.

Belongs here: turning a function into a command. Does not belong here: any one command.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any, get_args

import typer
from typer.core import TyperCommand, TyperGroup

from financehub_dagster.cli.console import Console
from financehub_dagster.cli.errors import CommandError, WrongUsage
from financehub_dagster.cli.home import Home, chosen_home

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as one JSON document on stdout.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the stack trace of an error.")]

HomeFolder = Annotated[
    str | None,
    typer.Option("--home", help="The platform's folder, where not the one started here last.", metavar="FOLDER"),
]

_COMMON = {"home_folder": HomeFolder, "as_json": AsJson, "debug": Debug}
_DEFAULTS = {"home_folder": None, "as_json": False, "debug": False}


class ReaderGone(Exception):
    """Whoever read our output has seen enough."""


class _Plain:
    """Help without a type beside flags, which take no value."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The parameters, `--help` included."""
        params: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for param in params:
            if getattr(param, "is_flag", False):
                param.metavar = ""
        return params


class _Command(_Plain, TyperCommand):
    """One command."""


class _Group(_Plain, TyperGroup):
    """Commands under one name."""


type CommandBody = Callable[..., None]


def new_app(help_text: str | None = None, *, completion: bool = False) -> typer.Typer:
    """A command tree, or a group of commands, whose errors reach us as exceptions.

    completion adds the options that install it in a shell.
    """
    return typer.Typer(
        cls=_Group,
        help=help_text,
        no_args_is_help=True,
        add_completion=completion,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def command(app: typer.Typer, name: str, *, example: str) -> Callable[[CommandBody], CommandBody]:
    """Register the decorated function as `name`; its first parameter is the console, the others are the command line's.

    example is a whole command line that its help ends with. A text option that is given must say something.
    """

    def register(work: CommandBody) -> CommandBody:
        _, *own = inspect.signature(work).parameters.values()

        @functools.wraps(work)
        def call(
            *, home_folder: str | None = None, as_json: bool = False, debug: bool = False, **arguments: Any
        ) -> None:
            for parameter in [*own, common[0]]:
                _refuse_blank(parameter, {**arguments, "home_folder": home_folder}[parameter.name])
            try:
                with chosen_home(home_folder):
                    work(Console(as_json=as_json, debug=debug), **arguments)
            except BrokenPipeError:
                raise ReaderGone from None
            except KeyboardInterrupt:  # typer would end without a word, and without a document for --json
                raise CommandError("interrupted") from None

        common = [
            inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=_DEFAULTS[key], annotation=annotation)
            for key, annotation in _COMMON.items()
        ]
        parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]
        call.__signature__ = inspect.Signature([*parameters, *common])  # type: ignore[attr-defined]
        call.__annotations__ = {p.name: p.annotation for p in [*parameters, *common]}
        app.command(name, cls=_Command, epilog=f"Example: {example}")(call)
        return work

    return register


def open_home(console: Console) -> Home:
    """Act on the home that was last started here; raises CommandError unless its database is migrated."""
    from financehub_dagster.cli import prepare

    home = prepare.act_on_home(console)
    prepare.require_migrated()
    return home


def _refuse_blank(parameter: inspect.Parameter, value: object) -> None:
    """Raise WrongUsage for a text that was given and says nothing: it would mean as much as leaving it out."""
    if value is None or value == parameter.default:
        return
    texts = value if isinstance(value, list | tuple) else [value]
    if any(isinstance(text, str) and not text.strip(" ,\t\n") for text in texts):
        needed = parameter.default is inspect.Parameter.empty
        raise WrongUsage(f"{_called(parameter)} is empty: give it a value{'' if needed else ' or leave it out'}")


def _called(parameter: inspect.Parameter) -> str:
    """What a person calls a parameter."""
    info = get_args(parameter.annotation)[1]
    if not isinstance(info, typer.models.OptionInfo):
        return str(info.metavar or parameter.name.upper())
    # Beside a type, the first name that typer.Option is given stands where its default would.
    names = (name for name in (info.default, *(info.param_decls or ())) if str(name).startswith("--"))
    return str(next(names, f"--{parameter.name.replace('_', '-')}"))
