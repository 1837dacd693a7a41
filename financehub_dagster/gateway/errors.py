"""What can go wrong between us and a vendor, as one tree.

    ProviderError
    ├── UnknownSymbol      the vendor does not know the symbol          never retried
    ├── BadRequest         we asked for something impossible            never retried
    ├── NotConfigured      no key: the provider is off                  not sent at all
    ├── BadKey             key invalid or disabled                      the next key, if there is one
    ├── NotInPlan          the plan does not include the endpoint       never retried
    ├── Limited            the vendor, or our own limit, says wait
    │   ├── BurstLimit     for seconds                                  retried in the call
    │   ├── QuotaSpent     until a reset                                the next key, else deferred
    │   └── Banned         until a time                                 silence until then
    ├── BreakerOpen        too many failures lately                     not sent at all
    └── Transient          may go away by itself                        retried in the call
        ├── Unreachable    no connection
        │   └── OverrideDown  at a base URL override on this machine    never retried
        └── Malformed      an answer that cannot be read

An empty answer is not an error: it is an answer with no rows. Messages carry no URL and no key: they are redacted here,
where they are built.
"""

from datetime import datetime

from financehub_dagster.gateway.redaction import redact


class ProviderError(Exception):
    """A vendor could not serve one piece of work.

    provider names the vendor; the message is one line that says what happened and, where there is one, the remedy.
    retry_after is seconds, until an instant in UTC, where the vendor or our own limit says when to ask again.
    """

    retryable = False

    def __init__(
        self,
        provider: str,
        message: str,
        *,
        symbol: str | None = None,
        retry_after: float | None = None,
        until: datetime | None = None,
    ) -> None:
        super().__init__(redact(f"{provider}: {message}" if symbol is None else f"{provider}: {symbol}: {message}"))
        self.provider = provider
        self.symbol = symbol
        self.retry_after = retry_after
        self.until = until


class UnknownSymbol(ProviderError):
    """The vendor does not know the symbol."""


class BadRequest(ProviderError):
    """The vendor refused the request as impossible."""


class NotConfigured(ProviderError):
    """The provider needs a key and has none; nothing is sent."""


class BadKey(ProviderError):
    """The key is invalid or disabled."""


class NotInPlan(ProviderError):
    """The key's plan does not include what was asked."""


class Limited(ProviderError):
    """A limit stands between us and the answer."""


class BurstLimit(Limited):
    """Too many calls in a short window."""

    retryable = True


class QuotaSpent(Limited):
    """The day's or month's budget is used up."""


class Banned(Limited):
    """The vendor blocks this address for a time, whichever key is used."""


class BreakerOpen(Limited):
    """Our own circuit breaker holds calls back."""


class Transient(ProviderError):
    """A failure that may go away by itself: a 5xx, a timeout, a reset."""

    retryable = True


class Unreachable(Transient):
    """No connection to the vendor could be made."""


class OverrideDown(Unreachable):
    """Nothing listens at a base URL override on this machine."""

    retryable = False


class Malformed(Transient):
    """The answer is not what the vendor documents: truncated, garbage, or of another shape."""
