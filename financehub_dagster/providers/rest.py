"""What the vendors without a client library of their own share: one GET per question, answered in JSON.

Belongs here: addresses, the session, and reading an answer inside the gateway. Does not belong here: any vendor's
paths, words or limits.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import PrivateAttr

from financehub_dagster.gateway.addresses import is_loopback
from financehub_dagster.gateway.api_keys import Auth, keys_of
from financehub_dagster.gateway.client import VendorClient
from financehub_dagster.gateway.errors import ProviderError
from financehub_dagster.gateway.policy import Meaning
from financehub_dagster.gateway.request_context import Call, calling
from financehub_dagster.gateway.response import Reply
from financehub_dagster.market.instruments import Instrument
from financehub_dagster.providers.base import Answers, DailyBars
from financehub_dagster.providers.frames import Action, Bar, actions_table, bars_table
from financehub_dagster.providers.reading import AnswerRows, Refusal, Tally, VendorRequest, answer_of
from financehub_dagster.providers.resource import Vendor
from financehub_dagster.storage.rate_limits.quotas import Reading

if TYPE_CHECKING:
    from financehub_dagster.gateway.http.requests_session import GatewaySession


class RestProvider(Vendor):
    """A vendor that is asked over plain HTTP."""

    address: ClassVar[str]
    auth: ClassVar[Auth]
    refused: ClassVar[Refusal]
    """What the vendor means by an answer in words of its own."""
    cheapest: ClassVar[VendorRequest[str]]
    """The question that shows that the vendor is there."""

    _lock: Any = PrivateAttr(default_factory=threading.Lock)
    _session: Any = PrivateAttr(default=None)

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
                read.append(answer_of(reply, type(self).refused, question.read))
            except ProviderError as error:
                return error
            return None

        base = self.override() or self.vendor_address()
        meaning = Meaning(refusal, lambda _path: question.weight, cost=self.cost, readings=self.readings)
        client = VendorClient(self.policy(meaning, self.key_place(), keys_of(self.name)))
        with calling(Call(client, capability, question.symbol, asked=question.asked)) as call:
            try:
                self._http(base).get(f"{base}{question.path}", params=dict(question.params))
            finally:
                tally.calls += call.requests
        return read[0]

    def ask_each(
        self,
        capability: str,
        instruments: Sequence[Instrument],
        question: Callable[[Instrument], VendorRequest[AnswerRows]],
    ) -> Answers:
        """Like ask_in_parts, with one question for each instrument."""
        return self.ask_in_parts(capability, instruments, lambda served: (([each], question(each)) for each in served))

    def daily(
        self,
        of: Instrument,
        start: date,
        end: date,
        bars: Iterable[Bar],
        tally: Tally,
        actions: Iterable[Action] = (),
        **told: Any,
    ) -> DailyBars:
        """The answer that bars and actions make; `told` has the fields of DailyBars that not every vendor knows."""
        frame, paid = bars_table(bars, of, start, end, tally.clock), actions_table(actions, start, end)
        return DailyBars(of.symbol, frame, paid, self.name, datetime.now(UTC), tally.calls, **told)

    def test_connection(self) -> str:
        """The answer to `cheapest`; raises ProviderError."""
        return self.ask("test_connection", self.cheapest, Tally())

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
