"""What the command line says: results on stdout, everything else on stderr.

Belongs here: tables, notes, warnings and progress. Does not belong here: deciding what went wrong (see errors).
"""

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, is_dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Protocol, TextIO

from financehub_dagster.cli.errors import CommandError

NO_TERMINAL = 160
"""Columns of a table that is piped into something."""

Cell = str | int | float | bool | date | datetime | Path | None


class Progress(Protocol):
    """Told how far a piece of work has come."""

    def __call__(self, what: str, done: int, total: int) -> None:
        """`done` of `total` units of `what` are finished."""
        ...


@dataclass
class Console:
    """Where a command writes; `as_json` makes stdout one JSON document. Messages go to what stderr is at the start."""

    as_json: bool = False
    debug: bool = False
    messages: TextIO = field(default_factory=lambda: sys.stderr)

    def result(self, data: object, show: Callable[[], None] | None = None) -> None:
        """Give the command's result: `data`, a mapping or a dataclass, as JSON, or whatever `show` prints."""
        if self.as_json:
            write_out(json.dumps(data, default=_jsonable, indent=2))
        elif show is not None:
            show()

    def say(self, text: str) -> None:
        """Print one line of a human-readable result."""
        if not self.as_json:
            write_out(text)

    def note(self, text: str) -> None:
        """Tell the person something that is not the result.

        A message that its file does not take, as on a full disk, stops nothing.
        """
        with suppress(OSError):
            self.messages.write(text + "\n")
            self.messages.flush()

    def warn(self, text: str) -> None:
        """Tell the person that something needs attention though the command goes on."""
        self.note(f"warning: {text}")

    def table(self, title: str, columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
        """Print a table; numbers are right-aligned with thousands separators, "" leaves a cell blank.

        It is as wide as the terminal at most (see text_table).
        """
        from financehub_dagster.cli.text_table import lay_out

        data = [list(row) for row in rows]
        cells = [[cell for row in data if (cell := row[index]) != ""] for index in range(len(columns))]
        numeric = [bool(own) and all(map(_is_number, own)) for own in cells]
        lines = lay_out(columns, [[_text(cell) for cell in row] for row in data], numeric, _width())
        self.say("\n".join([*([title] if title else []), "", *lines, ""]))

    @contextmanager
    def progress(self, title: str) -> Iterator[Progress]:
        """A progress bar on stderr; silent with --json and where stderr is not a terminal."""
        if self.as_json or not self.messages.isatty():
            yield silent
            return
        with _bar(title, self.messages) as report:
            yield report


def write_out(text: str) -> None:
    """Write a line to stdout at once; raises CommandError if its file takes no more, as on a full disk."""
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except OSError as error:
        discard_stdout()
        if isinstance(error, BrokenPipeError):  # the reader has read enough
            raise
        raise CommandError(f"stdout cannot be written to ({error.strerror}): send the output elsewhere") from None


def discard_stdout() -> None:
    """Write to nowhere from here on. The interpreter flushes stdout once more at exit, which would fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _width() -> int:
    """Columns to fill: the terminal's, or what COLUMNS says; plenty where nobody reads along."""
    return shutil.get_terminal_size((NO_TERMINAL, 0)).columns


def silent(what: str, done: int, total: int) -> None:
    """Nobody is watching."""


@contextmanager
def _bar(title: str, stream: TextIO) -> Iterator[Progress]:
    from rich.console import Console as Terminal
    from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bars(*columns, console=Terminal(file=stream), transient=True) as bars:
        tasks: dict[str, TaskID] = {}
        waiting: list[TaskID] = [bars.add_task(title, total=None)]

        def report(what: str, done: int, total: int) -> None:
            if waiting:
                bars.remove_task(waiting.pop())
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield report


def _is_number(cell: Cell) -> bool:
    return cell is None or (isinstance(cell, int | float) and not isinstance(cell, bool))


def _text(cell: Cell) -> str:
    if cell is None:
        return "-"
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, int):
        return f"{cell:,}"
    if isinstance(cell, float):
        return f"{cell:,.1f}"
    return str(cell)


def _jsonable(value: object) -> object:
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, set | frozenset):
        return sorted(value)
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return str(value)
