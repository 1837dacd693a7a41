"""Exports: the same rows as `read`, in every format, atomic, resumed, refused where another one writes."""

import fcntl
import json
import os
import re
import resource
import signal
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pyarrow import compute, csv, parquet

from financehub_dagster import read
from financehub_dagster.serving import export as exports
from financehub_dagster.serving.errors import ExportFailed, ReadError
from financehub_dagster.serving.questions import ask
from financehub_dagster.storage.database import schema
from financehub_dagster_tests.unit.serving import stored
from financehub_dagster_tests.unit.serving.stored import DAYS, FIRST, SYMBOLS, one_in_pence

BARS = "stock_prices_daily"

pytestmark = pytest.mark.usefixtures("before")


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """One symbol per part."""
    monkeypatch.setattr(exports, "SYMBOLS_PER_PART", 1)


def silent(what: str, done: int, total: int) -> None:
    pass


class Interrupted(Exception):
    pass


def interrupt_after(parts: int) -> exports.Report:
    """A progress that breaks the export off after so many parts, as Ctrl-C does."""

    def report(what: str, done: int, total: int) -> None:
        if done == parts:
            raise Interrupted

    return report


def export(output: Path, form: str = "parquet", report: exports.Report = silent, **asked: Any) -> exports.Exported:
    return exports.export(ask(BARS, **asked), output, form, report)


def frame(folder: Path) -> pd.DataFrame:
    """The rows of a folder of Parquet files, with the types that `read` gives."""
    found: pd.DataFrame = parquet.read_table(folder).to_pandas(date_as_object=False)
    return found


@pytest.mark.parametrize("form", ["parquet", "csv", "arrow"])
def test_a_file_of_each_format_holds_what_read_gives(tmp_path: Path, form: str) -> None:
    file = tmp_path / "new folder" / f"bars.{form}"
    done = export(file, form, symbols="AAPL,MSFT", start="2024-01-10", adjust="raw")
    expected = read(BARS, symbols="AAPL,MSFT", start="2024-01-10", adjust="raw", to="arrow")
    readers = {
        "parquet": parquet.read_table,
        "csv": lambda path: csv.read_csv(path, convert_options=csv.ConvertOptions(column_types={"flags": pa.string()})),
        "arrow": lambda path: pa.ipc.open_file(path).read_all(),
    }
    found = readers[form](file)
    if form == "csv":  # which has no lists
        joined = compute.binary_join(expected["flags"], ";")
        expected = expected.set_column(expected.column_names.index("flags"), "flags", joined)
    assert found.cast(expected.schema).equals(expected)
    assert done == exports.Exported(file, {file.name: expected.num_rows}, expected.num_rows, file.stat().st_size, None)
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_a_folder_is_one_data_set_for_pandas_polars_and_arrow(tmp_path: Path) -> None:
    folder = tmp_path / "bars"
    done = export(folder)
    assert done.files == {f"part-{number:04d}.parquet": DAYS for number in range(3)}
    expected = read(BARS)
    pd.testing.assert_frame_equal(frame(folder), expected)
    assert pd.read_parquet(folder)["close"].tolist() == expected["close"].tolist()
    assert pl.read_parquet(folder / "*.parquet").equals(read(BARS, to="polars"))
    assert parquet.read_table(folder).num_rows == len(expected)
    notes = json.loads((folder / "_export.json").read_text())
    assert (notes["question"]["table"], sum(notes["parts"].values())) == (BARS, len(expected))


@pytest.mark.parametrize("name", sorted(schema.metadata.tables))
@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_every_declared_table_can_be_exported(tmp_path: Path, name: str, form: str) -> None:
    done = exports.export(ask(name), tmp_path / f"it.{form}", form, silent)
    assert done.rows == read(name, to="arrow").num_rows


def test_an_interrupted_export_is_not_seen_and_goes_on_as_of_its_beginning(tmp_path: Path) -> None:
    folder = tmp_path / "bars"
    with pytest.raises(Interrupted):
        export(folder, report=interrupt_after(1))
    assert not folder.exists()
    known = read(BARS)
    first = (tmp_path / ".bars.new" / "part-0000.parquet").stat()
    stored.store(schema.table(BARS), stored.bars(("MSFT",), raised=9))
    done = export(folder)
    assert (done.resumed, done.rows) == (1, len(SYMBOLS) * DAYS)
    assert (folder / "part-0000.parquet").stat().st_ino == first.st_ino
    pd.testing.assert_frame_equal(frame(folder), known)
    assert done.as_of is not None
    assert [path.name for path in tmp_path.iterdir()] == ["bars"]
    stored.store(schema.table(BARS), stored.bars(("MSFT",)))


def test_another_question_starts_again_and_a_finished_export_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "bars"
    export(folder)
    with pytest.raises(Interrupted):
        export(folder, report=interrupt_after(2), start="2024-01-02")
    assert parquet.read_table(folder).num_rows == len(SYMBOLS) * DAYS
    done = export(folder, start="2024-01-03")
    assert done.resumed == 0
    assert parquet.read_table(folder).num_rows == len(SYMBOLS) * (DAYS - 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bars"]


def test_an_interrupted_file_leaves_the_one_before_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "bars.csv"
    file.write_text("mine")
    with pytest.raises(Interrupted):
        export(file, "csv", report=interrupt_after(1))
    assert file.read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["bars.csv"]


def test_what_a_killed_export_left_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / ".bars.csv.new").write_text("half a line")
    (tmp_path / ".bars.new").mkdir()
    (tmp_path / ".bars.new" / "_export.json").write_text('{"question": {"ta')
    (tmp_path / ".bars.new" / ".part-0000.parquet.new").write_text("PAR1")
    assert export(tmp_path / "bars.csv", "csv").rows == len(SYMBOLS) * DAYS
    assert export(tmp_path / "bars").rows == len(SYMBOLS) * DAYS
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bars", "bars.csv"]
    assert not [path for path in (tmp_path / "bars").iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("name", ["bars", "bars.csv"])
def test_two_exports_to_one_place_are_refused(tmp_path: Path, name: str) -> None:
    other = tmp_path / f".{name}.new"
    other.touch() if name.endswith("csv") else other.mkdir()
    handle = os.open(other, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(ReadError, match=f"another export is writing to {re.escape(str(tmp_path / name))}:"):
        export(tmp_path / name, "csv")
    os.close(handle)
    assert export(tmp_path / name, "csv").rows == len(SYMBOLS) * DAYS


def test_targets_that_are_no_exports_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("dear")
    (tmp_path / "file").write_text("dear")
    (tmp_path / "folder.csv").mkdir()
    for name, form, message in (
        ("mine", "csv", "holds other files than an export's"),
        ("file", "csv", "is a file: name a folder"),
        ("folder.csv", "csv", "is a folder: name a file"),
        ("bars.parquet", "csv", "does not end in .csv"),
    ):
        with pytest.raises(ReadError, match=message):
            export(tmp_path / name, form)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "dear"
    with pytest.raises(ReadError, match="unknown symbol APPL"):
        export(tmp_path / "bars", symbols="APPL")


@pytest.mark.parametrize("name", ["bars.csv", "bars"])
def test_an_export_leaves_alone_what_the_next_one_has_begun(tmp_path: Path, name: str, monkeypatch) -> None:
    """The next one begins as soon as this one has put its own in its place."""
    began = Path.rename

    def rename(self: Path, target: Path) -> Path:
        done = began(self, target)
        if target == tmp_path / name:
            self.mkdir()
        return done

    monkeypatch.setattr(Path, "rename", rename)
    monkeypatch.setattr(Path, "replace", rename)
    export(tmp_path / name, "csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == [f".{name}.new", name]


@pytest.mark.parametrize("form", ["csv", "lean", "nautilus"])
def test_where_nobody_may_write_room_is_no_remedy(tmp_path: Path, form: str) -> None:
    (tmp_path / "a file").touch()
    output = tmp_path / "a file" / "bars"
    with pytest.raises(ExportFailed) as failed:
        export(output, form)
    assert re.fullmatch(rf"{output} cannot be written: [A-Z][a-z ]+; choose another --output", str(failed.value))


def test_a_file_that_cannot_be_written_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    """A limit on the size of files stands for a full disk: the system refuses in the same way."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        for name in ("bars.csv", "bars"):
            with pytest.raises(ExportFailed, match="cannot be written: .*; make room, or choose another") as failed:
                export(tmp_path / name, "csv")
            assert "\n" not in str(failed.value)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert not [path for path in tmp_path.iterdir() if not path.name.startswith(".bars.new")]
    assert export(tmp_path / "bars", "csv").rows == len(SYMBOLS) * DAYS


def test_nothing_to_export_is_an_empty_file_with_the_columns(tmp_path: Path) -> None:
    assert export(tmp_path / "bars", symbols="NONE").rows == 0
    assert parquet.read_table(tmp_path / "bars").column_names == list(schema.table(BARS).c.keys())


def test_an_export_as_of_a_time_holds_what_was_known(tmp_path: Path, before: datetime) -> None:
    done = export(tmp_path / "bars.arrow", "arrow", as_of=before.astimezone(UTC))
    assert done.as_of == before
    assert pa.ipc.open_file(done.output).read_all().equals(read(BARS, as_of=before, to="arrow"))


def test_repaired_bars_are_exported_as_they_are_read_and_are_another_question(tmp_path: Path) -> None:
    day = FIRST + timedelta(days=30)
    with one_in_pence("MSFT", day):
        stored, repaired = (
            export(tmp_path / f"{name}.parquet", repaired=name == "repaired") for name in ("stored", "repaired")
        )
        expected = [read(BARS, repaired=wanted) for wanted in (False, True)]
        for done, frame_of in zip((stored, repaired), expected, strict=True):
            pd.testing.assert_frame_equal(frame(done.output), frame_of)
        assert expected[0]["close"].max() > 99 * expected[0]["close"].min()
        assert expected[1]["close"].max() < 2 * expected[1]["close"].min()
        with pytest.raises(Interrupted):
            export(tmp_path / "bars", report=interrupt_after(1), repaired=True)
        assert export(tmp_path / "bars").resumed == 0
        with pytest.raises(Interrupted):
            export(tmp_path / "again", report=interrupt_after(1), repaired=True)
        assert export(tmp_path / "again", repaired=True).resumed == 1
        pd.testing.assert_frame_equal(frame(tmp_path / "again"), expected[1])


def test_a_part_is_read_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from financehub_dagster.storage.queries import arrow

    monkeypatch.setattr(arrow, "BATCH_BYTES", 500)
    question = ask(BARS)
    with arrow.reading() as reader, reader.batches(replace(question.selection)) as batches:
        sizes = [batch.num_rows for batch in batches]
    assert sum(sizes) == len(SYMBOLS) * DAYS
    assert max(sizes) < 20
    assert export(tmp_path / "bars.csv", "csv").rows == len(SYMBOLS) * DAYS
