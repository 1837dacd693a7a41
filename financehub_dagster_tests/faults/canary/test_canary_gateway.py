"""No key is ever seen: not on a good day, not when a vendor repeats it, on no surface there is.

That none is seen on a bad day stands where the bad days are played (test_bad_days_matrix).
"""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import quote, quote_plus

import pandas as pd
import pytest

from financehub_dagster.gateway.api_keys import keys_of
from financehub_dagster.gateway.errors import ProviderError
from financehub_dagster.providers import all_providers
from financehub_dagster.providers.budgets import budgets
from financehub_dagster.settings import get_settings
from financehub_dagster.storage.database.engine import market_engine
from financehub_dagster.storage.rate_limits.usage import usage_report
from financehub_dagster_tests.contracts.scripted import Answer, scripted_vendor
from financehub_dagster_tests.faults.bad_days.bad_day_runs import Week, provider_of
from financehub_dagster_tests.faults.bad_days.bad_days import CLOCK, KEYED, SPAN, VENDORS, Vendor
from financehub_dagster_tests.faults.canary.canary import KEYS, assert_unseen
from financehub_dagster_tests.faults.canary.overheard import Overheard

ALWAYS = ("alpha_vantage", "newsapi")
"""Whose key every run has repeated: one goes in the address and is told in messages with 200, one in a header."""
STATUSES = {200: 76, 400: 58, 401: 62, 403: 66, 429: 70, 500: 74}
"""With what a vendor repeats the key, and after how many characters: about where messages are cut off."""


@contextmanager
def listening(week: Week) -> Iterator[Overheard]:
    """A day of its own, whose books are noted at its end as reports show them."""
    overheard = Overheard()
    with week.open(overheard):
        yield overheard
        report = usage_report(market_engine())
        overheard.add("usage", *map(str, report), str(budgets(all_providers(), report)))


def note(overheard: Overheard, vendor: Vendor, capability: str) -> bool:
    """Note what a provider says of itself and of one question; was there anything in the answer?"""
    provider = provider_of(vendor)
    overheard.add("providers", repr(provider), str(provider), repr(vars(provider)), repr(provider.model_dump()))
    asked: dict[str, Any] = {
        "daily_bars": (vendor.spoilt, *SPAN),
        "intraday_bars": (vendor.spoilt, 1, CLOCK - timedelta(days=3), CLOCK),
        "news": ([vendor.spoilt, vendor.other], CLOCK - timedelta(days=14)),
        "test_connection": (),
    }
    try:
        answer = getattr(provider, capability)(*asked.get(capability, ([vendor.spoilt, vendor.other],)))
    except ProviderError as error:
        overheard.error(error)
        return False
    overheard.add("answers", repr(answer))
    frames = [each for each in getattr(answer, "__dict__", {}).values() if isinstance(each, pd.DataFrame)]
    overheard.add("answers", *(frame.to_csv() for frame in frames))
    for reason in getattr(answer, "failed", {}).values():
        overheard.error(reason)
    return not frames or any(len(frame) for frame in frames)


def test_no_key_is_seen_whichever_question_is_answered(week: Week) -> None:
    answered = set()
    with listening(week) as overheard:
        for name in KEYED:
            vendor = VENDORS[name]
            served = [*type(provider_of(vendor)).serves, "test_connection"]
            answered |= {(name, capability) for capability in served if note(overheard, vendor, capability)}
        overheard.add("settings", repr(get_settings()), str(get_settings()), str(keys_of(KEYED[0])))
    assert {name for name, _ in answered} == set(KEYED)
    assert len(answered) >= 3 * len(KEYED) - 2
    assert_unseen(overheard, "answers", "usage", "settings")


@pytest.mark.parametrize(
    "name", [name if name in ALWAYS else pytest.param(name, marks=pytest.mark.full) for name in KEYED]
)
def test_no_key_is_seen_although_the_vendor_repeats_it(week: Week, name: str) -> None:
    key, vendor = KEYS[name], VENDORS[name]
    forms = (
        key,
        quote(key, safe=""),
        quote_plus(key),
        base64.b64encode(f"me:{key}".encode()).decode(),
        json.dumps(key),
    )
    with listening(week) as overheard, scripted_vendor(Answer({})) as server:
        for status, cut in STATUSES.items():
            words = "x" * cut + " ".join(forms)
            server.will_answer(Answer(words.encode(), status), Answer({"error": words, "message": words}, status))
            asked = replace(vendor, fields={**vendor.fields, "base_url": server.url})
            assert not note(overheard, asked, vendor.capability)
            assert server.asked
            overheard.tables(market_engine())
            week.forget()
    assert_unseen(overheard, "errors")
