"""The whole platform in one process: real database, sandbox over HTTP, real client libraries, a Dagster instance."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa

from financehub_dagster.automation.runs import RunOutcome
from financehub_dagster.definitions import build_definitions
from financehub_dagster.market.instrument_files import default_universe
from financehub_dagster.providers.binance.provider import BinanceProvider
from financehub_dagster.providers.yahoo.provider import YahooProvider
from financehub_dagster.sandbox.client import Sandbox
from financehub_dagster.settings import get_settings
from financehub_dagster.storage.queries.instruments import upsert_instruments
from financehub_dagster_tests.assets.snapshots.answers import generous_providers, make_room
from financehub_dagster_tests.fixtures.database import Database, chosen
from financehub_dagster_tests.fixtures.runs import materialize
from financehub_dagster_tests.fixtures.sandbox import as_new


@dataclass
class Platform:
    """Runs and questions, as a person would put them."""

    engine: sa.Engine
    sandbox: Sandbox
    definitions: dg.Definitions
    instance: dg.DagsterInstance
    overrides: Mapping[str, Any]
    events: list[dg.DagsterEvent] = field(default_factory=list)

    def ask(self, yahoo_url: str, binance_url: str) -> None:
        """Have these vendors asked as fast as they answer; what one test had worked out of them serves the next."""
        self.overrides, self.definitions = asking(yahoo_url, binance_url)

    def run(
        self,
        tables: str | Sequence[str],
        first: str,
        last: str | None = None,
        symbols: Sequence[str] | None = None,
        *,
        drawn: bool = False,
        checked: bool = False,
    ) -> RunOutcome:
        """Materialize `tables` over the partitions `first` to `last`, with pictures if `drawn`.

        checked: with the checks of the tables, which take as long as filling them does here.
        """
        names, seen = [tables] if isinstance(tables, str) else list(tables), self.events.append
        self.events.clear()
        definitions = self.definitions if checked else without_checks(self.definitions)
        return materialize(definitions, names, first, last or first, symbols, seen, instance=self.instance, drawn=drawn)

    def rows(self, query: str, **values: object) -> list[tuple]:
        """The rows of a query."""
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.text(query), values)]

    def scalar(self, query: str, **values: object) -> object:
        """The single value of a query."""
        return self.rows(query, **values)[0][0]

    def execute(self, statement: str, **values: object) -> None:
        """Change the database behind the platform's back."""
        with self.engine.begin() as connection:
            connection.execute(sa.text(statement), values)

    def checks(self, outcome: RunOutcome, table: str) -> dict[str, dg.AssetCheckEvaluation]:
        """The check results of one table by name."""
        return {c.check_name: c for c in outcome.checks if c.asset_key == dg.AssetKey(table)}


@lru_cache(maxsize=4)
def asking(yahoo_url: str, binance_url: str, *, keyed: bool = False) -> tuple[Mapping[str, Any], dg.Definitions]:
    """Providers that ask as fast as the vendors at these addresses answer, by name, and definitions with them.

    keyed: those that need a key too.
    """
    overrides = {
        "yahoo": YahooProvider(base_url=yahoo_url, requests_per_second=1000, first_pause=0.0),
        "binance": BinanceProvider(base_url=binance_url, first_pause=0.0),
        **(generous_providers() if keyed else {}),
    }
    return overrides, build_definitions(resource_overrides=overrides)


_without_checks: deque[tuple[dg.Definitions, dg.Definitions]] = deque(maxlen=4)
"""Definitions that were asked for last, and the same without checks: to work out their jobs takes long."""


def without_checks(definitions: dg.Definitions) -> dg.Definitions:
    """The tables alone, as they are filled by a run without checks."""
    for whole, bare in _without_checks:
        if whole is definitions:
            return bare
    bare = dg.Definitions(assets=definitions.assets, resources=definitions.resources, executor=definitions.executor)
    _without_checks.append((definitions, bare))
    return bare


@pytest.fixture
def keyed_platform(platform, sandbox, monkeypatch) -> Iterator[Platform]:
    """The platform with a key for every vendor, and room within every limit."""
    for name, value in sandbox.keys.items():
        monkeypatch.setenv(name, value)
    get_settings.cache_clear()
    make_room(sandbox)
    overrides, definitions = asking(sandbox.yahoo_url, sandbox.binance_url, keyed=True)
    yield replace(platform, overrides=overrides, definitions=definitions)
    get_settings.cache_clear()


@pytest.fixture(scope="session")
def kept_instance() -> Iterator[dg.DagsterInstance]:
    """A Dagster instance in memory: to make its tables takes thirty times longer than to empty them."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def instance(kept_instance) -> dg.DagsterInstance:
    """A Dagster instance that knows of no run and no event."""
    kept_instance.wipe()
    return kept_instance


def platform_on(database: Database, sandbox: Sandbox, instance: dg.DagsterInstance) -> Platform:
    """A market database with the default universe, and providers that ask the sandbox as fast as it answers."""
    with database.engine.begin() as connection:
        upsert_instruments(connection, default_universe())
    overrides, definitions = asking(sandbox.yahoo_url, sandbox.binance_url)
    return Platform(database.engine, sandbox, definitions, instance, overrides)


@pytest.fixture
def platform(database, sandbox, instance) -> Platform:
    """A platform of this test alone."""
    return platform_on(database, sandbox, instance)


@pytest.fixture(scope="module")
def filled(
    database_server, market_template, sandbox_process, kept_instance
) -> Iterator[Callable[[Callable[[Platform], None]], str]]:
    """Names a database that a function has filled, for a module to override `database_template` with."""
    made: list[sa.URL] = []

    def filled(fill: Callable[[Platform], None]) -> str:
        made.append(database_server.create(market_template))
        with chosen(made[-1]) as database, as_new(sandbox_process) as sandbox:
            fill(platform_on(database, sandbox, kept_instance))
        return str(made[-1].database)

    yield filled
    for url in made:
        database_server.drop(url)
