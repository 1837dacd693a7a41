"""The base of every provider and router: a Dagster resource that stays out of the launchpad, and what vendors' have.

Belongs here: what Dagster is told about resources of any kind, what a vendor serves, where it is asked, for how long,
when its breaker opens, and joining what it says of many instruments. Does not belong here: sending a request, or any
vendor's numbers.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

import dagster as dg
from dagster._config.pythonic_config.resource import ConfigurableResourceFactoryResourceDefinition
from pydantic import Field

from financehub_dagster.gateway.addresses import place_of
from financehub_dagster.gateway.api_keys import Auth, Key
from financehub_dagster.gateway.errors import BadRequest, ProviderError
from financehub_dagster.gateway.policy import BreakerSettings, Meaning, Policy, Timeouts
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.providers import listings
from financehub_dagster.providers.base import Answers
from financehub_dagster.providers.frames import merged, table
from financehub_dagster.providers.reading import Tally, in_turn, require_any
from financehub_dagster.settings import get_settings
from financehub_dagster.storage.rate_limits.limiter import Limit
from financehub_dagster.storage.rate_limits.quotas import Quota

type Parts = Iterable[tuple[Sequence[Instrument], Any]]
"""The questions that many instruments take, each with those that it is about."""

CRYPTOS = frozenset({AssetType.CRYPTO})
EVERY_KIND = frozenset(AssetType)


class _OptionalSettings(ConfigurableResourceFactoryResourceDefinition):
    """The definition whose settings a run config may leave out as a whole."""

    @property
    def config_field(self) -> dg.Field:
        """The settings, None by default: Dagster writes every default that is not None into the launchpad."""
        settings = self.config_schema.as_field()
        return dg.Field(dg.Noneable(settings.config_type), default_value=None, description=settings.description)


class Resource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """A resource whose settings are the deployment's: a run config may override them, and need not list them.

    Otherwise the launchpad opens on every field of every provider, 60 to 130 lines, before what the run asks for. The
    webserver shows the settings under Deployment, Resources.
    """

    def get_resource_definition(self) -> ConfigurableResourceFactoryResourceDefinition:
        """Dagster's definition of this resource, always the same one."""
        definition = super().get_resource_definition()
        definition.__class__ = _OptionalSettings
        return definition


class Vendor(Resource):
    """A vendor under the `name` that tables, keys and variables have for it."""

    name: ClassVar[str]
    serves: ClassVar[Mapping[str, frozenset[AssetType]]]
    """The capabilities, which are names of its methods, and the kinds of instruments each is for."""

    base_url: str | None = Field(
        default=None,
        description="Stands in for the vendor's address; default: the vendor's *_BASE_URL, else the vendor.",
    )
    timeout: float = Field(default=15.0, gt=0, description="Seconds one try may take in all.")
    first_pause: float = Field(default=2.0, ge=0, description="Seconds before the second try; doubles with each.")
    breaker_threshold: int = Field(default=5, ge=1, description="Failed requests in a row that open the breaker.")
    breaker_seconds: float = Field(default=30.0, gt=0, description="Seconds the breaker stays open at first.")

    def limits(self) -> tuple[Limit, ...]:
        """The plan's limits that space calls out."""
        return ()

    def quotas(self) -> tuple[Quota, ...]:
        """The plan's budgets, which may be used at once."""
        return ()

    def policy(self, meaning: Meaning, auth: Auth | None = None, keys: tuple[Key, ...] = ()) -> Policy:
        """How the gateway asks the vendor, whose answers mean `meaning`."""
        return Policy(
            provider=self.name,
            limits=self.limits(),
            meaning=meaning,
            timeouts=Timeouts(total=self.timeout, first_pause=self.first_pause, jitter=self.first_pause / 2),
            breaker=BreakerSettings(threshold=self.breaker_threshold, open_seconds=self.breaker_seconds),
            place=place_of(self.override()),
            quotas=self.quotas(),
            auth=auth,
            keys=keys,
        )

    def override(self) -> str | None:
        """The base URL that stands in for the vendor, without a slash at its end; None without one."""
        return self.base_url.rstrip("/") if self.base_url else get_settings().base_url(self.name)

    def check(self, capability: str, instrument: Instrument) -> None:
        """Raise BadRequest where the vendor does not have this for such an instrument, or may mean another one."""
        if instrument.asset_type not in self.serves[capability]:
            problem = f"has no {capability} of instruments of type {instrument.asset_type}"
            raise BadRequest(self.name, problem, symbol=instrument.symbol)
        listings.require(self.name, capability, instrument)

    def fit(
        self, capability: str, instruments: Sequence[Instrument]
    ) -> tuple[list[Instrument], dict[str, ProviderError]]:
        """The instruments that the vendor can be asked about, and by symbol why it cannot be about the others."""
        served: list[Instrument] = []
        failed: dict[str, ProviderError] = {}
        for instrument in instruments:
            try:
                self.check(capability, instrument)
                served.append(instrument)
            except BadRequest as unfit:
                failed[instrument.symbol] = unfit
        return served, failed

    def ask(self, capability: str, question: Any, tally: Tally) -> Any:
        """What the answer to one question says; raises ProviderError."""
        raise NotImplementedError

    def ask_in_parts(
        self, capability: str, instruments: Sequence[Instrument], parts: Callable[[Sequence[Instrument]], Parts]
    ) -> Answers:
        """The answers to all parts of a question about many instruments, those that cannot be served left out.

        An article has one row, whichever parts it was in, and the newest is first. Raises the first error when there is
        no row at all and no instrument is to blame for it.
        """
        served, failed = self.fit(capability, instruments)
        rows: list[Mapping[str, Any]] = []
        tally = Tally()
        for part in in_turn(parts(served), lambda question: self.ask(capability, question, tally), failed):
            rows.extend(part.rows)
            failed.update(part.failed)
        require_any(rows, failed)
        found = table(capability, rows)
        found = merged(found) if capability == "news" else found
        return Answers(found, failed, self.name, datetime.now(UTC), tally.calls)

    def test_connection(self) -> str:
        """What the vendor says to the cheapest question it answers, in one line; raises ProviderError."""
        raise NotImplementedError
