"""What the vendors without a client library of their own share: one GET per question, answered in JSON.

Belongs here: addresses, the session, reading an answer inside the gateway, and asking for many instruments in parts.
Does not belong here: any vendor's paths, words or limits.
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, PrivateAttr

from financehub_dagster.gateway.addresses import is_loopback, place_of
from financehub_dagster.gateway.api_keys import Auth, keys_of
from financehub_dagster.gateway.client import VendorClient
from financehub_dagster.gateway.errors import (
    BadKey,
    BadRequest,
    Limited,
    ProviderError,
    Unreachable,
)
from financehub_dagster.gateway.policy import BreakerSettings, Meaning, Policy, Timeouts
from financehub_dagster.gateway.request_context import Call, calling
from financehub_dagster.gateway.response import Reply
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.providers import listings
from financehub_dagster.providers.base import Answers, ConnectionReport
from financehub_dagster.providers.frames import merged, table
from financehub_dagster.providers.reading import (
    AnswerRows,
    Tally,
    VendorRequest,
    Verdict,
    about_the_instrument,
    answer_of,
)
from financehub_dagster.providers.resource import Resource
from financehub_dagster.settings import get_settings
from financehub_dagster.storage.rate_limits.limiter import Limit
from financehub_dagster.storage.rate_limits.quotas import Quota, Reading

if TYPE_CHECKING:
    from financehub_dagster.gateway.http.requests_session import GatewaySession


class RestProvider(Resource):
    """A vendor that is asked over plain HTTP."""

    name: ClassVar[str]
    address: ClassVar[str]
    auth: ClassVar[Auth]
    serves: ClassVar[Mapping[str, frozenset[AssetType]]]
    """The capabilities, and the kinds of instruments each is for."""

    base_url: str | None = Field(
        default=None,
        description="Stands in for the vendor's address; default: the vendor's *_BASE_URL, else the vendor.",
    )
    timeout: float = Field(default=15.0, gt=0, description="Seconds one try may take in all.")
    first_pause: float = Field(default=2.0, ge=0, description="Seconds before the second try; doubles with each.")
    breaker_threshold: int = Field(default=5, ge=1, description="Failed requests in a row that open the breaker.")
    breaker_seconds: float = Field(default=30.0, gt=0, description="Seconds the breaker stays open at first.")

    _lock: Any = PrivateAttr(default_factory=threading.Lock)
    _session: Any = PrivateAttr(default=None)

    def limits(self) -> tuple[Limit, ...]:
        """The plan's limits that space calls out."""
        return ()

    def quotas(self) -> tuple[Quota, ...]:
        """The plan's budgets, which may be used at once."""
        return ()

    def refused(self, reply: Reply, document: Any) -> Verdict:
        """What the vendor means by an answer in words of its own."""
        raise NotImplementedError

    def cost(self, reply: Reply) -> int | None:  # noqa: ARG002  (for vendors that say)
        """What a usable answer did cost by the vendor's own words; None where it does not say."""
        return None

    def readings(self, reply: Reply) -> Sequence[Reading]:  # noqa: ARG002  (for vendors that say)
        """What the vendor says is left of `quotas`."""
        return ()

    def key_place(self) -> Auth:
        """Where the key travels."""
        return self.auth

    def vendor_address(self) -> str:
        """Scheme and host of the vendor itself."""
        return self.address

    def ask[T](self, capability: str, question: VendorRequest[T], tally: Tally) -> T:
        """What the answer to one question says; raises ProviderError.

        The answer is read within the gateway, so that one that cannot be read counts, and is asked for again.
        """
        read: list[T] = []

        def refusal(reply: Reply) -> ProviderError | None:
            tally.clock, tally.reply = reply.server_time, reply
            read.clear()
            try:
                read.append(answer_of(reply, self.refused, question.read))
            except ProviderError as error:
                return error
            return None

        base = self._base_url_override() or self.vendor_address()
        with calling(Call(VendorClient(self._policy(refusal, question.weight)), capability, question.symbol)) as call:
            try:
                self._http(base).get(f"{base}{question.path}", params=dict(question.params))
            finally:
                tally.calls += call.requests
        return read[0]

    def check(self, capability: str, instrument: Instrument) -> None:
        """Raise BadRequest where the vendor does not have this for such an instrument, or may mean another one."""
        if instrument.asset_type not in self.serves[capability]:
            problem = f"has no {capability} of instruments of type {instrument.asset_type}"
            raise BadRequest(self.name, problem, symbol=instrument.symbol)
        listings.require(self.name, capability, instrument)

    def ask_in_parts(
        self,
        capability: str,
        instruments: Sequence[Instrument],
        parts: Callable[[Sequence[Instrument]], Iterable[tuple[Sequence[Instrument], VendorRequest[AnswerRows]]]],
        columns: Mapping[str, str],
    ) -> Answers:
        """All parts of a question about many instruments, those that the vendor cannot serve left out.

        What hits one part leaves the others alone, unless it would hit them too: a limit, a key, no connection. Raises
        that error when there is no row at all and no instrument is to blame for it.
        """
        served: list[Instrument] = []
        failed: dict[str, ProviderError] = {}
        for instrument in instruments:
            try:
                self.check(capability, instrument)
                served.append(instrument)
            except BadRequest as unfit:
                failed[instrument.symbol] = unfit
        rows: list[Mapping[str, Any]] = []
        tally = Tally()
        end: ProviderError | None = None
        for members, question in parts(served):
            error = end
            if error is None:
                try:
                    part = self.ask(capability, question, tally)
                    rows.extend(part.rows)
                    failed.update(part.failed)
                except ProviderError as reason:
                    error = reason
                    end = reason if isinstance(reason, Limited | BadKey | Unreachable) else None
            if error is not None:
                failed.update(dict.fromkeys((each.symbol for each in members), error))
        if failed and not rows and not any(about_the_instrument(each) for each in failed.values()):
            raise next(iter(failed.values()))
        return Answers(table(columns, rows), failed, self.name, datetime.now(UTC), tally.calls)

    def ask_news(
        self,
        instruments: Sequence[Instrument],
        parts: Callable[[Sequence[Instrument]], Iterable[tuple[Sequence[Instrument], VendorRequest[AnswerRows]]]],
        columns: Mapping[str, str],
    ) -> Answers:
        """Like ask_in_parts, with each article once, whichever answers it was in; newest first."""
        answers = self.ask_in_parts("news", instruments, parts, columns)
        return replace(answers, rows=merged(answers.rows))

    def connection(self, question: VendorRequest[str]) -> ConnectionReport:
        """How long a cheap question took, and what was said in one line; raises ProviderError."""
        started, tally = perf_counter(), Tally()
        detail = self.ask("test_connection", question, tally)
        return ConnectionReport(self.name, perf_counter() - started, detail, tally.calls)

    def _policy(self, refusal: Callable[[Reply], ProviderError | None], weight: int) -> Policy:
        return Policy(
            provider=self.name,
            limits=self.limits(),
            meaning=Meaning(refusal=refusal, weight=lambda _path: weight, cost=self.cost, readings=self.readings),
            timeouts=Timeouts(total=self.timeout, first_pause=self.first_pause, jitter=self.first_pause / 2),
            breaker=BreakerSettings(threshold=self.breaker_threshold, open_seconds=self.breaker_seconds),
            place=place_of(self._base_url_override()),
            quotas=self.quotas(),
            auth=self.key_place(),
            keys=keys_of(self.name),
        )

    def _http(self, base: str) -> "GatewaySession":
        from financehub_dagster.gateway.http.requests_session import GatewaySession

        with self._lock:
            if self._session is None:
                session = GatewaySession()
                session.headers["Accept"] = "application/json"
                session.trust_env = not is_loopback(base)
                self._session = session
            held: GatewaySession = self._session
        return held

    def _base_url_override(self) -> str | None:
        return self.base_url.rstrip("/") if self.base_url else get_settings().base_url(self.name)
