"""Rows over HTTP, over real connections: the same as `read` gives, in every format, and refusals in one line."""

import io
import json
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime
from http.client import HTTPConnection
from urllib.parse import urlencode

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import sqlalchemy as sa
from pyarrow import ipc

from financehub_dagster import read
from financehub_dagster.serving import guard, http, rows
from financehub_dagster.storage.database.engine import transaction
from financehub_dagster_tests.fixtures.eventually import eventually
from financehub_dagster_tests.unit.serving import stored
from financehub_dagster_tests.unit.serving.test_guard import serving

STOCKS = "stock_prices_daily"


@pytest.fixture(scope="module")
def port(before: datetime) -> Iterator[int]:
    """A server of the filled database."""
    with serving(guard.Guard(http.create_app(looks=False), [])) as port:
        yield port


def get(port: int, path: str, **parameters: str | list[str]) -> tuple[int, bytes, dict[str, str]]:
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", f"{path}?{urlencode(parameters, doseq=True)}")
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body, {name.lower(): value for name, value in answer.getheaders()}


def waiting() -> int:
    """How many connections to the database wait for a lock."""
    query = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    with transaction() as connection:
        found: int = connection.execute(sa.text(query)).scalar_one()
        return found


def frame(body: bytes, form: str) -> pd.DataFrame:
    if form == "json":
        return pd.DataFrame(json.loads(body))
    if form == "csv":
        return pd.read_csv(io.BytesIO(body))
    if form == "arrow":
        return ipc.open_file(io.BytesIO(body)).read_all().to_pandas()
    return pd.read_parquet(io.BytesIO(body))


@pytest.mark.parametrize("form", rows.MEDIA)
def test_rows_are_those_of_read_in_every_format(port: int, form: str) -> None:
    chosen = {"symbols": "AAPL,MSFT", "start": "2024-01-05", "end": "2024-01-20", "columns": "close,volume"}
    status, body, headers = get(port, f"/tables/{STOCKS}", format=form, adjust="raw", **chosen)
    expected = read(
        STOCKS, adjust="raw", symbols="AAPL,MSFT", start="2024-01-05", end="2024-01-20", columns="close,volume"
    )
    found = frame(body, form)
    assert status == 200
    assert headers["content-type"] == rows.MEDIA[form]
    assert list(found.columns) == list(expected.columns)
    assert len(found) == len(expected) == 32
    found["date"] = found["date"].astype("datetime64[s]")
    for name in ("symbol", "date", "close", "volume"):
        assert found[name].tolist() == expected[name].tolist(), name


def test_a_list_that_is_given_several_times_is_read_whole(port: int) -> None:
    chosen = {"start": "2024-01-05", "end": "2024-01-20"}
    several = get(port, f"/tables/{STOCKS}", symbols=["AAPL", "MSFT"], columns=["close", "volume"], **chosen)
    assert several[:2] == get(port, f"/tables/{STOCKS}", symbols="AAPL,MSFT", columns="close,volume", **chosen)[:2]
    assert {row["symbol"] for row in json.loads(several[1])} == {"AAPL", "MSFT"}


def test_a_time_of_the_past_and_repairs_are_asked_for_as_in_python(port: int, before: datetime) -> None:
    path, chosen = f"/tables/{STOCKS}", {"symbols": "AAPL", "end": "2024-01-01", "columns": "close"}
    then = json.loads(get(port, path, as_of=before.isoformat(), **chosen)[1])
    assert [row["close"] for row in then] == [100.0]
    assert [row["close"] for row in json.loads(get(port, path, **chosen)[1])] == [100.25]
    day = "2024-01-15"
    with stored.one_in_pence("MSFT", date.fromisoformat(day)):
        asked = {**chosen, "symbols": "MSFT", "start": day, "end": day}
        assert [row["close"] for row in json.loads(get(port, path, **asked)[1])] == [1.14]
        assert [row["close"] for row in json.loads(get(port, path, repaired="true", **asked)[1])] == pytest.approx(
            [114.0]
        )
        as_of = stored.now().isoformat()
        both = get(port, path, repaired="true", as_of=as_of, **asked)
        assert [row["close"] for row in json.loads(both[1])] == pytest.approx([114.0])


def test_null_and_times_have_their_forms_in_json(port: int) -> None:
    [row] = json.loads(get(port, "/tables/indicators_daily", symbols="AAPL", end="2024-01-01")[1])
    assert (row["sma_20"], row["obv"], row["date"]) == (None, 5.0, "2024-01-01")
    assert datetime.fromisoformat(row["computed_at"]).tzinfo is not None


@pytest.mark.parametrize(
    ("path", "parameters", "told"),
    [
        ("stock_price_daily", {}, "did you mean stock_prices_daily"),
        ("price_revisions", {}, "unknown table price_revisions"),
        (STOCKS, {"symbol": "AAPL"}, "unknown parameter symbol: did you mean symbols?"),
        (STOCKS, {"symbols": "APPL"}, "did you mean AAPL"),
        (STOCKS, {"symbols": ""}, "an empty list of names"),
        (STOCKS, {"symbols": "AAPL,\0"}, "a name holds a character 0"),
        (STOCKS, {"start": ["2024-01-05", "2024-02-05"]}, "parameter start is given more than once"),
        (STOCKS, {"start": "yesterday"}, "write a day as"),
        (STOCKS, {"start": "2024-02-01", "end": "2024-01-01"}, "is after end"),
        (STOCKS, {"format": "xlsx"}, "there are json, csv, arrow, parquet"),
        (STOCKS, {"repaired": "yes"}, "write true or false"),
        (STOCKS, {"columns": "closing"}, "did you mean close"),
        (STOCKS, {"repaired": "true", "as_of": "2999-01-01"}, "name up to 5 symbols"),
        ("news_articles", {"as_of": "2999-01-01"}, "keeps no earlier values"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(port: int, path: str, parameters: dict, told: str) -> None:
    status, body, _ = get(port, f"/tables/{path}", **parameters)
    assert status == 400
    assert told in json.loads(body)["error"]
    assert "\n" not in json.loads(body)["error"]


@pytest.mark.parametrize(
    "bounds",
    [
        {"start": "2024-01-05", "end": "9999-12-31"},
        {"start": "0001-01-01T00:00+14:00", "end": "9999-12-31T23:59:59-14:00"},
        {"start": "0001-01-01", "as_of": "9999-12-31T23:59:59-14:00"},
    ],
)
@pytest.mark.parametrize("table", [STOCKS, "ohlc_1h"])
def test_days_at_the_ends_of_the_calendar_are_no_bounds(port: int, table: str, bounds: dict[str, str]) -> None:
    status, body, _ = get(port, f"/tables/{table}", symbols="AAPL", **bounds)
    assert status == 200
    assert len(json.loads(body)) == (0 if table != STOCKS else stored.DAYS - 4 * ("2024-01-05" in bounds.values()))


def test_an_answer_has_a_bound_and_says_how_to_get_the_rest(port: int, monkeypatch) -> None:
    monkeypatch.setattr(rows, "MOST_ROWS", 3 * stored.DAYS - 1)
    status, body, _ = get(port, f"/tables/{STOCKS}")
    assert status == 413
    assert "financehub export stock_prices_daily" in json.loads(body)["error"]
    monkeypatch.setattr(rows, "MOST_ROWS", 3 * stored.DAYS)
    assert len(json.loads(get(port, f"/tables/{STOCKS}")[1])) == 3 * stored.DAYS


def test_all_tables_are_listed_with_what_their_columns_mean(port: int) -> None:
    listed = {each["table"]: each for each in json.loads(get(port, "/tables")[1])}
    assert listed[STOCKS]["key"] == ["symbol", "date"]
    assert listed[STOCKS]["columns"]["close"]["type"] == "double precision"
    assert {get(port, f"/tables/{name}", format="csv")[0] for name in listed} == {200}


def test_many_questions_at_once_leave_the_server_able_to_tell_its_health(port: int) -> None:
    """Sixty wait for a table that somebody has locked; the server has forty threads."""
    with ThreadPoolExecutor(60) as pool:
        with transaction() as connection:
            connection.execute(sa.text(f"lock table {STOCKS} in access exclusive mode"))
            asked = [pool.submit(get, port, f"/tables/{STOCKS}", symbols="AAPL") for _ in range(60)]
            eventually(lambda: waiting() == rows.READERS)
            assert [get(port, path)[0] for path in ("/livez", "/metrics")] == [200, 200]
            assert not any(each.done() for each in asked)
        assert {each.result()[0] for each in asked} == {200}


def test_questions_whose_clients_have_hung_up_hold_up_nobody(port: int) -> None:
    """They are about a table that stays locked: an answer to any of them would take a turn for good."""
    with ThreadPoolExecutor(rows.READERS + 1) as pool, transaction() as others:
        others.execute(sa.text("lock table indicators_daily in access exclusive mode"))
        with transaction() as connection:
            connection.execute(sa.text(f"lock table {STOCKS} in access exclusive mode"))
            first = [pool.submit(get, port, f"/tables/{STOCKS}", symbols="AAPL") for _ in range(rows.READERS)]
            eventually(lambda: waiting() == rows.READERS)
            for _ in range(2 * rows.READERS):
                given_up = HTTPConnection("127.0.0.1", port)
                given_up.request("GET", "/tables/indicators_daily?symbols=AAPL")
                given_up.close()
            get(port, "/livez")
            last = pool.submit(get, port, f"/tables/{STOCKS}", symbols="MSFT")
        assert {each.result()[0] for each in [*first, last]} == {200}


def test_an_answer_in_json_takes_little_more_memory_than_its_text() -> None:
    length = 20_000
    table = pa.table({"symbol": ["AAPL"] * length} | {f"column_{n}": [n / 7] * length for n in range(10)})
    rows.encoded(table.slice(0, 1), "json")
    tracemalloc.start()
    answer = rows.encoded(table, "json")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 1.6 * len(answer)
    assert json.loads(answer) == table.to_pylist()
    assert rows.encoded(table.slice(0, 0), "json") == b"[]"


def test_pandas_and_polars_read_an_address(port: int) -> None:
    address = f"http://127.0.0.1:{port}/tables/{STOCKS}?symbols=AAPL&adjust=adjusted"
    expected = read(STOCKS, symbols="AAPL", adjust="adjusted")["close"].tolist()
    readers: dict[str, Callable[[str], pd.DataFrame]] = {
        "json": pd.read_json,
        "csv": pd.read_csv,
        "parquet": pd.read_parquet,
    }
    for form, reader in readers.items():
        assert reader(f"{address}&format={form}")["close"].tolist() == pytest.approx(expected), form
    assert pl.read_parquet(f"{address}&format=parquet")["close"].to_list() == expected
    assert pl.read_csv(f"{address}&format=csv")["close"].to_list() == pytest.approx(expected)
    late = pl.scan_parquet(f"{address}&format=parquet").filter(pl.col("date") >= date(2024, 2, 1)).select("close")
    assert late.collect()["close"].to_list() == expected[31:]
