"""HEAD, and pieces of answers, over real connections: what polars and DuckDB ask an address for."""

from collections.abc import Iterator
from datetime import date, datetime
from http.client import HTTPConnection

import pytest

from financehub_dagster.serving import guard, http, pieces, rows
from financehub_dagster_tests.unit.serving import stored
from financehub_dagster_tests.unit.serving.test_guard import serving

ROWS = "/tables/stock_prices_daily?symbols=AAPL,MSFT"
ONE = "/tables/stock_prices_daily?symbols=MSFT"
PARQUET = f"{ROWS}&format=parquet"


@pytest.fixture(scope="module")
def port(before: datetime) -> Iterator[int]:
    """A server of the filled database."""
    with serving(guard.Guard(http.create_app(looks=False), [])) as port:
        yield port


@pytest.fixture
def connection(port: int) -> Iterator[HTTPConnection]:
    """One connection, on which an answer with a body too many would spoil the next."""
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    yield connection
    connection.close()


def ask(
    connection: HTTPConnection, path: str, method: str = "GET", **headers: str
) -> tuple[int, bytes, dict[str, str]]:
    connection.request(method, path, headers={name.replace("_", "-"): text for name, text in headers.items()})
    answer = connection.getresponse()
    return answer.status, answer.read(), {name.lower(): text for name, text in answer.getheaders() if name != "date"}


@pytest.mark.parametrize(
    "path",
    [
        *(f"{ROWS}&format={form}" for form in rows.MEDIA),
        "/tables",
        "/tables/stock_prices_daily?symbols=APPL",
        "/livez",
        "/udf/config",
        "/widgets.json",
        "/nowhere",
    ],
)
def test_head_has_the_headers_of_get_and_no_body(connection: HTTPConnection, path: str) -> None:
    head, got = ask(connection, path, "HEAD"), ask(connection, path)
    assert (head[0], head[1], head[2]) == (got[0], b"", got[2])
    assert int(head[2]["content-length"]) == len(got[1]) > 0


@pytest.mark.parametrize(
    ("wanted", "piece"),
    [
        ("bytes=0-3", slice(0, 4)),
        ("bytes=4-", slice(4, None)),
        ("bytes=-8", slice(-8, None)),
        ("bytes=100-999999999", slice(100, None)),
        ("bytes=-999999999", slice(None)),
    ],
)
def test_a_piece_is_cut_out_of_the_whole(connection: HTTPConnection, wanted: str, piece: slice) -> None:
    _, whole, about = ask(connection, PARQUET)
    status, body, headers = ask(connection, PARQUET, range=wanted)
    assert (status, body) == (206, whole[piece])
    start, stop, _ = piece.indices(len(whole))
    assert headers["content-range"] == f"bytes {start}-{stop - 1}/{len(whole)}"
    assert headers["content-length"] == str(len(body))
    assert (headers["etag"], headers["content-type"]) == (about["etag"], about["content-type"])
    assert about["accept-ranges"] == "bytes"


@pytest.mark.parametrize("wanted", ["bytes=999999999-", "bytes=-0", "bytes=8-7"])
def test_a_piece_beyond_the_end_is_refused_with_the_length(connection: HTTPConnection, wanted: str) -> None:
    whole = ask(connection, PARQUET)[1]
    status, body, headers = ask(connection, PARQUET, range=wanted)
    assert (status, body, headers["content-range"]) == (416, b"", f"bytes */{len(whole)}")


@pytest.mark.parametrize(
    "headers",
    [
        {"range": "bytes=0-3,8-9"},
        {"range": "rows=0-3"},
        {"range": "bytes=" + "9" * 5000 + "-"},
        {"range": "bytes=0-3", "if_range": '"of another answer"'},
    ],
)
def test_what_is_no_piece_of_this_answer_gets_the_whole(connection: HTTPConnection, headers: dict[str, str]) -> None:
    assert ask(connection, PARQUET, **headers)[:2] == ask(connection, PARQUET)[:2]


@pytest.mark.parametrize("form", rows.MEDIA)
def test_every_format_has_pieces(connection: HTTPConnection, form: str) -> None:
    whole = ask(connection, f"{ROWS}&format={form}")[1]
    parts = [ask(connection, f"{ROWS}&format={form}", range=f"bytes={wanted}") for wanted in ("0-499", "500-")]
    assert [status for status, _, _ in parts] == [206, 206]
    assert b"".join(body for _, body, _ in parts) == whole


@pytest.mark.parametrize("between", [{}, {"method": "HEAD"}, {"range": "bytes=0-"}])
def test_pieces_are_of_one_answer_whatever_others_ask_meanwhile(connection: HTTPConnection, between) -> None:
    size = int(ask(connection, PARQUET, "HEAD")[2]["content-length"])
    first = ask(connection, PARQUET, range="bytes=0-999")[1]
    whole = ask(connection, PARQUET)[1]
    with stored.one_in_pence("MSFT", date(2024, 1, 15)):
        ask(connection, PARQUET, **between)
        rest = ask(connection, PARQUET, range="bytes=1000-")[1]
        assert first + rest == whole
        assert len(whole) == size


def test_a_whole_answer_is_a_new_one(connection: HTTPConnection) -> None:
    before = ask(connection, PARQUET, range="bytes=0-")[1]
    with stored.one_in_pence("MSFT", date(2024, 1, 15)):
        assert ask(connection, PARQUET)[1] != before
    assert ask(connection, PARQUET)[1] == before


def test_an_answer_that_is_still_read_is_kept_for_longer(connection: HTTPConnection, monkeypatch) -> None:
    monkeypatch.setattr(pieces, "KEPT_SECONDS", -1.0)
    before = ask(connection, PARQUET, range="bytes=0-")[1]
    with stored.one_in_pence("MSFT", date(2024, 1, 15)):
        assert ask(connection, PARQUET, range="bytes=0-")[1] == before
        monkeypatch.setattr(pieces, "LONGEST_SECONDS", -1.0)
        assert ask(connection, PARQUET, range="bytes=0-")[1] != before
    assert ask(connection, PARQUET, range="bytes=0-")[1] == before


@pytest.mark.parametrize("bounds", [{"KEPT_SECONDS": -1, "LONGEST_SECONDS": -1}, {"MOST_KEPT": 100}])
def test_an_answer_that_is_not_kept_is_made_anew(connection: HTTPConnection, bounds, monkeypatch) -> None:
    for name, bound in bounds.items():
        monkeypatch.setattr(pieces, name, bound)
    whole = ask(connection, PARQUET)[1]
    with stored.one_in_pence("MSFT", date(2024, 1, 15)):
        assert ask(connection, PARQUET, range="bytes=0-")[1] != whole
    assert ask(connection, PARQUET, range="bytes=0-")[1] == whole


def test_an_answer_that_is_too_long_to_be_kept_takes_no_place_of_others(
    connection: HTTPConnection, monkeypatch
) -> None:
    one = f"{ONE}&format=parquet"
    before = ask(connection, one, range="bytes=0-")[1]
    monkeypatch.setattr(pieces, "MOST_KEPT", len(before))
    ask(connection, f"{ROWS}&format=json", range="bytes=0-")
    with stored.one_in_pence("MSFT", date(2024, 1, 15)):
        assert ask(connection, one, range="bytes=0-")[1] == before


@pytest.mark.parametrize("headers", [{}, {"range": "bytes=0-3"}])
def test_who_wants_another_answer_alone_gets_none(connection: HTTPConnection, headers: dict[str, str]) -> None:
    etag = ask(connection, PARQUET, "HEAD")[2]["etag"]
    status, body, told = ask(connection, PARQUET, if_match='"of another answer"', **headers)
    assert (status, body, told["etag"]) == (412, b"", etag)
    for own in ("*", etag, f'"of another answer", {etag}'):
        assert ask(connection, PARQUET, if_match=own, **headers)[0] == (206 if headers else 200)


def test_pages_of_other_sites_may_ask_for_pieces(port: int) -> None:
    """DuckDB in a browser asks with HEAD and for ranges, with a token."""
    app = http.create_app(looks=False, origins=["https://notebook.example.com"])
    asked = {"Access-Control-Request-Method": "HEAD", "Access-Control-Request-Headers": "authorization,range"}
    with serving(guard.Guard(app, ["a token"], preflights=True)) as own:
        connection = HTTPConnection("127.0.0.1", own, timeout=20)
        status, _, headers = ask(connection, PARQUET, "OPTIONS", Origin="https://notebook.example.com", **asked)
        assert (status, headers["access-control-allow-methods"]) == (200, "GET, HEAD")
        origin = {"Origin": "https://notebook.example.com", "Authorization": "Bearer a token"}
        status, _, headers = ask(connection, PARQUET, range="bytes=0-3", **origin)
        connection.close()
    assert status == 206
    assert "Content-Range" in headers["access-control-expose-headers"]
