"""Everything a process says while a block runs: its logs, its output, its errors and its tables.

Belongs here: listening, in any process's own words. Does not belong here: what is searched for in it (canary).
"""

import io
import logging
import os
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import sqlalchemy as sa


@dataclass
class Overheard:
    """Texts by the surface they were found on: logs, output, errors, tables, usage ..."""

    texts: dict[str, list[str]] = field(default_factory=dict)
    _schema: sa.MetaData = field(default_factory=sa.MetaData)

    def add(self, surface: str, *texts: str) -> None:
        """Note texts."""
        self.texts.setdefault(surface, []).extend(texts)

    def error(self, error: BaseException) -> None:
        """Note an error in every form in which it may be shown, and whatever it came from."""
        seen: list[BaseException] = []
        left: list[BaseException | None] = [error]
        while left:
            each = left.pop()
            if each is None or each in seen:
                continue
            seen.append(each)
            left += [each.__cause__, each.__context__]
            self.add("errors", str(each), repr(each), repr(vars(each)))
        self.add("errors", "".join(traceback.format_exception(error)))

    def tables(self, engine: sa.Engine) -> None:
        """Note every column that can hold a text, of every table there is."""
        with engine.connect() as connection:
            if not self._schema.tables:
                self._schema.reflect(connection)
            for table in self._schema.sorted_tables:
                columns = [
                    _text_of(column)
                    for column in table.columns
                    if not isinstance(column.type, sa.Numeric | sa.Integer | sa.Date | sa.DateTime | sa.Boolean)
                ]
                for row in connection.execute(sa.select(*columns).distinct()) if columns else ():
                    self.add(f"table {table.name}", *(text for text in row if text is not None))

    def dagster(self, instance: dg.DagsterInstance) -> None:
        """Note every run and event of an instance, and every file in its folder: outputs, logs and databases."""
        for record in instance.get_run_records():
            self.add("runs", dg.serialize_value(record.dagster_run))
            self.add("events", *map(dg.serialize_value, instance.all_logs(record.dagster_run.run_id)))
        for file in Path(instance.root_directory).rglob("*"):
            if file.is_file():
                self.add(f"files {file.suffix}", file.read_bytes().decode("utf-8", "replace"))

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Note what is logged by any logger at any level, and what is written to standard output and error."""
        with _output(self), _logs(self):
            yield


def _text_of(column: sa.Column[Any]) -> sa.ColumnElement[str]:
    """Bytes as their characters, and anything else as PostgreSQL writes it."""
    if isinstance(column.type, sa.LargeBinary):
        return sa.func.encode(column, "escape")
    return sa.cast(column, sa.Text)


class _Handler(logging.Handler):
    def __init__(self, overheard: Overheard) -> None:
        super().__init__(logging.DEBUG)
        self.overheard = overheard

    def emit(self, record: logging.LogRecord) -> None:
        self.overheard.add("logs", f"{record.name}: {self.format(record)}")


@contextmanager
def _logs(overheard: Overheard) -> Iterator[None]:
    handler = _Handler(overheard)
    known = [each for each in logging.root.manager.loggerDict.values() if isinstance(each, logging.Logger)]
    deaf = [each for each in known if each.level or not each.propagate]
    before = {each: (each.level, each.disabled) for each in [logging.root, *known]}
    for each in before:
        each.disabled = False
    for each in [logging.root, *deaf]:
        each.setLevel(logging.DEBUG)
    hearing = [logging.root, *(each for each in deaf if not each.propagate)]
    for each in hearing:
        each.addHandler(handler)
    try:
        yield
    finally:
        for each in hearing:
            each.removeHandler(handler)
        for each, (level, disabled) in before.items():
            each.setLevel(level)
            each.disabled = disabled


@contextmanager
def _output(overheard: Overheard) -> Iterator[None]:
    """Also what a library in C, or a child process, writes."""
    with tempfile.TemporaryFile() as file:
        saved = [os.dup(number) for number in (1, 2)]
        writer = io.TextIOWrapper(os.fdopen(os.dup(file.fileno()), "wb"), line_buffering=True)
        sys.stdout.flush()
        try:
            for number in (1, 2):
                os.dup2(file.fileno(), number)
            with redirect_stdout(writer), redirect_stderr(writer):
                yield
        finally:
            for number, copy in zip((1, 2), saved, strict=True):
                os.dup2(copy, number)
                os.close(copy)
            writer.close()
            file.seek(0)
            overheard.add("output", file.read().decode("utf-8", "replace"))
