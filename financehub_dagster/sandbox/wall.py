"""The clock by which calls are counted: it runs on while a test stops the market's.

Belongs here: that clock. Does not belong here: the market's time.
"""

import time


def wall_clock() -> float:
    """UTC epoch seconds."""
    return time.time()
