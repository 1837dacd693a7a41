"""What tests of vendors' answers share: providers with keys and room, and the days that runs are for."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from financehub_dagster.providers import all_providers
from financehub_dagster.sandbox.client import Sandbox

GENEROUS: dict[str, dict[str, Any]] = {
    "alpha_vantage": {"requests_per_second": 1000, "requests_per_day": None, "premium": True},
    "coingecko": {"requests_per_minute": 10_000},
    "coinmarketcap": {"requests_per_minute": 10_000},
    "finnhub": {"requests_per_minute": 10_000},
    "twelve_data": {"credits_per_minute": 10_000, "credits_per_day": None},
    "newsapi": {"requests_per_half_day": 10_000, "requests_per_day": 10_000},
}
"""Plans that leave limits out of the way."""


def make_room(sandbox: Sandbox) -> None:
    """Have the sandbox take every key of these vendors for a paid one, with limits that no test reaches."""
    for name in GENEROUS:
        for seconds in (1.0, 60.0, 43_200.0, 86_400.0):
            sandbox.limit(name, 1_000_000, seconds)
        if name != "coingecko":  # whose paid keys are of another kind
            sandbox.declare_key(name, sandbox.keys[f"{name.upper()}_API_KEYS"], plan="paid")


def generous_providers() -> Mapping[str, Any]:
    """Providers with keys whose limits no test reaches."""
    known = all_providers()
    made: dict[str, Any] = {name: type(known[name]) for name in GENEROUS}
    return {name: made[name](first_pause=0.0, **fields) for name, fields in GENEROUS.items()}


def today() -> str:
    """The running day's partition."""
    return datetime.now(UTC).date().isoformat()


def days_ago(days: int) -> str:
    """The partition of a day before it."""
    return (datetime.now(UTC).date() - timedelta(days=days)).isoformat()


def this_month() -> str:
    """The running month's partition."""
    return datetime.now(UTC).date().replace(day=1).isoformat()
