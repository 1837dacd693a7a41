"""What a bare HTTP answer means, and when it asks us to come back."""

from datetime import UTC, datetime, timedelta

import pytest

from financehub_dagster.gateway.addresses import is_loopback, overridden, place_of
from financehub_dagster.gateway.errors import (
    BadKey,
    BadRequest,
    Banned,
    BurstLimit,
    Malformed,
    NotInPlan,
    Transient,
)
from financehub_dagster.gateway.response import BAN_SECONDS, Reply, refusal_of_status


def reply(status: int = 200, body: bytes = b"{}", **headers: str) -> Reply:
    return Reply(
        "vendor", "/path", status, {name.replace("_", "-"): value for name, value in headers.items()}, body, "S"
    )


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (200, type(None)), (204, type(None)), (302, Malformed), (400, BadRequest), (401, BadKey), (403, Banned),
        (404, BadRequest), (408, Transient), (418, Banned), (422, BadRequest), (429, BurstLimit), (451, NotInPlan),
        (500, Transient), (502, Transient), (503, Transient), (504, Transient), (520, Transient),
    ],
)  # fmt: skip
def test_each_status_stands_for_one_error(status: int, error: type) -> None:
    assert type(refusal_of_status(reply(status))) is error


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120.0), ("0", 0.0), ("1.5", 1.5), ("-5", 0.0), (" 30 ", 30.0),
        ("Wed, 21 Oct 2015 07:30:00 GMT", 120.0), ("Wed, 21 Oct 2015 07:00:00 GMT", 0.0),
        ("soon", None), ("", None), ("nan", None), ("inf", None),
    ],
)  # fmt: skip
def test_retry_after_is_seconds_or_a_date_by_the_vendors_clock(header: str, seconds: float | None) -> None:
    answer = reply(429, retry_after=header, date="Wed, 21 Oct 2015 07:28:00 GMT")
    assert answer.retry_after == seconds


def test_a_block_without_an_end_is_believed_for_a_while() -> None:
    error = refusal_of_status(reply(403))
    assert isinstance(error, Banned)
    assert error.retry_after == BAN_SECONDS
    assert error.until is not None
    assert timedelta(0) < error.until - datetime.now(UTC) <= timedelta(seconds=BAN_SECONDS)


def test_a_token_that_json_lacks_costs_its_number_and_no_other() -> None:
    assert repr(reply(body=b'{"a": [NaN, 1.5, -Infinity, "NaN"]}').json()) == "{'a': [nan, 1.5, -inf, 'NaN']}"


@pytest.mark.parametrize(
    "body", [b"", b"  \r\n", b"<html>", b'{"a": 1', b"\x00\xff", b'{"a": NaN', b'{"a": Nan}', b"[" * 9000 + b"NaN"]
)
def test_what_is_not_json_is_malformed_in_one_printable_line(body: bytes) -> None:
    with pytest.raises(Malformed) as caught:
        reply(body=body).json()
    assert str(caught.value).isprintable()


def test_an_excerpt_is_short_and_on_one_line() -> None:
    text = reply(body=b"first line\r\nsecond\tline " + b"x" * 1000).excerpt()
    assert text.startswith("first line second line xxx")
    assert len(text) == 80


def test_the_vendors_clock_is_ours_where_it_sends_none() -> None:
    assert abs(reply().server_time - datetime.now(UTC)) < timedelta(seconds=5)


@pytest.mark.parametrize(
    ("url", "base", "expected"),
    [
        ("https://query2.finance.yahoo.com/v8/x?a=1", "http://127.0.0.1:8/yahoo/", "http://127.0.0.1:8/yahoo/v8/x?a=1"),
        ("https://fc.yahoo.com", "http://localhost:8", "http://localhost:8/"),
    ],
)
def test_a_stand_in_keeps_path_and_query(url: str, base: str, expected: str) -> None:
    assert overridden(url, base) == expected


def test_the_place_of_an_override_has_no_password() -> None:
    for address in ("http://proxy:8080/x", "http://user:secret@proxy:8080/x", "http://us%40er:se@cret@proxy:8080"):
        assert place_of(address) == "@proxy:8080"
    assert (place_of("http://user:secret@[::1]:8080"), place_of(None)) == ("@[::1]:8080", "")


def test_loopback_is_told_from_the_world() -> None:
    assert [is_loopback(url) for url in ("http://127.0.0.1:1", "http://[::1]:1", "http://localhost/x")] == [True] * 3
    assert [is_loopback(url) for url in ("https://api.binance.com", "http://10.0.0.1")] == [False] * 2
