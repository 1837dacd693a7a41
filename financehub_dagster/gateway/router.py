"""Asking one vendor after another until one answers.

Belongs here: when the next one is asked, and how long an earlier one may take. Does not belong here: which vendors
stand in which order (providers.routing, from configuration).
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from financehub_dagster.gateway.errors import NotConfigured, ProviderError, UnknownSymbol
from financehub_dagster.gateway.haste import haste

HASTE_SECONDS = 4.0
"""What a request may take, from its first try on, while another vendor stands ready: with the time to ask that one, an
outage is bridged within five seconds."""

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
    raises the first one's error, except that of a provider that is off.
    """
    if not candidates:
        raise ValueError("nobody to ask: the list of providers is empty")
    errors: list[ProviderError] = []
    for position, candidate in enumerate(candidates):
        if not all(goes_on(error, candidate.names) for error in errors):
            continue
        last = position == len(candidates) - 1
        try:
            with haste(None if last else HASTE_SECONDS):
                return ask(candidate.provider)
        except ProviderError as error:
            errors.append(error)
            if not last and not isinstance(error, NotConfigured):
                _logger.info("%s; asking the next provider", error)
    raise _telling(errors) from None


def goes_on(error: ProviderError | None, named: bool) -> bool:
    """May a vendor be asked after another one gave this error? `named`: the instrument says what it is called there."""
    return named or not isinstance(error, UnknownSymbol)


def _telling(errors: Sequence[ProviderError]) -> ProviderError:
    """The error that says most: the first of a provider that is on."""
    return next((error for error in errors if not isinstance(error, NotConfigured)), errors[0])
