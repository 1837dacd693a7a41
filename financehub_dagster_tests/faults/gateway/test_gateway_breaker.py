"""The shared breaker: when it opens, who may probe it, and how it closes again."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from itertools import pairwise
from typing import Any

import pytest
import sqlalchemy as sa

from financehub_dagster.gateway import circuit_breaker, client
from financehub_dagster.gateway.circuit_breaker import Breaker
from financehub_dagster.gateway.errors import Banned, BreakerOpen, BurstLimit, ProviderError, Transient, UnknownSymbol
from financehub_dagster.gateway.policy import BreakerSettings, Meaning, Policy
from financehub_dagster.gateway.throttle import Accounts
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.providers.binance.provider import BinanceProvider
from financehub_dagster.sandbox.client import Sandbox
from financehub_dagster.storage.database.schema import breakers as table
from financehub_dagster.storage.database.schema import quotas as quotas_table
from financehub_dagster.storage.rate_limits import circuit_breakers
from financehub_dagster.storage.rate_limits.quotas import Quota
from financehub_dagster_tests.contracts.scripted import Answer, scripted_vendor
from financehub_dagster_tests.fixtures.database import Database
from financehub_dagster_tests.fixtures.eventually import eventually

SPAN = (date(2017, 9, 1), date(2017, 12, 31))
BTC = Instrument("BTC", "Bitcoin", AssetType.CRYPTO, "XXXX", "USD", "UTC", aliases={"binance": "BTCUSDT"})


@pytest.fixture
def database(shared_database: Database) -> Database:
    """One for the module: these tests write the gateway's state alone."""
    return shared_database


def ask(**fields: Any) -> int:
    provider = BinanceProvider(**{"first_pause": 0.001, "breaker_threshold": 2, "breaker_seconds": 60.0, **fields})
    return len(provider.daily_bars(BTC, *SPAN).bars)


def outcome(call: Callable[[], object]) -> type[BaseException] | None:
    try:
        call()
    except ProviderError as error:
        return type(error)
    return None


def half_open(database: Database) -> None:
    """Let the time for which the breakers are open have passed."""
    with database.engine.begin() as connection:
        connection.execute(sa.update(table).values(open_until=sa.func.clock_timestamp()))


def test_failed_calls_in_a_row_open_it_and_then_nothing_is_sent(sandbox: Sandbox, database: Database) -> None:
    sandbox.fault("status", vendor="binance", status=500)
    assert [outcome(ask) for _ in range(4)] == [Transient, Transient, BreakerOpen, BreakerOpen]
    assert sandbox.calls()["total"] == 8
    with pytest.raises(BreakerOpen, match=r"binance: BTC: not asked before .* UTC: binance: BTC: HTTP 500") as caught:
        ask()
    assert caught.value.retry_after == pytest.approx(60, abs=10)


def test_the_tries_of_one_call_do_not_open_it(sandbox: Sandbox, database: Database) -> None:
    sandbox.fault("reset", vendor="binance", times=7)
    assert outcome(ask) is Transient
    assert outcome(ask) is None
    assert sandbox.calls()["total"] == 8


def test_an_answer_in_between_starts_the_count_anew(sandbox: Sandbox, database: Database) -> None:
    sandbox.fault("status", vendor="binance", status=500, times=4)
    assert outcome(ask) is Transient
    assert outcome(ask) is None
    sandbox.fault("status", vendor="binance", status=500, times=4)
    assert outcome(ask) is Transient
    assert outcome(ask) is None


def test_an_unknown_symbol_is_an_answer_too(sandbox: Sandbox, database: Database) -> None:
    sandbox.delist("BTC")
    assert [outcome(ask) for _ in range(4)] == [UnknownSymbol] * 4


def ask_together(database: Database, sandbox: Sandbox, **fields: Any) -> list[type[BaseException] | None]:
    """The outcomes of six calls that find the breaker half-open at the same moment."""
    half_open(database)
    sandbox.clear_calls()
    together = threading.Barrier(6)

    def one(_: int) -> type[BaseException] | None:
        together.wait(timeout=30)
        return outcome(lambda: ask(**fields))

    with ThreadPoolExecutor(6) as pool:
        return sorted(pool.map(one, range(6)), key=str)


def test_calls_that_find_a_probe_under_way_wait_for_its_answer_and_are_paced_anew(
    sandbox: Sandbox, database: Database
) -> None:
    sandbox.fault("status", vendor="binance", status=500, times=8)
    assert [outcome(ask) for _ in range(2)] == [Transient, Transient]
    sandbox.latency(1500)
    assert ask_together(database, sandbox, weight_per_minute=700) == [None] * 6  # a call each 0.2 s
    sandbox.latency(0)
    probe, *others = sorted(call["at"] for call in sandbox.calls(detail=True)["calls"])
    assert len(others) == 5
    assert others[0] - probe > 1.4
    assert min(later - earlier for earlier, later in pairwise(others)) > 0.1


def test_calls_that_waited_are_put_off_when_the_probe_fails(sandbox: Sandbox, database: Database) -> None:
    sandbox.fault("status", vendor="binance", status=500)
    assert [outcome(ask) for _ in range(2)] == [Transient, Transient]
    sandbox.latency(300)
    assert ask_together(database, sandbox) == [BreakerOpen] * 5 + [Transient]
    sandbox.latency(0)
    assert sandbox.calls()["total"] == 1


def test_a_slow_probe_is_not_waited_for_and_stays_alone(
    sandbox: Sandbox, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox.fault("status", vendor="binance", status=500, times=8)
    assert [outcome(ask) for _ in range(2)] == [Transient, Transient]
    monkeypatch.setattr(client, "PROBE_WAIT", 0.2)
    sandbox.latency(1500)
    assert ask_together(database, sandbox) == [BreakerOpen] * 5 + [None]
    sandbox.latency(0)
    assert sandbox.calls()["total"] == 1
    assert outcome(ask) is None


def test_a_probe_is_waited_for_no_longer_than_the_caller_has_time(database: Database) -> None:
    circuit_breakers.hold(database.engine, "binance", "daily_bars", "a test", 0.0)
    ours = Breaker(lambda: database.engine, "binance", "daily_bars", BreakerSettings())
    assert ours.admit() == ("daily_bars",)
    began = time.monotonic()
    ours.check(patience=0.5)
    assert 0.4 < time.monotonic() - began < 2.0
    assert ours.admit(patience=60.0) is None
    with pytest.raises(BreakerOpen):
        ours.admit(patience=0.5)


def test_another_slot_after_a_probe_is_charged_to_no_budget_again(database: Database) -> None:
    quotas = (Quota("minute", 5, period=60.0), Quota("day", 5, period=86_400.0))
    accounts = Accounts(Policy("binance", (), Meaning(lambda _: None), quotas=quotas), lambda: database.engine)
    accounts.enter(1, max_wait=60.0)
    accounts.enter_again(None, 1, max_wait=60.0)
    with database.engine.connect() as connection:
        booked = {row.quota_name: sum(row.units) for row in connection.execute(sa.select(quotas_table))}
    assert booked == {"minute": 2, "day": 1}


def test_a_breaker_without_a_reason_says_so(database: Database) -> None:
    circuit_breakers.hold(database.engine, "binance", "daily_bars", "a test", 0.0)
    with database.engine.begin() as connection:
        connection.execute(sa.update(table).values(reason=None))
    ours = Breaker(lambda: database.engine, "binance", "daily_bars", BreakerSettings())
    assert ours.admit() == ("daily_bars",)
    with pytest.raises(BreakerOpen, match=r"UTC: one call is probing it \(no reason was kept\)"):
        ours.admit()


def test_who_cannot_probe_one_breaker_in_the_way_keeps_no_other_from_being_probed(database: Database) -> None:
    def half_open_of(capability: str) -> None:
        circuit_breakers.hold(database.engine, "binance", capability, "a test", 0.0)

    for capability in ("*", "a", "z"):
        half_open_of(capability)
    assert circuit_breakers.admit(database.engine, "binance", ["z"], 60).probes == ("z",)
    assert not circuit_breakers.admit(database.engine, "binance", ["a", "z"], 60).allowed
    assert circuit_breakers.admit(database.engine, "binance", ["a", "*"], 60).probes == ("*", "a")


def test_a_failed_probe_is_not_tried_again_and_opens_it_for_twice_as_long(sandbox: Sandbox, database: Database) -> None:
    sandbox.fault("status", vendor="binance", status=500)
    assert [outcome(ask) for _ in range(2)] == [Transient, Transient]
    half_open(database)
    sandbox.clear_calls()
    assert outcome(ask) is Transient
    assert sandbox.calls()["total"] == 1
    with pytest.raises(BreakerOpen) as caught:
        ask()
    assert caught.value.retry_after == pytest.approx(120, abs=10)


def test_a_lost_probe_frees_the_way_for_the_next(database: Database) -> None:
    circuit_breakers.hold(database.engine, "binance", "daily_bars", "a test", 0.0)
    assert circuit_breakers.admit(database.engine, "binance", ["daily_bars"], probe_seconds=0.2).probes == (
        "daily_bars",
    )
    assert not circuit_breakers.admit(database.engine, "binance", ["daily_bars"], probe_seconds=0.2).allowed
    eventually(lambda: circuit_breakers.admit(database.engine, "binance", ["daily_bars"], probe_seconds=60).allowed)


def test_what_a_provider_cannot_do_in_one_respect_does_not_stop_the_others(database: Database) -> None:
    circuit_breakers.fail(database.engine, "binance", "daily_bars", "down", threshold=1, open_seconds=60)
    assert not circuit_breakers.look(database.engine, "binance", ["daily_bars", "*"]).allowed
    assert circuit_breakers.look(database.engine, "binance", ["quotes", "*"]).allowed
    assert circuit_breakers.look(database.engine, "yahoo", ["daily_bars", "*"]).allowed


def test_silence_that_was_asked_for_holds_for_everything_a_provider_offers(database: Database) -> None:
    circuit_breakers.hold(database.engine, "binance", circuit_breakers.ANY, "banned", 60.0)
    assert not circuit_breakers.look(database.engine, "binance", ["daily_bars", "*"]).allowed
    assert not circuit_breakers.look(database.engine, "binance", ["quotes", "*"]).allowed
    assert circuit_breakers.look(database.engine, "yahoo", ["daily_bars", "*"]).allowed


def test_a_late_answer_does_not_end_a_ban(database: Database) -> None:
    circuit_breakers.hold(database.engine, "binance", circuit_breakers.ANY, "banned", 60.0)
    circuit_breakers.succeed(database.engine, "binance", "daily_bars")
    assert not circuit_breakers.look(database.engine, "binance", ["daily_bars", "*"]).allowed


def test_a_shorter_hold_does_not_shorten_a_longer_one(database: Database) -> None:
    circuit_breakers.hold(database.engine, "binance", circuit_breakers.ANY, "banned", 600.0)
    circuit_breakers.hold(database.engine, "binance", circuit_breakers.ANY, "banned", 1.0)
    until = circuit_breakers.look(database.engine, "binance", ["daily_bars", "*"]).until
    assert until is not None
    assert until.timestamp() - time.time() == pytest.approx(600, abs=10)


def test_a_limit_without_an_end_is_respected_for_longer_each_time(sandbox: Sandbox, database: Database) -> None:
    sandbox.fault("status", vendor="binance", status=429)
    for seconds in (60, 120, 240):
        assert outcome(ask) is BurstLimit
        with pytest.raises(BreakerOpen) as caught:
            ask()
        assert caught.value.retry_after == pytest.approx(seconds, abs=10)
        half_open(database)
    sandbox.clear_faults()
    assert [outcome(ask) for _ in range(2)] == [None, None]


def test_what_a_stand_in_did_is_not_held_against_the_vendor_or_another_stand_in(
    sandbox: Sandbox, database: Database
) -> None:
    with scripted_vendor(Answer(b"<html>", 403)) as elsewhere:
        assert [outcome(lambda: ask(base_url=elsewhere.url)) for _ in range(2)] == [Banned, BreakerOpen]
    assert outcome(ask) is None
    assert circuit_breakers.look(database.engine, "binance", ["daily_bars", "*"]).allowed


def test_who_failed_a_moment_after_all_was_closed_is_not_asked_again(sandbox: Sandbox, database: Database) -> None:
    impatient = {"breaker_threshold": 1}
    assert outcome(lambda: ask(**impatient)) is None
    sandbox.fault("status", vendor="binance", status=500)
    assert outcome(lambda: ask(**impatient)) is Transient
    sandbox.clear_calls()
    assert outcome(lambda: ask(**impatient)) is BreakerOpen
    assert sandbox.calls()["total"] == 0


def test_what_another_process_learnt_counts_a_moment_after_all_was_closed(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(circuit_breaker, "FRESH_SECONDS", 60.0)
    ours = Breaker(lambda: database.engine, "binance", "daily_bars", BreakerSettings())
    ours.check()
    circuit_breakers.hold(database.engine, "binance", circuit_breakers.ANY, "banned", 60.0)
    ours.check()
    assert ours.admit() == ()
    monkeypatch.setattr(circuit_breaker, "FRESH_SECONDS", 0.0)
    with pytest.raises(BreakerOpen, match="banned"):
        ours.check()
    with pytest.raises(BreakerOpen, match="banned"):
        ours.admit()
