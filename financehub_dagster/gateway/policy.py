"""How a vendor wants to be asked: limits, timeouts and what its answers mean.

Belongs here: the values a provider hands to its client. Does not belong here: any vendor's numbers.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from financehub_dagster.gateway.api_keys import Auth, Key
from financehub_dagster.gateway.errors import ProviderError
from financehub_dagster.gateway.response import Reply
from financehub_dagster.storage.rate_limits.limiter import Limit
from financehub_dagster.storage.rate_limits.quotas import Quota, Reading


@dataclass(frozen=True, slots=True)
class Timeouts:
    """The times of one request, in seconds.

    connect and total bound one try, body_bytes the size of its answer. A request is tried at most `tries` times within
    `deadline` seconds, counted from its first slot, with pauses of first_pause x 2^n plus jitter up to longest_pause.
    No slot is waited for longer than `max_wait`.
    """

    connect: float = 5.0
    total: float = 15.0
    body_bytes: int = 64 * 2**20
    tries: int = 4
    first_pause: float = 2.0
    longest_pause: float = 32.0
    jitter: float = 1.0
    deadline: float = 30.0
    max_wait: float = 60.0


@dataclass(frozen=True, slots=True)
class BreakerSettings:
    """Open after `threshold` failed requests in a row, for `open_seconds`, doubling with each failed probe.

    A probe that is not heard of within `probe_seconds` counts as lost.
    """

    threshold: int = 5
    open_seconds: float = 30.0
    probe_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a vendor's answer means.

    refusal: the error an answer stands for, None when it is usable. weight: what a request to a path costs of the
    limits. pause: seconds of silence that a usable answer asks for, as when the vendor's own counter runs full.
    cost: what the vendor says the request did cost, None when it does not say. readings: what it says is left.
    """

    refusal: Callable[[Reply], ProviderError | None]
    weight: Callable[[str], int] = field(default=lambda _path: 1)
    pause: Callable[[Reply], float] = field(default=lambda _reply: 0.0)
    cost: Callable[[Reply], int | None] = field(default=lambda _reply: None)
    readings: Callable[[Reply], Sequence[Reading]] = field(default=lambda _reply: ())


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything the client has to know about one vendor.

    The vendor counts per address, or per key where `auth` says how a key travels: then each of `keys` has limits and
    quotas of its own, and a provider without any is off. place is empty, or @host:port of a base URL
    override: requests to it are not counted against the vendor.
    """

    provider: str
    limits: tuple[Limit, ...]
    meaning: Meaning
    timeouts: Timeouts = Timeouts()
    breaker: BreakerSettings = BreakerSettings()
    place: str = ""
    quotas: tuple[Quota, ...] = ()
    auth: Auth | None = None
    keys: tuple[Key, ...] = ()

    def account(self, key: Key | None = None) -> str:
        """The scope under which limits and usage are booked: a key's fingerprint, or ip."""
        return ("ip" if key is None else key.fingerprint) + self.place
