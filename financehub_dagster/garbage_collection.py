"""How often Python looks for garbage in processes of ours.

Belongs here: the one setting all of them share. Does not belong here: memory of a single piece of work.
"""

import gc

NEW_OBJECTS = 20_000
"""Objects made and not yet gone before Python looks among them; its own 700 suit programs a hundredth of the size."""

LOOKS = 5
"""Looks among younger objects before it looks among older ones.

Dagster's daemon reads the code location anew every minute, 85,000 objects that refer to each other; with 20 looks,
copies that nobody uses any more may stay for an hour and a half.
"""


def collect_seldom() -> None:
    """Take what is loaded so far for what stays, and look for garbage seldom.

    Libraries and definitions are a million objects that live as long as the process; with Python's own setting, looking
    for garbage among them takes a seventh of the CPU time of a run.
    """
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS, LOOKS, LOOKS)
