"""A call leaves at its slot or not at all.

Belongs here: sleeping until a slot, and what becomes of one that was slept through. Does not belong here: handing out
slots (storage.rate_limits) and whose they are (throttle).

Slots lie as close together as the limit allows. A process that is not given the processor in time would send its call
together with those of the next slots, and the vendor would count one too many in its window.
"""

import math
import time
from collections.abc import Callable, Sequence

from financehub_dagster.gateway.pausing import pause
from financehub_dagster.storage.rate_limits.limiter import Limit, Slot


def keep(slot: Slot, limits: Sequence[Limit], another: Callable[[], Slot]) -> None:
    """Sleep until `slot`; where that was slept through, until `another` one, which raises when there is none."""
    tolerance = min((limit.tolerance for limit in limits), default=math.inf)
    while True:
        pause(slot.wait)
        if time.monotonic() <= slot.due + tolerance:
            return
        slot = another()
