"""Which processes use the embedded server: one file per process, named by its pid, holding its start.

A process that was killed leaves its file behind; the start tells it from a later process with the same pid. Every
function expects the caller to hold the inter-process lock of `server`.
"""

import os
from pathlib import Path

from financehub_dagster.storage.database import processes


def add(folder: Path) -> None:
    """Register this process."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / str(os.getpid())).write_text(processes.start_of(os.getpid()))


def remove(folder: Path) -> None:
    """Take this process off the list."""
    (folder / str(os.getpid())).unlink(missing_ok=True)


def live(folder: Path) -> list[int]:
    """The pids of the registered processes that are alive; removes the files of the others."""
    if not folder.is_dir():
        return []
    pids = []
    for file in sorted(folder.iterdir()):
        if _is_alive(file):
            pids.append(int(file.name))
        else:
            file.unlink(missing_ok=True)
    return pids


def _is_alive(file: Path) -> bool:
    try:
        return processes.is_alive(int(file.name), file.read_text())
    except ValueError:
        return False
