"""How often Python looks for garbage in processes of ours.

Belongs here: the settings that they share. Does not belong here: memory of a single piece of work.
"""

import gc
import threading

NEW_OBJECTS = 20_000
"""Objects made and not yet gone before Python looks among them; its own 700 suit programs a hundredth of the size."""

LOOKS = 5
"""Looks among younger objects before it looks among older ones."""

EVERY_SECONDS = 600.0
"""How often a process that goes on for days looks among all objects, for a tenth of a second.

By the numbers above it would do so every hour or two. Until then Dagster's daemon keeps each copy of the code location
that it has read, 85,000 objects that refer to each other, and a code server what its ticks leave.
"""


def collect_seldom() -> None:
    """Take what is loaded so far for what stays, and look for garbage seldom.

    Libraries and definitions are a million objects that live as long as the process; with Python's own setting, looking
    for garbage among them takes a seventh of the CPU time of a run.
    """
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS, LOOKS, LOOKS)


def collect_regularly() -> None:
    """Look among all objects every EVERY_SECONDS, in a thread that ends with the process."""

    def look() -> None:
        pause = threading.Event()
        while not pause.wait(EVERY_SECONDS):
            gc.collect()

    threading.Thread(target=look, name="garbage collection", daemon=True).start()
