"""What a refused connection means: a vendor that is out of reach for now, or a server of ours that does not run."""

import pytest

from financehub_dagster.gateway.client import VendorClient
from financehub_dagster.gateway.errors import OverrideDown, Unreachable
from financehub_dagster.gateway.policy import Meaning, Policy
from financehub_dagster.gateway.request_context import Call


def call(place: str) -> Call:
    return Call(VendorClient(Policy("yahoo", (), Meaning(refusal=lambda _reply: None), place=place)), "quotes", "AAPL")


@pytest.mark.parametrize("place", ["", "@stand-in.example:8080"])
def test_a_network_may_come_back(place: str) -> None:
    error = call(place).refused()
    assert type(error) is Unreachable
    assert error.retryable
    assert str(error) == "yahoo: AAPL: no connection could be made; is the network up?"


@pytest.mark.parametrize("place", ["@127.0.0.1:8080", "@localhost:8080", "@[::1]:8080"])
def test_a_stand_in_on_this_machine_has_to_be_started(place: str) -> None:
    error = call(place).refused()
    assert type(error) is OverrideDown
    assert not error.retryable
    assert f"nothing answers at {place[1:]}" in str(error)
    assert str(error).endswith("start the sandbox: `financehub up --sandbox`")
