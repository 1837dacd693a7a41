"""A connection that was refused, and what that means.

Belongs here: distinguishing a base URL override on this machine that does not run from an unreachable vendor. Does not
belong here: noticing it (the sessions).
"""

from financehub_dagster.gateway.addresses import is_loopback
from financehub_dagster.gateway.errors import OverrideDown, Unreachable
from financehub_dagster.gateway.request_context import Call


def refused(call: Call) -> Unreachable:
    """The error for it: a network may come back by itself, a server of this machine has to be started."""
    policy = call.client.policy
    address = policy.place.removeprefix("@")
    if address and is_loopback(f"http://{address}"):
        problem = f"nothing answers at {address}, its base URL override; start the sandbox: `financehub up --sandbox`"
        return OverrideDown(policy.provider, problem, symbol=call.symbol)
    return Unreachable(policy.provider, "no connection could be made; is the network up?", symbol=call.symbol)
