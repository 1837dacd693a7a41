"""Keys over real HTTP: they rotate, rest when a vendor refuses them, and are never seen anywhere."""

import base64
import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
import requests
import sqlalchemy as sa

from financehub_dagster.gateway.addresses import place_of
from financehub_dagster.gateway.api_keys import Auth, fingerprint, is_off, keys_of
from financehub_dagster.gateway.client import VendorClient
from financehub_dagster.gateway.errors import (
    BadKey,
    Banned,
    BreakerOpen,
    BurstLimit,
    NotConfigured,
    NotInPlan,
    ProviderError,
    QuotaSpent,
    Transient,
)
from financehub_dagster.gateway.http.requests_session import GatewaySession
from financehub_dagster.gateway.policy import Meaning, Policy, Timeouts
from financehub_dagster.gateway.request_context import Call, calling
from financehub_dagster.gateway.response import Reply, refusal_of_status
from financehub_dagster.settings import get_settings
from financehub_dagster.storage.database.schema import metadata
from financehub_dagster.storage.rate_limits.limiter import Limit
from financehub_dagster.storage.rate_limits.quotas import Quota, Reading
from financehub_dagster_tests.contracts.scripted import Answer, ScriptedVendor, scripted_vendor
from financehub_dagster_tests.fixtures.database import Database

KEYS = ("canary/key+one=1111", "canary/key+two=2222", "canary/key+three=3333")
OK = Answer({"fine": True})
HEADER = Auth(header="X-Token", prefix="apikey ")


@pytest.fixture
def database(shared_database: Database) -> Database:
    """One for the module: these tests write the gateway's state alone."""
    return shared_database


@pytest.fixture
def vendor(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedVendor]:
    configure(monkeypatch, *KEYS)
    with scripted_vendor(OK) as server:
        yield server
    get_settings.cache_clear()


def configure(monkeypatch: pytest.MonkeyPatch, *keys: str) -> None:
    monkeypatch.setenv("FINNHUB_API_KEYS", ",".join(keys))
    get_settings.cache_clear()


def refusal(reply: Reply) -> ProviderError | None:
    if reply.body == b"spent":
        until = datetime.now(UTC) + timedelta(hours=5)
        return QuotaSpent(reply.provider, "the day is spent", symbol=reply.symbol, retry_after=5 * 3600.0, until=until)
    return refusal_of_status(reply)


def policy(vendor: ScriptedVendor, **fields: Any) -> Policy:
    plain = Policy(
        provider="finnhub",
        limits=(Limit("second", 1000, 1.0),),
        meaning=Meaning(refusal=refusal),
        timeouts=Timeouts(first_pause=0.01, jitter=0.0, total=5.0),
        place=place_of(vendor.url),
        auth=HEADER,
        keys=keys_of("finnhub"),
    )
    return replace(plain, **fields)


def ask(vendor: ScriptedVendor, **fields: Any) -> Call:
    with calling(Call(VendorClient(policy(vendor, **fields)), "quotes", "AAPL")) as call, GatewaySession() as session:
        session.get(f"{vendor.url}/quote", params={"symbol": "AAPL"})
    return call


def used(vendor: ScriptedVendor) -> list[str]:
    """The keys in the order in which the vendor saw them."""
    return [asked.headers["x-token"].removeprefix("apikey ") for asked in vendor.asked]


def test_a_key_travels_in_the_header_the_vendor_wants(vendor: ScriptedVendor) -> None:
    ask(vendor)
    assert vendor.asked[0].headers["x-token"] == f"apikey {KEYS[0]}"
    assert vendor.asked[0].query == {"symbol": "AAPL"}


def test_a_key_travels_in_the_query_where_there_is_no_other_way(vendor: ScriptedVendor) -> None:
    ask(vendor, auth=Auth(query="apikey"))
    assert vendor.asked[0].query == {"symbol": "AAPL", "apikey": KEYS[0]}


@pytest.mark.parametrize("fields", [{}, {"header": "X", "query": "x"}])
def test_a_key_travels_in_exactly_one_way(fields: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="header or in the query"):
        Auth(**fields)


def test_the_least_used_key_goes_first(vendor: ScriptedVendor) -> None:
    for _ in range(6):
        ask(vendor)
    assert used(vendor) == [*KEYS, *KEYS]


def test_a_key_without_a_free_slot_is_passed_over(vendor: ScriptedVendor) -> None:
    hour = (Quota("hour", 2, period=3600.0),)
    for _ in range(6):
        ask(vendor, quotas=hour)
    assert sorted(used(vendor)) == sorted([*KEYS, *KEYS])
    with pytest.raises(QuotaSpent, match="our quota of 2 per hour is spent until") as caught:
        ask(vendor, quotas=hour)
    assert caught.value.until is not None
    assert (caught.value.until - datetime.now(UTC)).total_seconds() == pytest.approx(3660, abs=30)
    assert len(vendor.asked) == 6


@pytest.mark.parametrize(
    ("answer", "cause", "seconds"),
    [
        (Answer(b"no", 401), "BadKey", 86_400),
        (Answer(b"spent", 429), "QuotaSpent", 5 * 3600),
        (Answer(b"slower", 429, {"Retry-After": "120"}), "BurstLimit", 120),
    ],
    ids=["bad", "spent", "limited"],
)
def test_the_next_key_goes_on_within_the_same_call_and_the_refused_one_rests(
    vendor: ScriptedVendor, database: Database, answer: Answer, cause: str, seconds: float
) -> None:
    vendor.will_answer(answer, OK)
    assert ask(vendor).requests == 2
    assert used(vendor) == [KEYS[0], KEYS[1]]
    ask(vendor)
    ask(vendor)
    assert KEYS[0] not in used(vendor)[2:]
    with database.engine.connect() as connection:
        row = connection.execute(sa.text("select * from api_keys where benched_until is not null")).one()
    assert (row.scope, row.cause) == (fingerprint("finnhub", KEYS[0]) + place_of(vendor.url), cause)
    assert (row.benched_until - datetime.now(UTC)).total_seconds() == pytest.approx(seconds, abs=15)
    assert row.reason.startswith("finnhub: AAPL: ")


def test_a_bad_key_gets_exactly_one_try_and_then_none(vendor: ScriptedVendor, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(monkeypatch, KEYS[0])
    vendor.will_answer(Answer(b"no", 401))
    with pytest.raises(BadKey, match="not authorized"):
        ask(vendor)
    with pytest.raises(BadKey, match="no key is accepted .*1111-.*: replace it"):
        ask(vendor)
    assert len(vendor.asked) == 1


def test_each_of_several_bad_keys_gets_one_try(vendor: ScriptedVendor) -> None:
    vendor.will_answer(Answer(b"no", 401))
    for _ in range(2):
        with pytest.raises(BadKey):
            ask(vendor)
    assert used(vendor) == list(KEYS)


def test_a_replaced_key_is_used_from_the_first_moment(vendor: ScriptedVendor, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(monkeypatch, KEYS[0])
    vendor.will_answer(Answer(b"no", 401), OK)
    with pytest.raises(BadKey):
        ask(vendor)
    configure(monkeypatch, KEYS[1])
    ask(vendor)


def test_when_every_key_is_spent_the_work_can_be_deferred_to_the_first_reset(vendor: ScriptedVendor) -> None:
    vendor.will_answer(Answer(b"spent", 429))
    for _ in range(2):
        with pytest.raises(QuotaSpent) as caught:
            ask(vendor)
    assert caught.value.until is not None
    assert (caught.value.until - datetime.now(UTC)).total_seconds() == pytest.approx(5 * 3600, abs=15)
    assert used(vendor) == list(KEYS)


def test_a_limited_key_alone_is_tried_four_times_and_then_left_alone(
    vendor: ScriptedVendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(monkeypatch, KEYS[0])
    vendor.will_answer(Answer(b"slower", 429))
    with pytest.raises(BurstLimit):
        ask(vendor)
    with pytest.raises(BurstLimit, match="no key before"):
        ask(vendor, timeouts=Timeouts(max_wait=5.0))
    assert len(vendor.asked) == 4


def test_a_banned_address_is_silent_under_every_key(vendor: ScriptedVendor) -> None:
    vendor.will_answer(Answer(b"<html>", 403))
    with pytest.raises(Banned):
        ask(vendor)
    with pytest.raises(BreakerOpen):
        ask(vendor)
    assert len(vendor.asked) == 1


def test_trouble_of_the_vendor_is_not_the_keys(vendor: ScriptedVendor, database: Database) -> None:
    vendor.will_answer(Answer(b"oops", 500))
    with pytest.raises(Transient):
        ask(vendor)
    assert len(vendor.asked) == 4
    with database.engine.connect() as connection:
        assert connection.execute(sa.text("select count(benched_until) from api_keys")).scalar_one() == 0


def test_the_vendors_own_count_closes_a_key_before_it_says_no(
    vendor: ScriptedVendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(monkeypatch, KEYS[0])

    def left(reply: Reply) -> list[Reading]:
        return [Reading("day", int(reply.headers["api-credits-left"]))]

    vendor.will_answer(Answer({}, headers={"api-credits-left": "0"}))
    told = {"quotas": (Quota("day", 800, per="day"),), "meaning": Meaning(refusal=refusal, readings=left)}
    ask(vendor, **told)
    with pytest.raises(QuotaSpent, match="our quota of 800 per day"):
        ask(vendor, **told)
    assert len(vendor.asked) == 1


def test_a_call_pays_what_the_vendor_says_it_did_cost(vendor: ScriptedVendor, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(monkeypatch, KEYS[0])
    terms = {"quotas": (Quota("day", 10, per="day"),), "meaning": Meaning(refusal=refusal, cost=lambda _: 10)}
    ask(vendor, **terms)
    with pytest.raises(QuotaSpent):
        ask(vendor, **terms)


def test_what_costs_more_than_the_plan_ever_has_is_not_in_the_plan(vendor: ScriptedVendor) -> None:
    dear = Meaning(refusal=refusal, weight=lambda _path: 50)
    with pytest.raises(NotInPlan, match="one request costs 50, and the plan has 8 per minute"):
        ask(vendor, limits=(), quotas=(Quota("minute", 8, per="minute"),), meaning=dear)
    assert vendor.asked == []


def test_a_provider_without_a_key_is_off_and_says_so_once(
    vendor: ScriptedVendor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    configure(monkeypatch, "", " ")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            with pytest.raises(NotConfigured, match="finnhub: is off, it has no key: set FINNHUB_API_KEYS"):
                ask(vendor)
    assert is_off("finnhub")
    assert len([record for record in caplog.records if "FINNHUB_API_KEYS" in record.getMessage()]) <= 1
    assert vendor.asked == []


@pytest.mark.parametrize("auth", [HEADER, Auth(query="apikey")], ids=["header", "query"])
@pytest.mark.parametrize("status", [200, 400, 401, 403, 429, 500])
def test_no_key_is_ever_seen_however_the_vendor_repeats_it(
    vendor: ScriptedVendor, database: Database, caplog: pytest.LogCaptureFixture, auth: Auth, status: int
) -> None:
    spoken = f"your key {KEYS[0]} ({quote(KEYS[0], safe='')}, {base64.b64encode(KEYS[0].encode()).decode()})".encode()
    vendor.will_answer(Answer(spoken, status))
    caplog.set_level(logging.DEBUG)
    seen = []
    try:
        ask(vendor, auth=auth)
    except ProviderError as error:
        seen += [str(error), repr(error), repr(error.__cause__), repr(error.__context__)]
    seen += [record.getMessage() for record in caplog.records]
    seen += [repr(policy(vendor)), repr(auth.credentials(keys_of("finnhub")[0]))]
    with database.engine.connect() as connection:
        for table in metadata.sorted_tables:
            seen += [str(row) for row in connection.execute(sa.select(table))]
    text = "\n".join(seen)
    for key in KEYS:
        raw = base64.b64encode(key.encode()).decode().rstrip("=")
        assert not [form for form in (key, quote(key, safe=""), raw[:-2]) if form in text]


def test_the_callers_request_never_carries_the_key(vendor: ScriptedVendor) -> None:
    with calling(Call(VendorClient(policy(vendor, auth=Auth(query="apikey"))), "quotes")), GatewaySession() as session:
        prepared = session.prepare_request(requests.Request("GET", f"{vendor.url}/quote"))
        session.send(prepared)
    assert "canary" not in str(prepared.url)
    assert "apikey" in vendor.asked[0].query
