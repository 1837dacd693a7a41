"""Calendars that exchange_calendars has made, as files: each process would spend 0.2 s of CPU time on each exchange.

Belongs here: the files and when they are made again. Does not belong here: making calendars (`calendar_source`).

A file under `cache/calendars` of the home is one calendar over its years, as one release of the library makes it. It is
made again a day later, since opening hours in UTC also follow the system's time zones, which an update may change. A
file that cannot be read is made again, and where none can be written calendars are made each time.
"""

import json
import os
import tempfile
import time
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from financehub_dagster.settings import get_settings

LIFETIME = 86_400.0
"""Seconds after which a file is made again."""

type Arrays = Mapping[str, NDArray[Any]]


def stored(name: str, first_year: int, last_year: int) -> tuple[Arrays, dict[str, Any]] | None:
    """The arrays and the facts that were kept of a calendar over these years; None where there are none."""
    path = _path(name, first_year, last_year)
    try:
        if time.time() - path.stat().st_mtime > LIFETIME:
            return None
        with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            arrays = {key: kept[key] for key in kept.files}
        return arrays, json.loads(str(arrays.pop("facts")))
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
        return None


def store(name: str, first_year: int, last_year: int, arrays: Arrays, facts: Mapping[str, Any]) -> None:
    """Keep a calendar's arrays and facts (JSON values), and remove the files that nobody reads any more."""
    path = _path(name, first_year, last_year)
    if not get_settings().home.is_dir():  # reading a calendar makes nobody a home
        return
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(dir=path.parent, suffix=".draft")
        try:
            with os.fdopen(handle, "wb") as open_file:
                np.savez_compressed(open_file, allow_pickle=False, facts=np.array(json.dumps(facts)), **arrays)
            Path(draft).replace(path)
        finally:
            Path(draft).unlink(missing_ok=True)
        for file in path.parent.glob("*"):  # of other years and releases, and drafts of processes that were killed
            if time.time() - file.stat().st_mtime > LIFETIME:
                file.unlink(missing_ok=True)


def _path(name: str, first_year: int, last_year: int) -> Path:
    release = version("exchange_calendars")
    file = f"{name.replace('/', '-')} {first_year}-{last_year} {release}.npz"
    return get_settings().home / "cache" / "calendars" / file
