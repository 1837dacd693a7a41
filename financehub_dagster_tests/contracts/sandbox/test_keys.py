"""Every vendor with keys counts them, tells valid from invalid and refuses whoever asks too much, in its own words."""

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import pytest
import requests

from financehub_dagster.sandbox.client import KEYLESS_VENDORS, VENDORS, Sandbox
from financehub_dagster.sandbox.errors import SandboxError
from financehub_dagster.sandbox.market.market import Market
from financehub_dagster.sandbox.server import VENDORS as PLAYED
from financehub_dagster.sandbox.vendors.accounts import Accounts
from financehub_dagster.sandbox.vendors.limits import RateWindow
from financehub_dagster.sandbox.vendors.vendor import Identity, Vendor
from financehub_dagster_tests.contracts.sandbox.sandbox_calls import EXAMPLES, KEY, OTHER_KEY, ask, fresh

EVERY = pytest.mark.parametrize("vendor", EXAMPLES)
MARKET = Market()
DAY = 86_400
MONTH = 30 * DAY
#: A full minute on the last day of a month, so that every calendar window ends soon.
START = datetime(2026, 1, 31, 10, 0, tzinfo=UTC).timestamp()
TOMORROW = datetime(2026, 2, 1, tzinfo=UTC).timestamp() - START
#: vendor, plan, requests that pass, seconds over which they are spread, seconds until the next one passes again.
LIMITS = [
    ("alpha_vantage", "free", 25, 100, TOMORROW + 5 * 3600),
    ("alpha_vantage", "free", 1, 0, 1),
    ("alpha_vantage", "paid", 75, 30, 60),
    ("coingecko", "free", 30, 10, 60),
    ("coingecko", "free", 10_000, 40_000, TOMORROW),
    ("coingecko", "paid", 500, 20, 60),
    ("coingecko", "keyless", 5, 5, 60),
    ("coinmarketcap", "free", 30, 10, 60),
    ("coinmarketcap", "free", 15_000, 45_000, TOMORROW),
    ("coinmarketcap", "paid", 120, 10, 60),
    ("finnhub", "free", 60, 50, 60),
    ("finnhub", "free", 30, 0.5, 1),
    ("finnhub", "paid", 300, 50, 60),
    ("twelve_data", "free", 8, 10, 60),
    ("twelve_data", "free", 800, 10_000, TOMORROW),
    ("twelve_data", "paid", 377, 10, 60),
    ("newsapi", "free", 50, 30_000, DAY / 2),
]


def played(name: str, plan: str) -> tuple[Vendor, str | None]:
    """A vendor of its own, and a key on that plan."""
    vendor = dict(zip(VENDORS, PLAYED, strict=True))[name](MARKET)
    vendor.declare_key(KEY, valid=True, plan="paid" if plan == "paid" else "free")
    return vendor, None if plan == "keyless" else KEY


def test_every_vendor_with_keys_is_tried_here() -> None:
    assert set(EXAMPLES) == {name for name, *_ in LIMITS} == set(VENDORS) - set(KEYLESS_VENDORS)
    assert [make(MARKET).name for make in PLAYED] == list(VENDORS)


@pytest.mark.parametrize(("name", "plan", "amount", "spread", "until"), LIMITS)
def test_the_real_limit_holds_to_the_call_and_ends_when_it_should(
    name: str, plan: str, amount: int, spread: float, until: float
) -> None:
    vendor, key = played(name, plan)
    identity = Identity(key=key)
    times = [START + spread * place / amount for place in range(amount)]
    assert [at for at in times if vendor.admit(identity, at) is not None] == []
    assert vendor.admit(identity, START + spread) is not None
    assert vendor.admit(identity, START + until - 0.2) is not None
    assert vendor.admit(identity, START + until + 0.001) is None


def test_newsapis_hundred_a_day_hold_across_both_halves() -> None:
    vendor, _ = played("newsapi", "free")
    identity = Identity(key=KEY)
    for start in (START, START + DAY / 2):
        assert all(vendor.admit(identity, start + place) is None for place in range(50))
    assert vendor.admit(identity, START + DAY - 1) is not None
    assert vendor.admit(identity, START + DAY + 1) is None


def test_credits_are_counted_by_weight_and_requests_by_the_piece() -> None:
    vendor, _ = played("twelve_data", "free")
    assert vendor.admit(Identity(key=KEY, weight=8), START) is None
    assert vendor.admit(Identity(key=KEY), START + 1) is not None
    assert vendor.admit(Identity(key=OTHER_KEY, weight=9), START) is not None
    market_cap, _ = played("coinmarketcap", "free")
    assert market_cap.admit(Identity(key=KEY, weight=15_000), START) is None
    assert market_cap.admit(Identity(key=KEY, weight=1), START) is not None
    assert market_cap.admit(Identity(key=KEY, weight=0), START) is None


def test_going_on_after_a_breach_counts_only_where_the_vendor_says_so() -> None:
    forgiving = Accounts((RateWindow(60, 2, aligned=True),), ())
    strict = Accounts((RateWindow(60, 2, aligned=True, counts_refused=True),), ())
    for accounts in (forgiving, strict):
        for _ in range(5):
            accounts.admit(KEY, 1, START)
    assert (forgiving.used(KEY, 60, START), strict.used(KEY, 60, START)) == (2, 5)


@EVERY
def test_the_key_is_taken_from_the_header_and_from_the_query(sandbox: Sandbox, vendor: str) -> None:
    example = EXAMPLES[vendor]
    assert fresh(sandbox, vendor).status_code == 200
    query = {**example.params, example.parameter: OTHER_KEY}
    answer = requests.get(f"{sandbox.base_url(vendor)}{example.path}", params=query, timeout=10)
    assert answer.status_code == 200
    assert example.bad_key not in answer.text
    assert sandbox.calls(vendor)["by_key"][OTHER_KEY[-4:]] == 1
    assert sandbox.calls(vendor)["by_symbol"] == {example.symbol: 2}
    assert "key-of" not in str(sandbox.calls(detail=True))


@EVERY
def test_an_invalid_key_is_refused_and_another_one_is_not(sandbox: Sandbox, vendor: str) -> None:
    sandbox.declare_key(vendor, KEY, valid=False)
    answer = ask(sandbox, vendor)
    assert answer.status_code == EXAMPLES[vendor].statuses["bad_key"]
    assert EXAMPLES[vendor].bad_key in answer.text
    assert EXAMPLES[vendor].bad_key not in ask(sandbox, vendor, key=OTHER_KEY).text
    sandbox.declare_key(vendor, KEY)
    assert EXAMPLES[vendor].bad_key not in ask(sandbox, vendor).text


@pytest.mark.parametrize("key", [None, ""])
@pytest.mark.parametrize("vendor", sorted(set(EXAMPLES) - {"coingecko"}))
def test_a_missing_or_empty_key_is_refused(sandbox: Sandbox, vendor: str, key: str | None) -> None:
    answer = ask(sandbox, vendor, key=key)
    assert answer.status_code == EXAMPLES[vendor].statuses["bad_key"]
    assert "key" in answer.text.lower()


@EVERY
def test_a_limit_set_by_a_test_is_breached_in_the_vendors_words(sandbox: Sandbox, vendor: str) -> None:
    sandbox.limit(vendor, 0, 60)
    answer = ask(sandbox, vendor)
    assert answer.status_code == EXAMPLES[vendor].statuses["burst"]
    assert EXAMPLES[vendor].burst in answer.text
    sandbox.limit(vendor, None)
    assert EXAMPLES[vendor].burst not in ask(sandbox, vendor).text


@pytest.mark.parametrize(
    ("vendor", "situation"), [(name, situation) for name, each in EXAMPLES.items() for situation in each.statuses]
)
def test_every_situation_has_the_vendors_words_and_status(sandbox: Sandbox, vendor: str, situation: str) -> None:
    right = fresh(sandbox, vendor).json()
    sandbox.fault("error", vendor=vendor, situation=situation, times=2)
    answer = fresh(sandbox, vendor)
    assert answer.status_code == EXAMPLES[vendor].statuses[situation]
    assert answer.json() != right
    sandbox.clear_faults()
    sandbox.fault("error", vendor=vendor, situation=situation, in_200=True)
    assert fresh(sandbox, vendor).status_code == 200


def test_situations_differ_from_each_other_at_every_vendor(sandbox: Sandbox) -> None:
    for vendor, example in EXAMPLES.items():
        texts = []
        for situation in example.statuses:
            sandbox.clear_faults()
            sandbox.fault("error", vendor=vendor, situation=situation)
            texts.append(ask(sandbox, vendor).text)
        # NewsAPI has the same words for every quota.
        assert len(set(texts)) == len(texts) - (2 if vendor == "newsapi" else 0), vendor


@EVERY
def test_retry_after_comes_in_seconds_or_as_a_date(sandbox: Sandbox, vendor: str) -> None:
    sandbox.fault("error", vendor=vendor, situation="burst", retry_after=7, times=1)
    sandbox.fault("status", vendor=vendor, status=429, retry_after=90, retry_after_as="date")
    assert fresh(sandbox, vendor).headers["Retry-After"] == "7"
    began = datetime.now(UTC)
    answer = fresh(sandbox, vendor)
    assert answer.status_code == 429
    assert EXAMPLES[vendor].burst in answer.text
    delay = parsedate_to_datetime(answer.headers["Retry-After"]) - began
    assert timedelta(seconds=88) < delay < timedelta(seconds=120)


def test_keys_and_situations_that_make_no_sense_are_refused_in_one_line(sandbox: Sandbox) -> None:
    for order, words in (
        (lambda: sandbox.declare_key("yahoo", KEY), "vendor yahoo asks for no keys"),
        (lambda: sandbox.declare_key("finnhub", KEY, plan="gold"), "plan: Input should be 'free' or 'paid'"),
        (lambda: sandbox.fault("error", vendor="finnhub"), "kind error needs a situation"),
        (lambda: sandbox.fault("error", situation="burst"), "kind error needs a vendor"),
        (lambda: sandbox.fault("reset", situation="burst"), "no other kind has one"),
        (lambda: sandbox.fault("error", vendor="finnhub", situation="banned"), "vendor finnhub knows no banned"),
    ):
        with pytest.raises(SandboxError) as complaint:
            order()
        assert words in str(complaint.value)
        assert "\n" not in str(complaint.value)
    assert sandbox.faults() == []


def test_vendors_answer_to_their_name_and_to_their_path(sandbox: Sandbox) -> None:
    sandbox.fault("status", vendor="twelvedata", status=503)
    sandbox.fault("status", vendor="twelve_data", status=500)
    assert [each["vendor"] for each in sandbox.faults()] == ["twelve_data", "twelve_data"]
    assert fresh(sandbox, "twelve_data").status_code == 503
    assert sandbox.calls("twelvedata")["total"] == sandbox.calls("twelve_data")["total"] == 1


def test_environment_and_keys_name_every_vendor(sandbox: Sandbox) -> None:
    addresses = {f"{vendor.upper()}_BASE_URL" for vendor in VENDORS}
    assert set(sandbox.environment) == addresses | {"BINANCE_BULK_BASE_URL"}
    assert set(sandbox.keys) == {f"{vendor.upper()}_API_KEYS" for vendor in EXAMPLES}
    for vendor in EXAMPLES:
        assert sandbox.environment[f"{vendor.upper()}_BASE_URL"] == f"{sandbox.url}/{vendor.replace('_', '')}"
        assert ask(sandbox, vendor, key=sandbox.keys[f"{vendor.upper()}_API_KEYS"]).status_code == 200
