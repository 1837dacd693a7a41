"""Addresses as libpq reads and writes them: what a person copies from one program works in the other."""

import psycopg
import pytest
from sqlalchemy.engine import URL
from sqlalchemy.engine.url import make_url

from financehub_dagster.storage.database.errors import DatabaseError
from financehub_dagster.storage.database.urls import MARKET_DRIVER, libpq_url, parse_url, written

ODD = "a +b%&=?/@:'ä"


def test_every_part_of_an_address_is_read_by_libpq_as_it_was_meant() -> None:
    url = URL.create(
        MARKET_DRIVER, username=ODD, password=ODD, database=ODD, port=5432, query={"host": f"/{ODD}", "options": ODD}
    )
    found = psycopg.conninfo.conninfo_to_dict(libpq_url(url, with_secrets=True))
    expected = {"user": ODD, "password": ODD, "dbname": ODD, "host": f"/{ODD}", "options": ODD, "port": "5432"}
    assert found == expected


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("postgresql://u@%2Frun%2Fmy%20pg/market", {"user": "u", "host": "/run/my pg", "dbname": "market"}),
        (
            "postgresql://u@db/m?application_name=a+b",
            {"user": "u", "host": "db", "dbname": "m", "application_name": "a+b"},
        ),
        ("postgresql://u@[::1]:5433/m", {"user": "u", "host": "::1", "port": "5433", "dbname": "m"}),
        ("postgresql:///m?host=/c++/sockets", {"host": "/c++/sockets", "dbname": "m"}),
        ("postgres://u@/m?host=a:1&host=b:2", {"user": "u", "host": "a,b", "port": "1,2", "dbname": "m"}),
    ],
)
def test_an_address_is_read_as_libpq_reads_it(written: str, read: dict[str, str]) -> None:
    assert psycopg.conninfo.conninfo_to_dict(libpq_url(parse_url(written))) == read


def test_sqlalchemy_reads_what_we_print() -> None:
    printed = libpq_url(make_url("postgresql+psycopg://u:a%2Bb@/m?host=/c%2B%2B/a b"), with_secrets=True)
    again = make_url(printed)
    assert (again.password, again.database, again.query["host"]) == ("a+b", "m", "/c++/a b")


@pytest.mark.parametrize("where", ["postgresql://u:{}@db/m", "postgresql://u@db/m?password={}&sslpassword={}"])
def test_an_address_without_its_secrets_asks_for_them(where: str) -> None:
    assert libpq_url(parse_url(where.format("hunter2", "hunter2"))) == "postgresql://u@db/m"


def test_an_at_sign_in_a_password_is_never_taken_for_the_host() -> None:
    with pytest.raises(DatabaseError, match="write those of user and password as %40") as caught:
        parse_url("postgresql://u:hun@ter2@db/m")
    assert "ter2" not in str(caught.value)


@pytest.mark.parametrize("folder", ["/my data/postgres", "/a+b/postgres", "/a b+c/ü/100%/x&y?z=1"])
def test_an_address_that_is_written_is_read_back_as_it_was(folder: str) -> None:
    url = URL.create(MARKET_DRIVER, "a b", "p +?@/:", port=5432, database="market", query={"host": folder})
    assert parse_url(written(url)) == url
