"""One instrument's bad day is nobody else's: asked about several at once, every vendor still has the others."""

from datetime import timedelta
from typing import Any

import pandas as pd
import pytest

from financehub_dagster.gateway.errors import Malformed, ProviderError, UnknownSymbol
from financehub_dagster.providers.base import Answers
from financehub_dagster_tests.faults.bad_days.bad_day_runs import Week, provider_of
from financehub_dagster_tests.faults.bad_days.bad_days import CLOCK, UNIVERSE, VENDORS

STOCKS = [UNIVERSE[symbol] for symbol in ("IBM", "AAPL", "MSFT")]
COINS = [UNIVERSE[symbol] for symbol in ("ETH", "BTC", "DOGE")]
CAPABILITY = {**dict.fromkeys(VENDORS, "quotes"), "newsapi": "news"}
ONE_BY_ONE = (pytest.param("alpha_vantage", marks=pytest.mark.full), "finnhub")
"""Vendors that are asked about one instrument at a time."""


def batch(name: str) -> Answers:
    """One answer about three, of which the second will have the bad day."""
    instruments = COINS if name in ("binance", "coingecko", "coinmarketcap") else STOCKS
    since = [CLOCK - timedelta(days=14)] if name == "newsapi" else []
    answer: Answers = getattr(provider_of(VENDORS[name]), CAPABILITY[name])(instruments, *since)
    return answer


def without_the_second(answer: Answers) -> pd.DataFrame:
    return answer.rows[answer.rows["symbol"] != answer.rows["symbol"][1]].reset_index(drop=True)


def failures(answer: Answers) -> dict[str, type[ProviderError]]:
    return {symbol: type(error) for symbol, error in answer.failed.items()}


@pytest.mark.parametrize("name", sorted(set(VENDORS) - {"newsapi"}))
def test_one_that_is_unknown_leaves_the_others_as_they_are(week: Week, name: str) -> None:
    with week.open():
        good = batch(name)
        week.sandbox.delist(good.rows["symbol"][1])
        spoilt = batch(name)
    assert list(good.rows["symbol"]) == [
        each.symbol for each in (COINS if "BTC" in set(good.rows["symbol"]) else STOCKS)
    ]
    pd.testing.assert_frame_equal(spoilt.rows, without_the_second(good))
    assert failures(spoilt) == {good.rows["symbol"][1]: UnknownSymbol}


@pytest.mark.parametrize("kind", ["garbage", "reset", "nan", "status"])
@pytest.mark.parametrize("name", ONE_BY_ONE)
def test_one_whose_request_fails_leaves_the_others_as_they_are(week: Week, name: str, kind: str) -> None:
    with week.open():
        good = batch(name)
        week.sandbox.fault(kind, vendor=name, symbol="AAPL")
        spoilt = batch(name)
    pd.testing.assert_frame_equal(spoilt.rows, without_the_second(good))
    assert list(spoilt.failed) == ["AAPL"]


def test_articles_about_the_others_are_found_although_one_is_gone(week: Week) -> None:
    with week.open():
        good = batch("newsapi")
        week.sandbox.delist("AAPL")
        spoilt = batch("newsapi")

    def about(answer: Answers, symbol: str) -> set[Any]:
        return {
            url for url, symbols in zip(answer.rows["url"], answer.rows["symbols"], strict=True) if symbol in symbols
        }

    for symbol in ("IBM", "MSFT"):
        assert about(good, symbol)
        assert about(spoilt, symbol) == about(good, symbol)


def test_one_that_is_swapped_for_a_stranger_is_not_called_unknown(week: Week) -> None:
    with week.open():
        week.sandbox.delist("BTC")
        week.sandbox.fault("wrong_symbol", vendor="coingecko", symbol="ETH")
        with pytest.raises(Malformed, match="asked for"):
            batch("coingecko")
