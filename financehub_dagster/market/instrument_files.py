"""Files of instruments: CSV and YAML, read whole or not at all, every complaint with its line and column.

Belongs here: turning a file into rows of text that know their lines. Does not belong here: what a field may hold
(`instruments`).

YAML scalars are taken as they are written, because YAML would turn the symbols ON, NO and TRUE into booleans.
"""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib.resources import as_file, files
from pathlib import Path

import yaml

from financehub_dagster.market.instruments import (
    COLUMNS,
    REQUIRED,
    FieldError,
    Instrument,
    InstrumentError,
    instrument_from_text,
)
from financehub_dagster.wording import counted

_OTHER_NAMES = {
    "type": "asset_type",
    "kind": "asset_type",
    "ticker": "symbol",
    "mic": "exchange",
    "market": "exchange",
    "alias": "aliases",
    "tz": "timezone",
}
"""What `instruments add` and other programs call our columns."""


@dataclass(frozen=True, slots=True)
class _Row:
    """One instrument's texts by column; lines holds where a column has a line of its own."""

    line: int
    fields: dict[str, str]
    lines: dict[str, int] = field(default_factory=dict)


class _Complaint(Exception):
    """What is wrong, with line (and column) in front; the file's name is added by the caller."""

    def __init__(self, line: int, problem: str, column: str | None = None) -> None:
        where = f"line {line}" if column is None else f"line {line}, column {column}"
        super().__init__(f"{where}: {problem}")


def parse_instruments(path: Path) -> list[Instrument]:
    """All instruments of a CSV or YAML file, in its order; raises InstrumentError naming file, line and column."""
    readers = {".csv": _csv_rows, ".yaml": _yaml_rows, ".yml": _yaml_rows}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InstrumentError(f"{path.name}: instruments are read from .csv, .yaml and .yml files")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InstrumentError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        instruments = list(_instruments(reader(_text(data))))
    except _Complaint as complaint:
        raise InstrumentError(f"{path.name}: {complaint}") from None
    if not instruments:
        raise InstrumentError(f"{path.name}: holds no instrument")
    return instruments


def default_universe() -> list[Instrument]:
    """The instruments of the package's own universe.csv."""
    with as_file(files("financehub_dagster.market").joinpath("universe.csv")) as path:
        return parse_instruments(path)


def _text(data: bytes) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _Complaint(data.count(b"\n", 0, error.start) + 1, "is not UTF-8 text: save the file as UTF-8") from None
    if not text.strip():
        raise _Complaint(1, "the file is empty")
    return text


def _instruments(rows: Iterator[_Row]) -> Iterator[Instrument]:
    seen: dict[str, int] = {}
    for row in rows:
        try:
            instrument = instrument_from_text(row.fields)
        except FieldError as error:
            raise _Complaint(row.lines.get(error.column, row.line), error.problem, error.column) from None
        line = row.lines.get("symbol", row.line)
        if instrument.symbol in seen:
            problem = f"{instrument.symbol!r} is already on line {seen[instrument.symbol]}"
            raise _Complaint(line, problem, "symbol")
        seen[instrument.symbol] = line
        yield instrument


def _csv_rows(text: str) -> Iterator[_Row]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] | None = None
    line = 1
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                pass
            elif header is None:
                header = _header(line, [cell.strip() for cell in cells])
            elif len(cells) != len(header):
                found = counted(len(cells), "field")
                raise _Complaint(line, f"has {found}, the header names {counted(len(header), 'column')}")
            else:
                yield _Row(line, dict(zip(header, cells, strict=True)))
            line = reader.line_num + 1
    except csv.Error as error:
        raise _Complaint(line, f"is not CSV: {error}") from None


def _unknown(column: str) -> str:
    """What is wrong with a column that is none, and which one is meant."""
    plain = column.strip().lower().replace(" ", "_")
    meant = _OTHER_NAMES.get(plain) or next(iter(get_close_matches(plain, COLUMNS, n=1)), None)
    if meant is not None:
        return f"is called {meant} here"
    return f"is not a column of instruments: those are {', '.join(COLUMNS)}"


def _header(line: int, columns: list[str]) -> list[str]:
    if len(columns) == 1 and any(mark in columns[0] for mark in ";\t|"):
        raise _Complaint(line, "separate the columns by commas")
    for column in columns:
        if column not in COLUMNS:
            raise _Complaint(line, _unknown(column), column or "''")
        if columns.count(column) > 1:
            raise _Complaint(line, "is named twice", column)
    for column in REQUIRED:
        if column not in columns:
            raise _Complaint(line, "is missing: the first line names the columns", column)
    return columns


def _yaml_rows(text: str) -> Iterator[_Row]:
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _Complaint(mark.line + 1 if mark else 1, f"is not YAML: {error.problem}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise _Complaint(line, f"is not YAML: {error.reason}") from None
    if root is None:
        raise _Complaint(1, "the file is empty")
    if not isinstance(root, yaml.SequenceNode):
        raise _Complaint(root.start_mark.line + 1, "must be a list of instruments, each beginning with '- symbol: '")
    for node in root.value:
        yield _yaml_row(node)


def _yaml_row(node: yaml.Node) -> _Row:
    line = node.start_mark.line + 1
    if not isinstance(node, yaml.MappingNode):
        raise _Complaint(line, "must be an instrument: lines of 'column: value'")
    row = _Row(line, {})
    for key, value in node.value:
        at = key.start_mark.line + 1
        column = key.value if isinstance(key, yaml.ScalarNode) else "?"
        if column not in COLUMNS:
            raise _Complaint(at, _unknown(column), column)
        if column in row.fields:
            raise _Complaint(at, "is named twice", column)
        row.fields[column], row.lines[column] = _yaml_text(value, column), at
    return row


def _yaml_text(node: yaml.Node, column: str) -> str:
    if isinstance(node, yaml.ScalarNode):
        return "" if node.tag == "tag:yaml.org,2002:null" else str(node.value)
    if column == "aliases" and isinstance(node, yaml.MappingNode):
        return ";".join(f"{_yaml_text(key, '')}={_yaml_text(value, '')}" for key, value in node.value)
    raise _Complaint(node.start_mark.line + 1, "must be a single value", column)
