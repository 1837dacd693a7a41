"""One contract that every vendor with keys keeps: its answers become the declared rows, its refusals the typed errors.

Reading is tried on the documents alone; `test_provider_requests` asks for them over HTTP.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import financehub_dagster
from financehub_dagster.gateway import errors
from financehub_dagster.gateway.errors import Limited, Malformed, ProviderError, QuotaSpent
from financehub_dagster.gateway.response import Reply
from financehub_dagster.providers import all_providers
from financehub_dagster.providers.intraday import Minutes
from financehub_dagster.providers.reading import AnswerRows, answer_of
from financehub_dagster_tests.contracts.vendor_cases import FIXTURES, VENDORS, Document, Vendor

CANARY = "CANARY-KEY-7731"
HTML = b"<html><body>Bad Gateway</body></html>"
PACKAGE = Path(financehub_dagster.__file__).parent
PAGE = (PACKAGE.parent / "docs" / "providers.md").read_text()


def cases(*, silent: bool = True) -> list[Any]:
    """Every recorded answer of every vendor; with `silent` off those that name the symbol they are about."""
    return [
        pytest.param(vendor, document, id=f"{vendor.name}-{document.answers[0]}-{document.capability}")
        for vendor in VENDORS
        for document in vendor.documents
        if silent or not document.silent
    ]


def refusals(error: str | None = None) -> list[Any]:
    """Every refusal of every vendor, or those that stand for one kind of error."""
    return [
        pytest.param(vendor, refused, id=f"{vendor.name}-{refused['what']}")
        for vendor in VENDORS
        for refused in vendor.errors
        if error in (None, refused["error"])
    ]


STATUSES = {
    401: "BadKey",
    403: "Banned",
    404: "BadRequest",
    418: "Banned",
    429: "BurstLimit",
    451: "NotInPlan",
    500: "Transient",
    502: "Transient",
    503: "Transient",
    302: "Malformed",
}


def reply(vendor: Vendor, body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Reply:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply(vendor.name, "/", status, headers or {}, content, "AAPL")


def read(vendor: Vendor, document: Document, body: Any) -> Any:
    return answer_of(reply(vendor, body), vendor.refusal, document.read)


def outcome(got: Reply, vendor: Vendor, document: Document) -> Any:
    """The answer, or the typed error that stands for it; any other error is raised."""
    try:
        return answer_of(got, vendor.refusal, document.read)
    except ProviderError as error:
        return error


def rows(answer: Any) -> list[Any]:
    """What an answer holds, whichever kind it is."""
    if isinstance(answer, Minutes):
        return list(zip(answer.opens.tolist(), *answer.columns.tolist(), strict=True))
    return (
        list(answer.rows)
        if isinstance(answer, AnswerRows)
        else list(answer[0] if isinstance(answer, tuple) else answer)
    )


def variants(body: Any, replacement: Any) -> Iterator[Any]:
    """The document with one node after the other replaced."""
    yield replacement
    keys = body if isinstance(body, dict) else range(len(body)) if isinstance(body, list) else ()
    for key in keys:
        for inner in variants(body[key], replacement):
            changed = body.copy()
            changed[key] = inner
            yield changed


def in_strings(body: Any) -> Any:
    """The document with every number written as a string."""
    if isinstance(body, dict):
        return {name: in_strings(value) for name, value in body.items()}
    if isinstance(body, list):
        return [in_strings(value) for value in body]
    return repr(body) if isinstance(body, int | float) and not isinstance(body, bool) else body


@pytest.mark.parametrize(("vendor", "refused"), refusals())
def test_every_refusal_becomes_its_typed_error(vendor: Vendor, refused: dict[str, Any]) -> None:
    got = reply(vendor, refused["body"], refused["status"], refused.get("headers"))
    answer = outcome(got, vendor, vendor.documents[0])
    error = next(iter(answer.failed.values())) if isinstance(answer, AnswerRows) else answer
    assert type(error) is getattr(errors, refused["error"])
    if "seconds" in refused:
        assert isinstance(error, Limited)
        assert error.retry_after == pytest.approx(refused["seconds"], abs=2)


@pytest.mark.parametrize(("vendor", "refused"), refusals())
def test_no_refusal_passes_on_a_key_or_a_second_line(vendor: Vendor, refused: dict[str, Any]) -> None:
    verdict = vendor.refusal(reply(vendor, refused["body"], refused["status"]), refused["body"])
    assert CANARY not in str(verdict)
    assert "\n" not in str(verdict)


@pytest.mark.parametrize(("vendor", "refused"), refusals("QuotaSpent"))
def test_a_spent_quota_says_until_when(vendor: Vendor, refused: dict[str, Any]) -> None:
    spent = vendor.refusal(reply(vendor, refused["body"], refused["status"]), refused["body"])
    assert isinstance(spent, QuotaSpent)
    assert spent.until is not None
    assert spent.until > datetime.now(UTC)
    assert spent.retry_after == pytest.approx((spent.until - datetime.now(UTC)).total_seconds(), abs=5)


@pytest.mark.parametrize("vendor", VENDORS, ids=lambda vendor: vendor.name)
@pytest.mark.parametrize(("status", "error"), STATUSES.items())
def test_a_page_of_a_proxy_is_judged_by_its_status(vendor: Vendor, status: int, error: str) -> None:
    with pytest.raises(getattr(errors, error)) as caught:
        answer_of(reply(vendor, HTML, status), vendor.refusal, vendor.documents[0].read)
    assert type(caught.value).__name__ == error


@pytest.mark.parametrize(("vendor", "document"), cases())
def test_what_is_no_document_is_malformed(vendor: Vendor, document: Document) -> None:
    whole = json.dumps(vendor.load(document.answers[0])).encode()
    for body in (b"", b" ", HTML, b"\x00\xff", whole[: len(whole) // 2], b'"text"', b"7", b"null", b"true"):
        with pytest.raises(Malformed):
            answer_of(reply(vendor, body), vendor.refusal, document.read)


@pytest.mark.parametrize("vendor", VENDORS, ids=lambda vendor: vendor.name)
def test_null_in_place_of_a_list_is_named_another_shape(vendor: Vendor) -> None:
    with pytest.raises(Malformed, match="the answer has another shape than documented: 'NoneType' object"):
        answer_of(reply(vendor, {"values": None}), vendor.refusal, lambda document: list(document["values"]))


@pytest.mark.parametrize("nonsense", [None, "NaN", [7], {}, -1, True], ids=repr)
@pytest.mark.parametrize(("vendor", "document"), cases())
def test_a_document_spoiled_anywhere_is_read_or_refused_and_never_anything_else(
    vendor: Vendor, document: Document, nonsense: Any
) -> None:
    whole = vendor.load(document.answers[0])
    most = len(rows(read(vendor, document, whole)))
    for body in variants(whole, nonsense):
        answer = outcome(reply(vendor, body), vendor, document)
        assert isinstance(answer, ProviderError) or len(rows(answer)) <= most


@pytest.mark.parametrize(("vendor", "document"), cases())
def test_numbers_may_come_as_strings(vendor: Vendor, document: Document) -> None:
    body = vendor.load(document.answers[0])
    assert repr(rows(read(vendor, document, in_strings(body)))) == repr(rows(read(vendor, document, body)))


@pytest.mark.parametrize(("vendor", "document"), cases(silent=False))
def test_another_symbols_answer_gives_no_row(vendor: Vendor, document: Document) -> None:
    text = json.dumps(vendor.load(document.answers[0]))
    for symbol in ("AAPL", "MSFT", "IBM", "TSM", "bitcoin", "INVALID"):
        text = text.replace(f'"{symbol}"', '"ZZZZ"')
    text = text.replace('"id": 1,', '"id": 99,').replace('"id": 2,', '"id": 98,')
    answer = outcome(reply(vendor, json.loads(text)), vendor, document)
    assert isinstance(answer, Malformed) or (not rows(answer) and answer.failed)


def test_every_vendor_has_fixtures_a_row_in_the_docs_and_a_part_in_the_sandbox() -> None:
    names = set(all_providers())
    assert {vendor.name for vendor in VENDORS} | {"yahoo", "binance"} == names
    assert {path.stem for path in (PACKAGE / "providers").iterdir()} >= names
    for name in names:
        assert f"\n| `{name}` |" in PAGE, f"docs/providers.md has no row for {name}"
        vendors = {path.stem for path in (PACKAGE / "sandbox" / "vendors").iterdir()}
        assert name in vendors, f"the sandbox does not play {name}"
        recorded = FIXTURES / name if (FIXTURES / name).is_dir() else FIXTURES.parent / "recorded"
        assert any(recorded.glob("*.json")), f"there is no recorded answer of {name}"


def test_every_capability_of_a_vendor_has_a_recorded_answer() -> None:
    for vendor in VENDORS:
        assert {document.capability for document in vendor.documents} == set(vendor.provider.serves)
