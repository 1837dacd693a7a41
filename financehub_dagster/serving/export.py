"""Tables as files: Parquet, CSV or Arrow, streamed in batches, never seen half-written, resumed after an interruption.

Belongs here: what is written where, in which order, and what a second run finds. Does not belong here: file formats
(`file_formats`), SQL.

An export into a folder is a data set of parts, each the rows of some symbols. It grows in a hidden folder beside the
target that is renamed at the end; a run that finds such a folder of the same export goes on after the last part. An
export into a file is written to a hidden file and renamed.
"""

import errno
import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from itertools import batched, chain
from pathlib import Path
from typing import Any

import pyarrow as pa

from financehub_dagster.serving import archived, file_formats, repairing
from financehub_dagster.serving.adjusting import Adjuster
from financehub_dagster.serving.backtesting import engines
from financehub_dagster.serving.errors import ExportFailed, ReadError
from financehub_dagster.serving.questions import TableQuery, require_kept, require_known, with_present_symbols
from financehub_dagster.storage.archive.files import sync
from financehub_dagster.storage.archive.reading import concerned
from financehub_dagster.storage.database import schema
from financehub_dagster.storage.database.engine import transaction
from financehub_dagster.storage.queries import arrow
from financehub_dagster.storage.queries.instruments import list_instruments
from financehub_dagster.tables import BARS_OF

SYMBOLS_PER_PART = 100
"""252,000 rows of ten years of daily bars: a part takes half a second, so an interruption loses little."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""How the system refuses to write where there is no room."""
NOTES = "_export.json"
"""What an export is of, and which parts it has; readers of data sets pass over names that begin with an underscore."""

type Report = Callable[[str, int, int], None]
type Into = Callable[[TableQuery, Path, str, Report], "Exported"]


@dataclass(frozen=True)
class Exported:
    """What an export wrote: files with their rows, in order; resumed: how many of them an earlier run had written."""

    output: Path
    files: Mapping[str, int]
    rows: int
    bytes: int
    as_of: datetime | None
    resumed: int = 0


@dataclass
class _Notes:
    """The content of NOTES: the question, when it was begun, and the rows of each part by its file's name."""

    question: Mapping[str, Any]
    began_at: str
    parts: dict[str, int] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> "_Notes | None":
        try:
            return cls(**json.loads((folder / NOTES).read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def save(self, folder: Path) -> None:
        temporary = folder / f".{NOTES}.new"
        temporary.write_text(json.dumps(asdict(self), indent=1) + "\n")
        sync(temporary)
        temporary.replace(folder / NOTES)


def export(question: TableQuery, output: Path, form: str, report: Report) -> Exported:
    """Write the answer to `question` to `output`: one file if its name ends like one of the format, else a folder.

    Raises ReadError for an unknown symbol, and for a target that another export writes or that is no export;
    ExportFailed, for example where the disk is full; DatabaseError.
    """
    output = output.expanduser().resolve()
    if form in engines.ENGINES:
        return _written(_for_engine, question, output, form, report)
    if output.suffix != file_formats.SUFFIXES[form] and output.suffix in file_formats.SUFFIXES.values():
        raise ReadError(f"{output.name} does not end in {file_formats.SUFFIXES[form]}: change the name or the format")
    into = _into_file if output.suffix == file_formats.SUFFIXES[form] else _into_folder
    return _written(into, question, output, form, report)


def _written(into: Into, question: TableQuery, output: Path, form: str, report: Report) -> Exported:
    try:
        return into(question, output, form, report)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else " ".join(str(error).split())
        remedy = "make room, or choose another --output" if error.errno in FULL else "choose another --output"
        raise ExportFailed(f"{output} cannot be written: {reason}; {remedy}") from None


def _into_file(question: TableQuery, output: Path, form: str, report: Report) -> Exported:
    if output.is_dir():
        raise ReadError(f"{output} is a folder: name a file, or a folder that does not end in {output.suffix}")
    output.parent.mkdir(parents=True, exist_ok=True)
    with arrow.reading() as reader, _own_file(output) as temporary:
        writer, rows = None, 0
        question = _of_present(reader, question)
        groups, adjuster = _groups(reader, question), Adjuster(reader, question)
        for done, group in enumerate(groups):
            for batch in _ahead(reader, _of(question, group)):
                wanted = adjuster.apply(batch)
                writer = writer or file_formats.writer(form, temporary, wanted.schema)
                writer.write(wanted)
                rows += wanted.num_rows
            report(question.table, done + 1, len(groups))
        if writer is not None:
            writer.close()
        sync(temporary)
        temporary.replace(output)
    return Exported(output, {output.name: rows}, rows, output.stat().st_size, question.selection.as_of)


def _into_folder(question: TableQuery, output: Path, form: str, report: Report) -> Exported:
    _require_ours(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    growing = output.with_name(f".{output.name}.new")
    with _own_folder(growing, output, goes_on=True), arrow.reading() as reader:
        question = _of_present(reader, question)
        groups = _groups(reader, question)
        notes, resumed = _begin(growing, question, form)
        if resumed and arrow.has_history(question.selection.table) and question.selection.as_of is None:
            at = datetime.fromisoformat(notes.began_at)
            question = replace(question, selection=replace(question.selection, as_of=at))
        adjuster = Adjuster(reader, question)
        for number, group in enumerate(groups):
            name = f"part-{number:04d}{file_formats.SUFFIXES[form]}"
            if name not in notes.parts:
                batches = _ahead(reader, _of(question, group))
                notes.parts[name] = _write_part(
                    growing / name, form, map(adjuster.apply, batches), keep_empty=not number
                )
                notes.save(growing)
            report(question.table, number + 1, len(groups))
        _replace_folder(growing, output)
    files = {name: rows for name, rows in notes.parts.items() if (output / name).exists()}
    size = sum((output / name).stat().st_size for name in files)
    return Exported(output, files, sum(files.values()), size, question.selection.as_of, resumed)


def _for_engine(question: TableQuery, output: Path, form: str, report: Report) -> Exported:
    engines.require_daily_bars(question.table)
    if output.suffix in file_formats.SUFFIXES.values():
        raise ReadError(f"the data of {form} are a folder: choose an --output that does not end in {output.suffix}")
    if question.basis != "split" or set(question.columns) != set(question.selection.table.c.keys()):
        raise ReadError(f"{form} gets its own columns on its own basis of prices: leave --columns and --adjust out")
    _require_ours(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    growing = output.with_name(f".{output.name}.new")
    with _own_folder(growing, output, goes_on=False):
        with arrow.reading() as reader:
            question = _of_present(reader, question)
            require_known(reader, question.selection.symbols or ())
        with transaction() as connection:
            kinds, symbols = BARS_OF[question.table], question.selection.symbols
            members = list_instruments(connection, kinds, symbols, active=None, all_known=False)
        _clear(growing)
        members = sorted(members, key=lambda each: each.symbol)
        files = engines.ENGINES[form](question, members, growing, partial(report, question.table))
        _Notes(_told(question, form), datetime.now(UTC).isoformat(), files).save(growing)
        _replace_folder(growing, output)
    size = sum(path.stat().st_size for path in output.rglob("*") if path.is_file())
    return Exported(output, files, sum(files.values()), size, question.selection.as_of)


def _clear(folder: Path) -> None:
    """Remove what an export has left in its folder that nobody goes on with."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _begin(growing: Path, question: TableQuery, form: str) -> tuple[_Notes, int]:
    """The notes of the export that is under way there if it is of the same question, or of a new one."""
    same = _told(question, form)
    found = _Notes.read(growing)
    if found is not None and found.question == same:
        return found, len(found.parts)
    _clear(growing)
    notes = _Notes(same, datetime.now(UTC).isoformat())
    notes.save(growing)
    return notes, 0


def _told(question: TableQuery, form: str) -> dict[str, Any]:
    """The question as NOTES has it."""
    asked = question.selection
    return {
        "table": question.table,
        "columns": list(question.columns),
        "symbols": None if asked.symbols is None else list(asked.symbols),
        "start": None if asked.start is None else asked.start.isoformat(),
        "end": None if asked.end is None else asked.end.isoformat(),
        "as_of": None if asked.as_of is None else asked.as_of.isoformat(),
        "adjust": question.basis,
        "repaired": question.selection.repaired,
        "format": form,
    }


def _of_present(reader: arrow.Reader, question: TableQuery) -> TableQuery:
    """The question under the symbols that instruments have now; raises ReadError for a time that cannot be told."""
    require_kept(reader, question)
    asked = question.selection.symbols
    return question if asked is None else with_present_symbols(reader, question, asked)


def _groups(reader: arrow.Reader, question: TableQuery) -> list[list[str] | None]:
    """The symbols of each part, in order; [None] for a table without symbols."""
    asked = question.selection
    if asked.symbols is not None:
        require_known(reader, asked.symbols)
    if "symbol" not in asked.table.c or asked.table is schema.instruments:
        return [None if asked.symbols is None else list(asked.symbols)]
    symbols = reader.known_symbols() if asked.symbols is None else sorted(asked.symbols)
    return [list(group) for group in batched(symbols, SYMBOLS_PER_PART)] or [None]


def _of(question: TableQuery, group: list[str] | None) -> TableQuery:
    return replace(question, selection=replace(question.selection, symbols=group))


def _ahead(reader: arrow.Reader, question: TableQuery) -> Iterator[pa.Table]:
    """The batches of a question, each read while the one before is written; at least one, which may be empty."""
    selection = question.selection
    if repairing.concerned(question):
        yield repairing.repaired(reader, question)
        return
    if concerned(selection):
        yield from archived.parts(reader, selection)
        return
    with reader.batches(selection) as batches, ThreadPoolExecutor(1) as pool:
        yield batches.schema.empty_table()
        coming = pool.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = pool.submit(next, batches, None)
            yield pa.Table.from_batches([batch])


def _write_part(path: Path, form: str, tables: Iterator[pa.Table], *, keep_empty: bool) -> int:
    """Write a part and return its rows; one without any is left out, unless `keep_empty`: it has the columns' types."""
    temporary = path.with_name(f".{path.name}.new")
    first = next(tables)
    writer, rows = file_formats.writer(form, temporary, first.schema), 0
    for table in chain([first], tables):
        writer.write(table)
        rows += table.num_rows
    writer.close()
    if rows or keep_empty:
        sync(temporary)
        temporary.replace(path)
    else:
        temporary.unlink()
    return rows


def _require_ours(output: Path) -> None:
    if output.is_file():
        raise ReadError(f"{output} is a file: name a folder, or a file that ends like the format")
    if output.is_dir() and any(output.iterdir()) and _Notes.read(output) is None:
        raise ReadError(f"{output} holds other files than an export's: choose another --output")


def _replace_folder(growing: Path, output: Path) -> None:
    """Put a finished folder in the place of an older export, if there is one."""
    if output.exists():
        old = output.with_name(f".{output.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        output.rename(old)
        growing.rename(output)
        shutil.rmtree(old)
    else:
        growing.rename(output)


@contextmanager
def _own_file(output: Path) -> Iterator[Path]:
    """A hidden file beside `output` for this process alone, which puts it in its place, or fails and leaves nothing."""
    temporary = output.with_name(f".{output.name}.new")
    with _locked(temporary, os.O_WRONLY | os.O_CREAT, output):
        try:
            yield temporary
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


@contextmanager
def _own_folder(growing: Path, output: Path, *, goes_on: bool) -> Iterator[None]:
    """A hidden folder for this process alone, which puts it in its place.

    If the export does not come to its end, what there is stays for one that goes on from there, and goes otherwise.
    """
    growing.mkdir(exist_ok=True)
    with _locked(growing, os.O_RDONLY, output):
        try:
            yield
        except BaseException:
            with suppress(OSError):
                if not goes_on:
                    _clear(growing)
                growing.rmdir()
            raise


@contextmanager
def _locked(path: Path, flags: int, output: Path) -> Iterator[None]:
    handle = os.open(path, flags, 0o666)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ReadError(f"another export is writing to {output}: wait for it, or choose another --output") from None
        if not path.exists() or os.fstat(handle).st_ino != path.stat().st_ino:
            raise ReadError(f"another export has just finished {output}: run this one again if it should be replaced")
        yield
    finally:
        os.close(handle)
