"""Bad days as they are lived: every vendor at once, over real HTTP, through the real gateway and client libraries.

Belongs here: playing days and noting what came of it. Does not belong here: which days there are and how each should
end (bad_days).
"""

import time
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from itertools import zip_longest
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from financehub_dagster.gateway.deadline import deadline
from financehub_dagster.gateway.errors import ProviderError
from financehub_dagster.market import calendars
from financehub_dagster.market.instruments import Instrument
from financehub_dagster.providers import all_providers
from financehub_dagster.sandbox.client import Sandbox
from financehub_dagster.storage.database.engine import market_engine
from financehub_dagster_tests.faults.bad_days.bad_days import CLOCK, DAYS, SPAN, VENDORS, Day, Fails, Vendor
from financehub_dagster_tests.faults.canary.canary import KEYS
from financehub_dagster_tests.faults.canary.overheard import Overheard
from financehub_dagster_tests.faults.gateway.dribbling import dribbling_vendor
from financehub_dagster_tests.faults.gateway.unreachable import unreachable_address
from financehub_dagster_tests.fixtures.database import clear_caches

type Found = pd.DataFrame | ProviderError
type Span = tuple[date, date]

SMALL = (("twelve_data", 60), ("alpha_vantage", 1), ("alpha_vantage", 86_400))
"""Vendors, and their windows in seconds, that have no room for a day's questions on a free plan."""
BOOKS = ("breakers", "api_keys", "rate_limits", "quotas", "api_usage")
"""Where the gateway remembers limits, bans and counts."""
STOCK = VENDORS["yahoo"].spoilt
ELSEWHERE = {"unreachable": unreachable_address, "dribbling": dribbling_vendor}
"""Where the spoilt question goes on days that the sandbox cannot play."""
LATELY = timedelta(days=30)
SOON = timedelta(minutes=1)
"""A session that ends sooner may be over before the question is asked."""
ENDS = {"breakers": "open_until", "api_keys": "benched_until", "rate_limits": "tat"}
"""Where it is written until when nothing may be sent."""


@dataclass
class Observed:
    """What one vendor's bad day came to.

    good: the rows of the same questions, about the instrument that is spoilt and about the other, on a good day. found:
    what became of the spoilt question, after `tries` requests of which `arrived` reached the vendor, in `seconds`.
    meanwhile: what the same question and one about the other instrument came to next, by `asked` requests.
    afterwards: what the other question came to once the time that was asked for had passed.
    """

    good: tuple[Found, Found]
    found: Found
    tries: int
    arrived: int
    seconds: float
    meanwhile: list[Found] = field(default_factory=list)
    asked: int = 0
    afterwards: Found | None = None


type Round = Mapping[str, Day]
"""The days that vendors have at once, by the vendor: each its own, since none knows of another's."""


def rounds(cells: Collection[tuple[str, str]]) -> list[Round]:
    """All of `cells` (vendor, day), in few rounds; days that set the clock are one of their own."""
    alone: dict[str, Day] = {}
    at_once: dict[str, list[tuple[str, Day]]] = {vendor: [] for vendor in VENDORS}
    # Days of waiting come first, so that vendors wait at once.
    for name, day in sorted(DAYS.items(), key=lambda each: -each[1].fields.get("timeout", 0.0)):
        for vendor in (each for each in VENDORS if (each, name) in cells):
            if day.special == "unfinished":
                alone[vendor] = day
            else:
                at_once[vendor].append((vendor, day))
    return [alone, *(dict(filter(None, each)) for each in zip_longest(*at_once.values()))]


@dataclass
class Week:
    """The days that were played, each once; `overheard` is all that was said on any of them.

    cells: the vendors and days to be played, in all.
    """

    database_url: str
    sandbox: Sandbox
    cells: Collection[tuple[str, str]]
    overheard: Overheard = field(default_factory=Overheard)
    _played: dict[tuple[str, str], Observed] = field(default_factory=dict)
    _good: dict[tuple[str, Span], Found] = field(default_factory=dict)

    def observed(self, day: str, vendor: str) -> Observed:
        """How `vendor` got over that day; other vendors have days of theirs at once."""
        if (vendor, day) not in self._played:
            [together] = [each for each in rounds(self.cells) if vendor in each and each[vendor].name == day]
            for other, observed in self.play(together).items():
                self._played[other, together[other].name] = observed
        return self._played[vendor, day]

    def play(self, together: Round) -> Mapping[str, Observed]:
        """How every vendor gets over its day."""
        with self.open(), ExitStack() as stack, ThreadPoolExecutor(len(together)) as pool:
            elsewhere = {
                name: {"base_url": stack.enter_context(ELSEWHERE[day.special]())}
                for name, day in together.items()
                if day.special in ELSEWHERE
            }
            if any(day.special == "unfinished" for day in together.values()):
                self.sandbox.freeze(_to_come(STOCK)[1])
            asked = [
                replace(VENDORS[name], capability=day.capability.get(name, VENDORS[name].capability))
                for name, day in together.items()
            ]
            days = list(together.values())
            good = dict(zip(together, pool.map(self._on_a_good_day, asked, days), strict=True))
            self.forget()
            fields = [{**day.fields, **elsewhere.get(name, {})} for name, day in together.items()]
            lived = dict(zip(together, pool.map(self._live, asked, days, fields), strict=True))
        for name, observed in lived.items():
            observed.good = good[name]
        return lived

    @contextmanager
    def open(self, overheard: Overheard | None = None) -> Iterator[None]:
        """Keys, addresses and a database without memories; the sandbox as new, at CLOCK, with room in every window."""
        listener = self.overheard if overheard is None else overheard
        with pytest.MonkeyPatch.context() as environment, listener.listening():
            environment.setenv("FINANCEHUB_DATABASE_URL", self.database_url)
            for name, value in self.sandbox.environment.items():
                environment.setenv(name, value)
            for vendor, key in KEYS.items():
                environment.setenv(f"{vendor.upper()}_API_KEYS", key)
            clear_caches()
            self.forget()
            self.sandbox.reset()
            self.sandbox.freeze(CLOCK)
            for vendor, key in KEYS.items():
                if VENDORS[vendor].paid:
                    self.sandbox.declare_key(vendor, key, plan="paid")
            for vendor, seconds in SMALL:
                self.sandbox.limit(vendor, 1000, seconds)
            try:
                yield
                listener.tables(market_engine())
            finally:
                self.sandbox.reset()
                clear_caches()

    def forget(self) -> None:
        """Forget limits, bans and counts."""
        with market_engine().begin() as connection:
            connection.execute(sa.text(f"truncate {', '.join(BOOKS)}"))

    def _on_a_good_day(self, vendor: Vendor, day: Day) -> tuple[Found, Found]:
        span = _finished(vendor.spoilt) if day.special == "unfinished" else SPAN
        found = []
        for instrument in (vendor.spoilt, vendor.other):
            known = f"{vendor.name} {vendor.capability} {instrument.symbol}", span
            if known not in self._good:
                self._good[known] = self.ask(vendor, instrument, span)
            found.append(self._good[known])
        return found[0], found[1]

    def _live(self, vendor: Vendor, day: Day, fields: Mapping[str, Any]) -> Observed:
        span = (_finished(vendor.spoilt)[0], _to_come(vendor.spoilt)[0]) if day.special == "unfinished" else SPAN
        if day.fault:
            self.sandbox.fault(**day.fault, vendor=vendor.name, symbol=vendor.spoilt.symbol)
        tried, arrived, started = self.tried(vendor), self.arrived(vendor), time.monotonic()
        with deadline(day.deadline.get(vendor.name)):
            found = self.ask(vendor, vendor.spoilt, span, **fields)
        seconds = time.monotonic() - started
        tries, arrivals = self.tried(vendor) - tried, self.arrived(vendor) - arrived
        observed = Observed((found, found), found, tries, arrivals, seconds)
        end = day.end(vendor.name)
        silent = isinstance(end, Fails) and end.silent
        if silent:
            observed.meanwhile.append(self.ask(vendor, vendor.spoilt, span))
        observed.meanwhile.append(self.ask(vendor, vendor.other, span))
        observed.asked = self.arrived(vendor) - arrived - arrivals
        if silent:
            self.let_time_pass(vendor)
            observed.afterwards = self.ask(vendor, vendor.other, span)
        return observed

    def ask(self, vendor: Vendor, about: Instrument, span: Span, **fields: Any) -> Found:
        """The rows of an answer, or the error that stands for it; any other error is the test's."""
        provider = provider_of(vendor, **fields)
        try:
            return rows_of(provider, vendor.capability, about, span)
        except ProviderError as error:
            self.overheard.error(error)
            return error

    @staticmethod
    def let_time_pass(vendor: Vendor) -> None:
        """All that this vendor's calls wait for is over."""
        with market_engine().begin() as connection:
            for table, until in ENDS.items():
                passed = f"update {table} set {until} = least({until}, clock_timestamp()) where provider = :vendor"
                connection.execute(sa.text(passed), {"vendor": vendor.name})

    def arrived(self, vendor: Vendor) -> int:
        """Requests that reached the vendor so far."""
        return int(self.sandbox.calls(vendor.name)["total"])

    def tried(self, vendor: Vendor) -> int:
        """Requests that were sent so far, by our own books."""
        with market_engine().connect() as connection:
            query = sa.text("select coalesce(sum(calls), 0) from api_usage where provider = :vendor")
            return int(connection.execute(query, {"vendor": vendor.name}).scalar_one())


def provider_of(vendor: Vendor, **fields: Any) -> Any:
    """The vendor's provider, which does not pause between tries."""
    return _CLASSES[vendor.name](**{"first_pause": 0.001, **vendor.fields, **fields})


_CLASSES: Mapping[str, Any] = {name: type(provider) for name, provider in all_providers().items()}


def rows_of(provider: Any, capability: str, about: Instrument, span: Span) -> pd.DataFrame:
    """What a provider has of one instrument; raises ProviderError, also the one that the answer gives for it."""
    if capability == "daily_bars":
        bars: pd.DataFrame = provider.daily_bars(about, *span).bars
        return bars
    since = [CLOCK - timedelta(days=14)] if capability == "news" else []
    answer = getattr(provider, capability)([about], *since)
    for error in answer.failed.values():
        raise error
    return pd.DataFrame(answer.rows)


def _to_come(of: Instrument) -> tuple[date, datetime | None]:
    """The session that is running, or else the next one, and the time at which that is under way (None: now)."""
    now = datetime.now(UTC)
    ahead = calendars.schedule(of, now.date(), now.date() + timedelta(days=14))
    place = int(np.flatnonzero(ahead.closes > np.datetime64((now + SOON).replace(tzinfo=None)))[0])
    opens, closes = (edge[place].item().replace(tzinfo=UTC) for edge in (ahead.opens, ahead.closes))
    return ahead.dates[place].item(), None if opens <= now else opens + (closes - opens) / 2


def _finished(of: Instrument) -> Span:
    # By the vendors' clock, which a session to come has been set to.
    last = calendars.last_finished_session(of, _to_come(STOCK)[1] or datetime.now(UTC))
    assert last is not None
    return last - LATELY, last
