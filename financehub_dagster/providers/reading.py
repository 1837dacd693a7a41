"""What reading a vendor's answer comes to: rows and errors, in the words of one tree.

Belongs here: the order in which an answer is judged, answers about many instruments, and when a vendor's window begins
anew. Does not belong here: sending (`rest`), single values (`values`), or any vendor's words.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any, Literal

from financehub_dagster.gateway.errors import (
    BadKey,
    BadRequest,
    Limited,
    Malformed,
    ProviderError,
    QuotaSpent,
    UnknownSymbol,
    Unreachable,
)
from financehub_dagster.gateway.redaction import redact
from financehub_dagster.gateway.response import Reply, as_asked, refusal_of_status
from financehub_dagster.market.instruments import Instrument
from financehub_dagster.providers.values import OtherQuestion

UNREADABLE = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError)
"""What a reader may raise on a document of another shape than documented."""

type Verdict = ProviderError | Literal["usable"] | None
"""What a vendor means by an answer: an error; usable, whatever the status; or None, when the status speaks for it."""

type Refusal = Callable[[Reply, Any], Verdict]
"""The vendor's verdict on a reply, given its document (None where it is no JSON)."""


@dataclass(frozen=True)
class AnswerRows:
    """What one answer holds: rows in the columns of `frames`, and by our symbol why an instrument has none."""

    rows: Sequence[Mapping[str, Any]]
    failed: Mapping[str, ProviderError] = field(default_factory=dict)


@dataclass(frozen=True)
class VendorRequest[T]:
    """One GET: `read` makes the answer of a usable document; weight is what the vendor counts it as."""

    path: str
    params: Mapping[str, str]
    read: Callable[[Any], T]
    symbol: str | None = None
    weight: int = 1

    @property
    def asked(self) -> str | None:
        """What stands for `symbol` in the request, with the market where that is named too."""
        name, market = self.params.get("symbol", self.params.get("tickers")), self.params.get("mic_code")
        return name if name is None or market is None else f"{name}:{market}"


@dataclass(slots=True)
class Tally:
    """What asking took: requests sent, failed ones too, and the vendor's clock at its last answer (ours before).

    reply is that answer.
    """

    calls: int = 0
    clock: datetime = field(default_factory=lambda: datetime.now(UTC))
    reply: Reply | None = None


def answer_of[T](reply: Reply, refusal: Refusal, read: Callable[[Any], T]) -> T:
    """What a reply says: the vendor's words first, then the status, then the document; raises ProviderError."""
    try:
        document = reply.json()
    except Malformed:
        document = None
    verdict = refusal(reply, document) or refusal_of_status(reply)
    if isinstance(verdict, ProviderError):
        raise verdict
    document = reply.json()
    try:
        answer = read(document)
    except UNREADABLE as error:
        raise _malformed(reply.provider, error, reply.symbol) from None
    if isinstance(answer, AnswerRows) and not answer.rows and answer.failed:
        unreadable = [error for error in answer.failed.values() if isinstance(error, Malformed)]
        if len(unreadable) == len(answer.failed):
            raise unreadable[0]
    return answer


def _malformed(provider: str, error: Exception, symbol: str | None) -> Malformed:
    """What could not be read, in the words of the tree; an answer to another question is not asked for again."""
    malformed = Malformed(provider, _problem(error), symbol=symbol)
    malformed.retryable = not isinstance(error, OtherQuestion)
    return malformed


def _problem(error: Exception) -> str:
    """In one short line; secrets go before the cut, which could leave a part of one."""
    said = f"the answer lacks {error}" if isinstance(error, KeyError) else str(error)
    if isinstance(error, TypeError | AttributeError):
        said = f"the answer has another shape than documented: {said}"
    return redact(said)[:200]


def until_next(window: Literal["minute", "day", "month"], now: datetime) -> datetime:
    """When the vendor's window of that name begins anew, in UTC."""
    start = now.replace(second=0, microsecond=0)
    if window == "minute":
        return start + timedelta(minutes=1)
    start = start.replace(hour=0, minute=0)
    return start + timedelta(days=1) if window == "day" else (start.replace(day=1) + timedelta(days=32)).replace(day=1)


def quota_spent(reply: Reply, until: datetime, message: str) -> QuotaSpent:
    """Nothing before the vendor's Retry-After or, where it does not say, `until` by its clock."""
    if reply.retry_after is not None:
        until = reply.server_time + timedelta(seconds=reply.retry_after)
    left = (until - reply.server_time).total_seconds()
    return QuotaSpent(reply.provider, message, symbol=reply.symbol, retry_after=left, until=until)


def unknown_symbol(
    provider: str, symbol: str | None, asked: str | None, problem: str = "is not known there"
) -> UnknownSymbol:
    """The vendor does not know what it was `asked` for in place of our symbol."""
    remedy = f"check or add its `{provider}` alias"
    return UnknownSymbol(provider, f"{problem}{as_asked(symbol, asked)}; {remedy}", symbol=symbol)


def batches(
    instruments: Iterable[Instrument],
    size: int,
    spelling: Callable[[Instrument], str],
    kind: Callable[[Instrument], str] = lambda _: "",
) -> Iterator[dict[str, Instrument]]:
    """Instruments by the vendor's symbols, at most `size` of one `kind` together; two of one symbol never are."""
    for _, members in groupby(sorted(instruments, key=kind), key=kind):
        batch: dict[str, Instrument] = {}
        for each in members:
            name = spelling(each)
            if len(batch) == size or name in batch:
                yield batch
                batch = {}
            batch[name] = each
        yield batch


def in_turn[P, R](
    parts: Iterable[tuple[Sequence[Instrument], P]], ask: Callable[[P], R], failed: dict[str, ProviderError]
) -> Iterator[R]:
    """What `ask` makes of one part after the other; an error goes into `failed` for each of the part's instruments.

    What hits one part leaves the others alone, unless it would hit them too: a limit, a key, no connection.
    """
    over: ProviderError | None = None
    for members, part in parts:
        try:
            if over is not None:
                raise over
            found = ask(part)
        except ProviderError as error:
            failed.update(dict.fromkeys((each.symbol for each in members), error))
            over = error if isinstance(error, Limited | BadKey | Unreachable) else None
        else:
            yield found


def require_any(found: Collection[object], failed: Mapping[str, ProviderError]) -> None:
    """Raise the first error where nothing was found, and no instrument is to blame for that."""
    if failed and not found and not any(isinstance(error, UnknownSymbol | BadRequest) for error in failed.values()):
        raise next(iter(failed.values()))


def each_of(
    provider: str,
    of: Mapping[str, Instrument],
    members: Mapping[Any, Any],
    row: Callable[[Instrument, Any], Mapping[str, Any]],
) -> AnswerRows:
    """The rows of an answer about many, by the vendor's symbols; one that is missing or unreadable harms no other.

    One is unknown when it alone is missing; when something stands there that nobody asked for, the answer is not ours.
    """
    rows: list[Mapping[str, Any]] = []
    failed: dict[str, ProviderError] = {}
    strangers = [name for name in members if name not in of]
    for theirs, instrument in of.items():
        symbol = instrument.symbol
        if theirs not in members and strangers:
            failed[symbol] = Malformed(provider, f"asked for {theirs}, got {strangers[0]}", symbol=symbol)
            continue
        if theirs not in members:
            failed[symbol] = unknown_symbol(provider, symbol, theirs)
            continue
        try:
            rows.append(row(instrument, members[theirs]))
        except (ProviderError, *UNREADABLE) as error:
            if not isinstance(error, ProviderError):
                error = _malformed(provider, error, symbol)
            failed[symbol] = error
    return AnswerRows(rows, failed)
