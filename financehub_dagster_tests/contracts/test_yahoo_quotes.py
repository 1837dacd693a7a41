"""Quotes of Yahoo, each judged alone: what it no longer has, calls something else, or says in part."""

from collections.abc import Iterator
from math import nan
from typing import Any

import pytest

from financehub_dagster.gateway.errors import BadRequest, Malformed, UnknownSymbol
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.providers.base import Answers
from financehub_dagster.providers.yahoo.provider import YahooProvider
from financehub_dagster_tests.contracts.scripted import Answer, Asked, ScriptedVendor, scripted_vendor

pytestmark = pytest.mark.usefixtures("shared_database")

PENCE = Instrument("PENCE.L", "Pence", AssetType.STOCK, "XLON", "GBP", "Europe/London")


def stock(symbol: str) -> Instrument:
    return Instrument(symbol, symbol, AssetType.STOCK, "XNYS", "USD", "America/New_York")


def quote(symbol: str, **parts: Any) -> dict[str, Any]:
    right = {"currency": "USD", "quoteType": "EQUITY", "regularMarketPrice": 2.5, "regularMarketTime": 1_700_000_000}
    return {"symbol": symbol, **right, **parts}


@pytest.fixture(scope="module")
def vendor() -> Iterator[ScriptedVendor]:
    with scripted_vendor(Answer({})) as vendor:
        yield vendor


def ask(vendor: ScriptedVendor, listed: list[dict[str, Any]], *instruments: Instrument) -> Answers:
    def rule(asked: Asked) -> Answer:
        if asked.path == "/":
            return Answer(b"", 404)
        crumb = asked.path.endswith("getcrumb")
        return Answer(b"a.crumb") if crumb else Answer({"quoteResponse": {"result": listed, "error": None}})

    vendor.rule = rule
    vendor.asked.clear()
    return YahooProvider(requests_per_second=1000, first_pause=0.001, base_url=vendor.url).quotes(instruments)


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (
            {"symbol": "DEADQ", "quoteType": "NONE", "exchange": "YHD"},
            UnknownSymbol,
            "Yahoo has no quote for it any more (quoteType NONE, exchange YHD)",
        ),
        (quote("METANEW"), UnknownSymbol, "Yahoo calls it METANEW now: `financehub instruments rename"),
        (quote("DEADQ", currency=None), BadRequest, "Yahoo does not say in which currency it is quoted"),
        (quote("DEADQ", quoteType="INDEX"), BadRequest, "DEADQ is of type INDEX there, not stock"),
        (quote("DEADQ", regularMarketPrice=None), BadRequest, "has no last price there"),
        (quote("DEADQ", regularMarketPrice="n/a"), Malformed, "'n/a' is not a number"),
        (quote("DEADQ", regularMarketTime=1_700_000_000_000_000), Malformed, "year"),
    ],
)
def test_one_without_a_quote_is_told_why_and_harms_no_other(
    vendor: ScriptedVendor, answer: dict[str, Any], error: type[Exception], words: str
) -> None:
    answers = ask(vendor, [quote("GOOD"), answer], stock("GOOD"), stock("DEADQ"))
    assert answers.rows["symbol"].tolist() == ["GOOD"]
    assert type(answers.failed["DEADQ"]) is error
    assert words in str(answers.failed["DEADQ"])
    assert len([each for each in vendor.asked if each.path.endswith("quote")]) == 1


def test_one_that_was_renamed_makes_no_broken_answer_of_another_that_is_unknown(vendor: ScriptedVendor) -> None:
    answers = ask(vendor, [quote("GOOD"), quote("METANEW")], stock("GOOD"), stock("FB"), stock("GONE"))
    assert answers.rows["symbol"].tolist() == ["GOOD"]
    assert {symbol: (type(error), str(error)) for symbol, error in answers.failed.items()} == {
        symbol: (
            UnknownSymbol,
            f"yahoo: {symbol}: Yahoo has no quote for it, or calls it METANEW now; check or add its `yahoo` alias",
        )
        for symbol in ("FB", "GONE")
    }


def test_all_strangers_are_the_answer_to_another_question(vendor: ScriptedVendor) -> None:
    with pytest.raises(Malformed, match="asked for ONE, got THREE"):
        ask(vendor, [quote("THREE"), quote("FOUR")], stock("ONE"), stock("TWO"))


@pytest.mark.parametrize("unreadable", [0, None, "n/a", nan, True])
def test_a_price_that_may_be_unknown_costs_nothing(vendor: ScriptedVendor, unreadable: Any) -> None:
    answer = quote("GOOD", regularMarketOpen=unreadable, regularMarketDayHigh="3.5", regularMarketVolume="n/a")
    rows = ask(vendor, [answer], stock("GOOD")).rows
    assert rows[["open", "low", "volume"]].isna().all(axis=None)
    assert rows[["price", "high"]].to_numpy().tolist() == [[2.5, 3.5]]


def test_pence_become_pounds_to_the_last_digit(vendor: ScriptedVendor) -> None:
    answer = quote("PENCE.L", currency="GBp", regularMarketPrice=602.55, regularMarketOpen=0.07)
    assert ask(vendor, [answer], PENCE).rows[["price", "open"]].to_numpy().tolist() == [[6.0255, 0.0007]]
