"""A canary secret is planted and looked for in everything that leaves the gateway."""

import base64
import json
import logging
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

import pytest

from financehub_dagster.gateway import redaction
from financehub_dagster.gateway.errors import ProviderError
from financehub_dagster.gateway.redaction import guard_logger, redact, register_secret
from financehub_dagster.settings import get_settings
from financehub_dagster.storage.database.masking import MASK

CANARY = "CANARY/key+42 ä"


@pytest.fixture(autouse=True)
def canary(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(redaction, "_registered", set())
    register_secret(CANARY)
    yield
    get_settings.cache_clear()


@pytest.mark.parametrize(
    "form",
    [
        CANARY,
        quote(CANARY),
        quote(CANARY, safe=""),
        quote_plus(CANARY),
        quote(CANARY, safe="").replace("%2F", "%2f").replace("%2B", "%2b").replace("%C3%A4", "%c3%a4"),
        quote(quote(CANARY, safe=""), safe=""),
        json.dumps(CANARY)[1:-1],
        json.dumps(CANARY)[1:-1].replace("/", "\\/"),
    ],
    ids=["raw", "path", "query", "form", "lower", "twice", "json", "php"],
)
def test_a_secret_is_masked_in_every_spelling_of_an_address_or_a_document(form: str) -> None:
    assert redact(f"GET /query?apikey={form}&x=1") == f"GET /query?apikey={MASK}&x=1"


@pytest.mark.parametrize("before", ["", "u", "us", "user:"])
@pytest.mark.parametrize("after", ["", "x", "xy", ":more"])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_a_secret_is_masked_in_base64_at_any_alignment(before: str, after: str, encode: object) -> None:
    assert callable(encode)
    encoded: str = encode(f"{before}{CANARY}{after}".encode()).decode()
    clean = redact(f"Authorization: Basic {encoded}")
    assert MASK in clean
    # What is left around the mask is too little to tell a character of the secret.
    assert len(clean.replace(MASK, "")) <= len("Authorization: Basic ") + len(encode((before + after).encode())) + 6


def test_errors_are_redacted_where_they_are_built() -> None:
    error = ProviderError("vendor", f"refused https://host/?key={quote_plus(CANARY)}", symbol="AAPL")
    assert str(error) == f"vendor: AAPL: refused https://host/?key={MASK}"


def test_the_password_of_the_database_is_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINANCEHUB_DATABASE_URL", "postgresql://me:p%40ssw0rd@db:5432/market")
    get_settings.cache_clear()
    assert redact("login with p@ssw0rd or p%40ssw0rd failed") == f"login with {MASK} or {MASK} failed"


def test_logs_of_client_libraries_are_redacted_once_guarded(caplog: pytest.LogCaptureFixture) -> None:
    guard_logger("some.client")
    guard_logger("some.client")
    logger = logging.getLogger("some.client")
    with caplog.at_level(logging.DEBUG, logger="some.client"):
        logger.debug("asking %s in %d ms", f"https://host/?key={quote(CANARY)}", 7)
    assert caplog.messages == [f"asking https://host/?key={MASK} in 7 ms"]
    assert len(logger.filters) == 1


def test_ordinary_text_stays_as_it_is() -> None:
    text = "yahoo: AAPL: HTTP 500: internal error (key)"
    assert redact(text) == text


@pytest.mark.parametrize("value", ["x", "key", "time", "postgres", "20150305", "connection"])
def test_a_value_that_may_be_part_of_a_word_blackens_nothing(value: str) -> None:
    text = "connection timeout expired: postgresql has no keys for 20150305"
    register_secret(value)
    assert redact(text) == text


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("postgresql://me:x@db:5432/market is down", f"postgresql://me:{MASK}@db:5432/market is down"),
        ("postgresql+psycopg2://me:p@ss/w:rd@db/market", f"postgresql+psycopg2://me:{MASK}@db/market"),
        ("redis://:x@cache/0 and http://a:b@c", f"redis://:{MASK}@cache/0 and http://a:{MASK}@c"),
        ("host=db user=me password=x dbname=market", f"host=db user=me password={MASK} dbname=market"),
        ("host=db password='a \\' b' dbname=market", f"host=db password={MASK} dbname=market"),
        ("/market?sslpassword=x&sslmode=require", f"/market?sslpassword={MASK}&sslmode=require"),
        ("GET /query?symbol=AAPL&apikey=demo&x=1", f"GET /query?symbol=AAPL&apikey={MASK}&x=1"),
        ("GET /v1?token=demo", f"GET /v1?token={MASK}"),
        ('{"apiKey": "demo", "status": "error"}', f'{{"apiKey": "{MASK}", "status": "error"}}'),
        ("Authorization: apikey demo", f"Authorization: apikey {MASK}"),
        ("http://127.0.0.1:8080/a?mail=b@c.d", "http://127.0.0.1:8080/a?mail=b@c.d"),
        ("wrong password for user me: no token", "wrong password for user me: no token"),
    ],
)
def test_a_secret_of_any_length_is_masked_where_it_stands(text: str, clean: str) -> None:
    assert redact(text) == clean
    assert redact(clean) == clean
