"""What every command says and refuses before it does anything: help, examples, empty values, version, completion."""

import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer.main

from financehub_dagster.cli.app import app, run


def commands(command: Any, *path: str) -> Iterator[tuple[str, Any]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield " ".join(path), command
        return
    for name, below in inner.items():
        yield from commands(below, *path, name)


ROOT: Any = typer.main.get_command(app)
ALL = dict(commands(ROOT))
GROUPS = [(), *[(name,) for name, command in ROOT.commands.items() if hasattr(command, "commands")]]


def example(name: str) -> list[str]:
    """The command line of the example, without `financehub`."""
    label, _, line = ALL[name].epilog.partition(": ")
    assert label == "Example"
    return shlex.split(line)[1:]


@pytest.mark.parametrize("path", [*(tuple(name.split()) for name in ALL), *GROUPS], ids=" ".join)
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_is_short_to_ask_for_and_names_no_type_beside_flags(capsys, path, option):
    assert run([*path, option]) == 0
    shown = capsys.readouterr().out
    assert "Usage: financehub" in shown
    assert "bool" not in shown.lower()


@pytest.mark.parametrize("name", ALL)
def test_every_command_has_an_example_that_it_takes(capsys, name):
    words = example(name)
    assert words[: len(name.split())] == name.split()
    ALL[name].make_context(name, words[len(name.split()) :])  # raises for an option or a value it does not know
    run([*name.split(), "--help"])
    assert "Example: financehub" in capsys.readouterr().out


OPTIONS = [
    (name, option.opts[0])
    for name, command in ALL.items()
    for option in command.params
    if option.param_type_name == "option" and not option.is_flag and option.default in (None, "by hand")
]


@pytest.mark.parametrize(("name", "option"), OPTIONS)
def test_an_option_that_is_given_must_say_something(capsys, name, option):
    words = example(name)
    ours = words.index("--") if "--" in words else len(words)  # what follows is another program's
    assert run([*words[:ours], option, "", *words[ours:]]) == 2
    error = capsys.readouterr().err
    assert error.startswith("financehub: ")
    assert option in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize("words", ["update", "instruments remove", "backfill --from 2015-01 --to 2015-02"])
@pytest.mark.parametrize("blank", ["", " ", ","])
def test_an_argument_must_say_something(capsys, words, blank):
    assert run([*words.split(), blank]) == 2
    assert "is empty: give it a value" in capsys.readouterr().err


def test_the_version_names_dagsters_too(capsys):
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("financehub 0.")


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("financehub ga", ["gaps"]),
        ("financehub backfill stock_", ["stock_prices_daily"]),
        ("financehub instruments add --exchange XLO", ["XLON"]),
        ("financehub dlq list --status par", ["parked"]),
    ],
)
def test_a_shell_completes_commands_tables_exchanges_and_choices(monkeypatch, capsys, typed, offered):
    monkeypatch.setenv("_FINANCEHUB_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", typed)
    monkeypatch.setenv("COMP_CWORD", str(len(typed.split()) - 1))
    with pytest.raises(SystemExit):
        run([])
    assert capsys.readouterr().out.split() == offered


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ([], "--exchange is missing: where is VOD listed? Choose from XNAS (Nasdaq), XNYS"),
        (
            ["--exchange", "London"],
            "--exchange London: not a known MIC. Choose from XLON (London Stock Exchange), AIMX (London",
        ),
        (["--exchange", "XLOM"], "XLON (London Stock Exchange)"),
        (["--exchange", "?"], "`financehub instruments exchanges` lists all"),
    ],
)
def test_a_missing_exchange_is_answered_with_those_to_choose_from(capsys, given, named):
    assert run(["instruments", "add", "VOD", "--type", "stock", *given]) == 2
    assert named in capsys.readouterr().err


def test_exchanges_are_found_by_any_word_of_theirs(capsys):
    assert run(["instruments", "exchanges", "tokyo"]) == 0
    assert "XTKS" in capsys.readouterr().out
