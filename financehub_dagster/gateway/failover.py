"""Asking one vendor after another until one answers.

Belongs here: when the next one is asked, how long an earlier one may take, and until when work is deferred that no
vendor accepts. Does not belong here: the order of vendors (providers.routing, from configuration).
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from financehub_dagster.gateway.deadline import deadline
from financehub_dagster.gateway.errors import (
    BreakerOpen,
    BurstLimit,
    Limited,
    NotConfigured,
    ProviderError,
    Transient,
    UnknownSymbol,
)

HASTE_SECONDS = 4.0
"""What a request may take, from its first try on, while another vendor stands ready: with the time to ask that one, an
outage is bridged within five seconds."""

LONGEST_WAIT = timedelta(seconds=60)
"""Seconds a run may wait for a vendor; work that has to wait longer is deferred."""
PROBE = timedelta(minutes=1)
"""How long work is deferred that waits for the probe of a circuit breaker."""
UNKNOWN_END = timedelta(hours=1)
"""How long work is deferred after a limit that does not say when it ends."""

_logger = logging.getLogger("financehub.gateway")


@dataclass(frozen=True, slots=True)
class Candidate[P]:
    """A vendor that could answer. names: does the instrument in question say what this vendor calls it?"""

    name: str
    provider: P
    names: bool = False


def first_answer[P, R](candidates: Sequence[Candidate[P]], ask: Callable[[P], R]) -> R:
    """The answer of the first candidate that has one.

    An outage, an open breaker, a spent quota, a missing or refused key, a plan without it, and a question that this
    vendor finds impossible send the work to the next one at once. A symbol the vendor does not know goes on only to
    those the instrument names its symbol for: the same letters may be another company elsewhere. When nobody answers,
    raises the error that may pass first, followed by what the others said.
    """
    if not candidates:
        raise ValueError("nobody to ask: the list of providers is empty")
    errors: list[ProviderError] = []
    for position, candidate in enumerate(candidates):
        if not all(goes_on(error, candidate.names) for error in errors):
            continue
        last = position == len(candidates) - 1
        try:
            with deadline(None if last else HASTE_SECONDS):
                return ask(candidate.provider)
        except ProviderError as error:
            errors.append(error)
            if not last and not isinstance(error, NotConfigured):
                _logger.info("%s; asking the next provider", error)
    first = min(errors, key=_passes)
    raise with_others(first, [error for error in errors if error is not first]) from None


def with_others(error: ProviderError, others: Sequence[ProviderError]) -> ProviderError:
    """The same error whose line is followed by those of `others`, vendors without a key left out."""
    said = [str(other) for other in others if not isinstance(other, NotConfigured)]
    if not said:
        return error
    # Made anew, since one error may stand for many instruments; its message is redacted already.
    told = type(error).__new__(type(error))
    told.__dict__.update(error.__dict__)
    told.args = ("; ".join(dict.fromkeys([str(error), *said])),)
    return told


def goes_on(error: ProviderError, named: bool) -> bool:
    """May a vendor be asked after another one gave this error? `named`: the instrument says what it is called there."""
    return named or not isinstance(error, UnknownSymbol)


def deferred_until(error: ProviderError) -> datetime | None:
    """When to ask again (UTC) after an error that ends at a time of its own; None where trying is what it takes.

    A spent budget, a ban and an open breaker are such errors, and a limit of calls that is over a minute away.
    """
    if not isinstance(error, Limited):
        return None
    now = datetime.now(UTC)
    end = error.until
    if end is None and error.retry_after is not None:
        end = now + timedelta(seconds=error.retry_after)
    if isinstance(error, BurstLimit) and (end is None or end - now <= LONGEST_WAIT):
        return None
    return end or now + (PROBE if isinstance(error, BreakerOpen) else UNKNOWN_END)


def _passes(error: ProviderError) -> tuple[int, float]:
    """Orders errors by when they may pass: by trying again, by themselves, by a person's doing, with a key at best."""
    until = deferred_until(error)
    if until is not None:
        return 1, until.timestamp()
    if isinstance(error, Transient | Limited):
        return 0, 0.0
    return 3 if isinstance(error, NotConfigured) else 2, 0.0
