"""What every vendor's plan allows, what is used of it, and which vendors are off.

Belongs here: joining the plans and keys that are configured with what the books say. Does not belong here: keeping the
books (storage), or showing them.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import groupby

from financehub_dagster.gateway.addresses import place_of
from financehub_dagster.gateway.api_keys import keys_of
from financehub_dagster.providers.resource import Vendor
from financehub_dagster.settings import get_settings
from financehub_dagster.storage.rate_limits.usage import UsageRow

CALLS_TODAY = "today"
"""The window of usage_report that counts the calls of this UTC day."""
_UNITS = {1.0: "second", 60.0: "minute", 3600.0: "hour", 86_400.0: "day"}


@dataclass(frozen=True, slots=True)
class AccountBudget:
    """What one account at one provider used of one window of its plan.

    key is a fingerprint, None where the vendor counts the address; place is empty or @host:port of a base URL override.
    A window that paces calls evenly has nothing that could be used up: used and left are None. resets_at is when
    everything booked has expired. calls are those of the account on this UTC day. benched_until and reason are set
    while the key rests. configured: is this account one that would be used now?
    """

    provider: str
    key: str | None
    place: str
    window: str
    used: int | None
    amount: int | None
    left: int | None
    resets_at: datetime | None
    calls: int
    benched_until: datetime | None
    reason: str | None
    configured: bool


@dataclass(frozen=True, slots=True)
class Budgets:
    """Every window of every account, in the order of the providers; off: providers without a key, with its variable."""

    windows: tuple[AccountBudget, ...]
    off: Mapping[str, str]


@dataclass(frozen=True, slots=True, order=True)
class _Account:
    place: str
    key: str | None


def budgets(providers: Mapping[str, object], report: Iterable[UsageRow]) -> Budgets:
    """Used and left of each provider that has a plan, by name; accounts that `report` has nothing of included.

    An account that is no longer configured is listed for as long as something of it is used, counted or resting.
    """
    rows = {name: list(own) for name, own in groupby(report, key=lambda row: row.provider)}
    off = get_settings().missing_keys()
    found = [
        budget
        for name, provider in providers.items()
        if isinstance(provider, Vendor)
        for budget in _of(name, provider, rows.get(name, []), configured=name not in off)
    ]
    return Budgets(tuple(found), {name: off[name] for name in providers if name in off})


def _of(name: str, provider: Vendor, rows: list[UsageRow], *, configured: bool) -> Iterator[AccountBudget]:
    accounts = dict.fromkeys(_configured(name, provider)) if configured else {}
    used: dict[_Account, dict[str, UsageRow]] = {}
    for row in rows:
        used.setdefault(_Account(row.place, row.key), {})[row.window] = row
    known = [
        account
        for account, windows in used.items()
        if account in accounts or any(row.used or row.calls or row.benched_until for row in windows.values())
    ]
    for account in dict.fromkeys([*accounts, *known]):
        yield from _windows(name, provider, account, used.get(account, {}), configured=account in accounts)


def _configured(name: str, provider: Vendor) -> list[_Account]:
    settings = get_settings()
    place = place_of(provider.override())
    if not settings.api_keys(name):
        return [_Account(place, None)]
    return [_Account(place, key.fingerprint) for key in keys_of(name)]


def _windows(
    name: str, provider: Vendor, account: _Account, used: Mapping[str, UsageRow], *, configured: bool
) -> Iterator[AccountBudget]:
    calls = used[CALLS_TODAY].calls if CALLS_TODAY in used else 0
    resting = next((row for row in used.values() if row.benched_until), None)
    budget = partial(
        AccountBudget,
        name,
        account.key,
        account.place,
        calls=calls or 0,
        benched_until=resting.benched_until if resting else None,
        reason=resting.reason if resting else None,
        configured=configured,
    )
    for limit in provider.limits():
        yield budget(_UNITS.get(limit.period, f"{limit.period:g} s"), None, limit.amount, None, None)
    plan = {quota.name: quota.amount for quota in provider.quotas()}
    for window, amount in plan.items():
        row = used.get(window)
        units = 0 if row is None else row.used
        yield budget(window, units, amount, max(amount - units, 0), row.resets_at if row else None)
    for window, row in used.items():
        if window not in plan and window != CALLS_TODAY and row.used:
            yield budget(window, row.used, row.amount, row.left, row.resets_at)
