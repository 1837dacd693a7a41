"""Which processes use the embedded server: one file per process, named by its pid, holding its start time.

A process that was killed leaves its file behind; the start time tells it from a later process with the same pid. Every
function expects the caller to hold the inter-process lock of `server`.
"""

import os
from pathlib import Path

import psutil

CLOCK_SLACK = 2.0
"""Seconds by which two readings of a process's start time may differ: it is derived from the machine's boot time."""


def add(folder: Path) -> None:
    """Register this process."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / str(os.getpid())).write_text(str(psutil.Process().create_time()))


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
        process = psutil.Process(int(file.name))
        same = abs(process.create_time() - float(file.read_text())) <= CLOCK_SLACK
        return same and process.status() != psutil.STATUS_ZOMBIE
    except (ValueError, psutil.NoSuchProcess):
        return False
