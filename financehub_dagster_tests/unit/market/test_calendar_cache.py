"""Calendars that are kept in the home: what they save, and that nothing depends on them."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from financehub_dagster.market import calendar_cache, calendar_source, calendars
from financehub_dagster.settings import get_settings

EXCHANGES = ("XNYS", "XTKS", "XBOM", "XXXX")
"""Half days, a lunch break, a calendar that ends, and one that never closes."""

SPAN = (date(1995, 1, 1), date(2026, 12, 31))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home, of which this process has loaded nothing."""
    monkeypatch.setenv("FINANCEHUB_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    forget()
    yield tmp_path / "home"
    forget()


def forget() -> None:
    get_settings.cache_clear()
    calendar_source.calendar.cache_clear()
    calendar_source._load.cache_clear()


def everything() -> list[calendar_source.Calendar]:
    """All of these calendars, as a new process finds them."""
    forget()
    found = [calendars.whole(mic, SPAN[1]) for mic in EXCHANGES]
    return [each for each in found if each is not None]


def assert_same(found: list[calendar_source.Calendar], right: list[calendar_source.Calendar]) -> None:
    assert [each.known_to for each in found] == [each.known_to for each in right]
    for one, other in zip(found, right, strict=True):
        for name, values in other.sessions.arrays().items():
            np.testing.assert_array_equal(one.sessions.arrays()[name], values, name)


def files(home: Path) -> list[Path]:
    return sorted((home / "cache" / "calendars").iterdir())


def test_a_second_process_finds_the_same_sessions_without_the_library(home: Path) -> None:
    made = everything()
    assert len(made) == len(files(home)) == len(EXCHANGES)
    assert_same(everything(), made)
    code = (
        "import sys; from datetime import date; from financehub_dagster.market.calendars import schedule;"
        f"print([len(schedule(mic, date(2020, 1, 1), date(2024, 12, 31)).dates) for mic in {EXCHANGES}]);"
        "print('exchange_calendars' in sys.modules, 'pandas' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    counts, loaded = answer.stdout.splitlines()
    assert counts == str(
        [len(calendars.schedule(mic, date(2020, 1, 1), date(2024, 12, 31)).dates) for mic in EXCHANGES]
    )
    assert loaded == "False False"


@pytest.mark.parametrize("content", [b"", b"rubbish", b"PK\x03\x04 half of an archive"])
def test_a_damaged_file_is_made_again(home: Path, content: bytes) -> None:
    made = everything()
    whole = [file.read_bytes() for file in files(home)]
    for file in files(home):
        file.write_bytes(content)
    assert_same(everything(), made)
    assert [len(file.read_bytes()) for file in files(home)] == [len(each) for each in whole]


def test_a_file_of_yesterday_is_made_again_and_those_that_nobody_reads_go(home: Path) -> None:
    everything()
    left = home / "cache" / "calendars" / "XNYS 1990-2020 4.0.npz"
    left.write_bytes(b"of an older release")
    then = time.time() - calendar_cache.LIFETIME - 60
    for file in files(home):
        os.utime(file, (then, then))
    made = everything()
    assert len(made) == len(files(home)) == len(EXCHANGES)
    assert all(file.stat().st_mtime > then for file in files(home))


@pytest.mark.parametrize("hindrance", ["no home", "no folder for it"])
def test_where_nothing_can_be_kept_calendars_are_made_each_time(home: Path, hindrance: str) -> None:
    made = everything()
    for file in files(home):
        file.unlink()
    files_folder = home / "cache" / "calendars"
    files_folder.rmdir()
    files_folder.parent.rmdir()
    if hindrance == "no home":
        home.rmdir()
    else:
        (home / "cache").write_text("a file")
    assert_same(everything(), made)
    assert home.exists() == (hindrance != "no home")
