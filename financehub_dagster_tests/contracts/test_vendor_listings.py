"""Which security and unit a vendor means: asked only where both are known, converted exactly, checked on return."""

import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from financehub_dagster.gateway.errors import BadRequest, Malformed
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.providers import listings
from financehub_dagster.providers.base import DailyBars
from financehub_dagster.providers.routing import DailyBarsRouter, answers_in_turn
from financehub_dagster_tests.contracts.scripted import Answer, ScriptedVendor, scripted_vendor
from financehub_dagster_tests.contracts.vendor_cases import ALPHA_VANTAGE, FINNHUB, TWELVE_DATA, Vendor

pytestmark = pytest.mark.usefixtures("books", "keys")

SPAN = (date(2024, 5, 6), date(2024, 5, 10))
STAMP = 1_715_040_000
"""7 May 2024, 00:00 UTC."""


def share(symbol: str, exchange: str = "XLON", currency: str = "GBP", **aliases: str) -> Instrument:
    return Instrument(symbol, symbol, AssetType.STOCK, exchange, currency, "Europe/London", aliases=aliases)


@pytest.fixture
def server() -> Iterator[ScriptedVendor]:
    with scripted_vendor(Answer({})) as server:
        yield server


def provider(vendor: Vendor, server: ScriptedVendor) -> Any:
    return vendor.provider(**{"base_url": server.url, "first_pause": 0.001, **vendor.fields})


def alpha_vantage_day(symbol: str, close: Any = "512.4000", day: str = "2024-05-07", **about: str) -> dict[str, Any]:
    prices = {"1. open": "510.1", "2. high": "515.05", "3. low": "508.2", "4. close": close, "5. volume": "1200300"}
    meta = {"1. Information": "Daily Prices (open, high, low, close) and Volumes", "2. Symbol": symbol, **about}
    return {"Meta Data": meta, "Time Series (Daily)": {day: prices}}


def twelve_data_days(*values: dict[str, Any] | None, **meta: str) -> dict[str, Any]:
    about = {"symbol": "BARC", "interval": "1day", "currency": "GBp", "mic_code": "XLON", "type": "Common Stock"}
    return {"meta": {**about, **meta}, "values": list(values), "status": "ok"}


def value(day: str = "2024-05-07", close: Any = "602.55", **fields: Any) -> dict[str, Any]:
    prices = {"open": "604.0", "high": "607.02", "low": "599.54", "close": close, "volume": "100"}
    return {"datetime": day, **prices, **fields}


CANDLES = {"s": "ok", "t": [STAMP], "o": [510.1], "h": [515.05], "l": [508.2], "c": [512.4], "v": [7]}
NO_SPLITS = Answer({"symbol": "RMG.LON", "data": []})


@pytest.mark.parametrize(
    ("vendor", "answers", "symbol", "asked"),
    [
        (ALPHA_VANTAGE, [Answer(alpha_vantage_day("RMG.LON")), NO_SPLITS], "RMG.L", {"symbol": "RMG.LON"}),
        (FINNHUB, [Answer(CANDLES)], "RMG", {"symbol": "RMG.L"}),
        (
            TWELVE_DATA,
            [Answer(twelve_data_days(value(close="512.4"), symbol="RMG"))],
            "RMG.L",
            {"symbol": "RMG", "mic_code": "XLON"},
        ),
    ],
    ids=lambda each: each.name if isinstance(each, Vendor) else "",
)
def test_pence_become_pounds_and_the_question_names_the_exchange(
    server: ScriptedVendor, vendor: Vendor, answers: list[Answer], symbol: str, asked: dict[str, str]
) -> None:
    server.will_answer(*answers)
    got: DailyBars = provider(vendor, server).daily_bars(share(symbol), *SPAN)
    assert got.bars["close"].tolist() == [5.124]
    assert asked.items() <= server.asked[0].query.items()


def test_quotes_in_pence_become_pounds_and_zeros_are_unknown(server: ScriptedVendor) -> None:
    server.will_answer(Answer({"c": 602.55, "d": 2.4, "dp": 0.4, "h": 0, "l": 508.2, "o": 0, "pc": 510.0, "t": STAMP}))
    row = provider(FINNHUB, server).quotes([share("RMG.L")]).rows.iloc[0].to_dict()
    assert (row["price"], row["low"], row["previous_close"], row["currency"]) == (6.0255, 5.082, 5.1, "GBP")
    assert all(math.isnan(row[name]) for name in ("open", "high"))


ETF = Instrument("VUSA", "S&P 500", AssetType.ETF, "XLON", "GBP", "Europe/London")


@pytest.mark.parametrize("vendor", [ALPHA_VANTAGE, FINNHUB], ids=lambda vendor: vendor.name)
@pytest.mark.parametrize(
    ("instrument", "problem"),
    [
        (ETF, "names no unit for etfs of XLON, which may trade in GBX"),
        (share("RMG", alpha_vantage="RMG", finnhub="RMG"), "is quoted in USD, not in GBP"),
        (share("RMG", currency="USD"), "is quoted in GBX, not in USD"),
        (share("SOL.JO", "XJSE", "ZAR"), "the same letters may be something else there: it has no alias"),
        (share("SOL", "XJSE", "ZAR", alpha_vantage="SOL.JO", finnhub="SOL.JO"), "names no unit for stocks of XJSE"),
        (share("AAPL", "XNAS", "EUR"), "is quoted in USD, not in EUR"),
    ],
    ids=["etf", "alias-without-exchange", "dollars-in-london", "no-spelling", "no-unit", "wrong-currency"],
)
def test_a_vendor_that_names_no_unit_is_not_asked_where_it_is_not_known(
    server: ScriptedVendor, vendor: Vendor, instrument: Instrument, problem: str
) -> None:
    server.will_answer(Answer({}))
    for ask in (
        lambda: provider(vendor, server).daily_bars(instrument, *SPAN),
        lambda: provider(vendor, server).quotes([instrument]).failed[instrument.symbol],
    ):
        try:
            error = ask()
        except BadRequest as raised:
            error = raised
        assert isinstance(error, BadRequest)
        assert problem in str(error)
    assert server.asked == []


def test_figures_of_companies_that_mix_pence_and_pounds_are_not_asked_for(server: ScriptedVendor) -> None:
    server.will_answer(Answer({}))
    for vendor in (ALPHA_VANTAGE, FINNHUB, TWELVE_DATA):
        failed = provider(vendor, server).fundamentals([share("RMG.L")]).failed
        assert "does not say which figures" in str(failed["RMG.L"])
    assert server.asked == []


def test_twelve_data_bars_of_pence_and_of_indices_without_volume(server: ScriptedVendor) -> None:
    server.will_answer(Answer(twelve_data_days(value())))
    bars = provider(TWELVE_DATA, server).daily_bars(share("BARC.L", twelve_data="BARC"), *SPAN).bars
    assert bars[["open", "high", "low", "close", "volume"]].iloc[0].tolist() == [6.04, 6.0702, 5.9954, 6.0255, 100.0]
    index = Instrument("^GSPC", "S&P 500", AssetType.INDEX, "XNYS", aliases={"twelve_data": "SPX"})
    days = twelve_data_days(value(), symbol="SPX", currency="USD", mic_code="XNYS", type="Index")
    del days["values"][0]["volume"]
    server.will_answer(Answer(days))
    assert provider(TWELVE_DATA, server).daily_bars(index, *SPAN).bars["volume"].tolist() == [0.0]


def test_quotes_of_several_markets_are_asked_market_by_market(server: ScriptedVendor) -> None:
    quote = {"symbol": "BARC", "currency": "GBp", "mic_code": "XLON", "close": "602.55", "timestamp": STAMP}
    other = {**quote, "symbol": "SAP", "currency": "EUR", "mic_code": "XETR", "close": "180.5"}
    server.will_answer(Answer(other), Answer(quote))
    rows = provider(TWELVE_DATA, server).quotes([share("BARC.L"), share("SAP.DE", "XETR", "EUR")]).rows
    assert dict(zip(rows["symbol"], rows["price"], strict=True)) == {"SAP.DE": 180.5, "BARC.L": 6.0255}
    assert {asked.query["mic_code"]: asked.query["symbol"] for asked in server.asked} == {"XETR": "SAP", "XLON": "BARC"}


@pytest.mark.parametrize(
    ("vendor", "of", "answer", "problem"),
    [
        (
            TWELVE_DATA,
            share("BARC.L"),
            twelve_data_days(value(), interval="1week"),
            "asked for days, got bars of 1week",
        ),
        (TWELVE_DATA, share("BARC.L"), twelve_data_days(value(), mic_code="XNYS"), "of XNYS, not of XLON"),
        (
            TWELVE_DATA,
            share("BARC.L"),
            twelve_data_days(value(), mic_code="", exchange_timezone="America/New_York"),
            "of a market in America/New_York, not of XLON",
        ),
        (TWELVE_DATA, share("BARC.L"), twelve_data_days(value(), type="Index"), "of type Index there, not stock"),
        (TWELVE_DATA, share("BARC.L"), twelve_data_days(value(), currency="USD"), "quoted in USD, not in GBP"),
        (TWELVE_DATA, share("BARC.L"), twelve_data_days(value(), symbol="BARB"), "asked for BARC, got BARB"),
        (TWELVE_DATA, share("BARC.L"), twelve_data_days(value("2019-05-07")), "asked for 2024-05-06 to"),
        (
            TWELVE_DATA,
            share("BARC.L"),
            twelve_data_days(*(value(f"2024-05-{day:02d}") for day in (6, 13, 20, 27))),
            "got bars at least 7 days apart",
        ),
        (
            ALPHA_VANTAGE,
            share("RMG"),
            alpha_vantage_day("RMG.LON", **{"1. Information": "Weekly Prices"}),
            "got Weekly",
        ),
        (ALPHA_VANTAGE, share("RMG"), alpha_vantage_day("RMG"), "asked for RMG.LON, got RMG"),
        (ALPHA_VANTAGE, share("RMG"), alpha_vantage_day("RMG.LON", day="2124-05-07"), "got bars of 2124-05-07"),
        (FINNHUB, share("RMG"), {**CANDLES, "s": "error"}, "the candles are 'error'"),
        (FINNHUB, share("RMG"), {**CANDLES, "t": [STAMP * 1000]}, "bar cannot be read"),
        (FINNHUB, share("RMG"), {**CANDLES, "t": [STAMP - 86_400 * 700]}, "got bars of 2022"),
        (FINNHUB, share("RMG"), {**CANDLES, "c": ["n/a"]}, "prices of 2024-05-07 cannot be read"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_an_answer_to_another_question_is_refused(
    server: ScriptedVendor, vendor: Vendor, of: Instrument, answer: Any, problem: str
) -> None:
    server.will_answer(Answer(answer))
    with pytest.raises((BadRequest, Malformed), match=problem):
        provider(vendor, server).daily_bars(of, *SPAN)
    if problem.startswith(("asked", "got", "of", "quoted")):
        assert len(server.asked) == 1, "asking again would give the same"


def test_one_bad_bar_is_unknown_and_the_others_are_read(server: ScriptedVendor) -> None:
    rows = [value("2024-05-08", close="n/a"), value(), value("no day"), {}, None]
    server.will_answer(Answer(twelve_data_days(*rows)))
    bars = provider(TWELVE_DATA, server).daily_bars(share("BARC.L"), *SPAN).bars
    assert bars["date"].dt.day.tolist() == [7, 8]
    assert bars["close"].isna().tolist() == [False, True]


def test_a_split_whose_factor_cannot_be_read_leaves_earlier_prices_unknown(server: ScriptedVendor) -> None:
    days = alpha_vantage_day("IBM")
    days["Time Series (Daily)"]["2024-05-09"] = dict(days["Time Series (Daily)"]["2024-05-07"])
    splits = [{"effective_date": "2024-05-08", "split_factor": "0.0"}, {"effective_date": None, "split_factor": "2"}]
    server.will_answer(Answer(days), Answer({"symbol": "IBM", "data": splits}))
    got = provider(ALPHA_VANTAGE, server).daily_bars(share("IBM", "XNYS", "USD"), *SPAN)
    assert got.bars["close"].isna().tolist() == [True, False]
    assert got.actions.empty


LUNA = Instrument("LUNA", "Terra", AssetType.CRYPTO, "XXXX")


@pytest.mark.parametrize(
    ("vendor", "instrument", "symbol"),
    [
        ("alpha_vantage", share("VOD"), "VOD.LON"),
        ("alpha_vantage", share("SHOP.TO", "XTSE", "CAD"), "SHOP.TRT"),
        ("alpha_vantage", share("7203.T", "XTKS", "JPY"), None),
        ("alpha_vantage", share("VOD", "XNAS", "USD"), "VOD"),
        ("finnhub", share("SAP", "XETR", "EUR"), "SAP.DE"),
        ("finnhub", share("CBA", "XASX", "AUD"), None),
        ("twelve_data", share("7203.T", "XTKS", "JPY"), "7203"),
        ("twelve_data", Instrument("^FTSE", "FTSE 100", AssetType.INDEX, "XLON", "GBP"), None),
        ("twelve_data", Instrument("EURUSD", "EUR", AssetType.FX, "XXXX"), None),
        ("twelve_data", Instrument("EUR/USD", "EUR", AssetType.FX, "XXXX"), "EUR/USD"),
        ("yahoo", Instrument("EURJPY", "EUR", AssetType.FX, "XXXX", "JPY"), "EURJPY=X"),
        ("yahoo", Instrument("EUR/JPY", "EUR", AssetType.FX, "XXXX", "JPY"), "EURJPY=X"),
        ("yahoo", Instrument("EURJPY=X", "EUR", AssetType.FX, "XXXX", "JPY"), "EURJPY=X"),
        ("yahoo", LUNA, None),
        ("coingecko", LUNA, None),
        ("coinmarketcap", LUNA, None),
        ("binance", LUNA, "LUNA"),
    ],
)
def test_a_symbol_that_leaves_no_doubt_or_none(vendor: str, instrument: Instrument, symbol: str | None) -> None:
    assert listings.symbol_at(vendor, instrument) == symbol
    named = replace(instrument, aliases={vendor: "OURS"})
    assert listings.symbol_at(vendor, named) == "OURS"


def test_nobody_is_asked_by_the_same_letters_and_each_is_told_why() -> None:
    sasol = share("SOL", "XJSE", "ZAR")
    everyone = dict.fromkeys(("yahoo", "alpha_vantage", "finnhub"))
    with pytest.raises(BadRequest, match="add a `alpha_vantage` alias"):
        DailyBarsRouter(stock=["alpha_vantage", "finnhub"]).over(everyone).daily_bars(sasol, *SPAN)
    ask: Any = lambda *_: pytest.fail("nobody is asked")  # noqa: E731
    answers, failed = answers_in_turn(everyone, ["alpha_vantage", "finnhub"], [sasol], ask)
    assert answers == []
    assert "add a `alpha_vantage` alias" in str(failed["SOL"])


@pytest.mark.parametrize("written", ["BRK.B", "BRK-B"])
@pytest.mark.parametrize(("vendor", "symbol"), [("yahoo", "BRK-B"), ("twelve_data", "BRK.B"), ("finnhub", "BRK.B")])
def test_an_american_share_class_is_asked_for_as_the_vendor_writes_it(written: str, vendor: str, symbol: str) -> None:
    assert listings.symbol_at(vendor, share(written, "XNYS", "USD")) == symbol
    assert listings.symbol_at(vendor, share(written, "XNYS", "USD", **{vendor: "OWN.NAME"})) == "OWN.NAME"


@pytest.mark.parametrize("symbol", ["BAC-PL", "AAPL", "BT.A"])
def test_what_is_no_american_share_class_is_left_as_it_is_written(symbol: str) -> None:
    exchange = "XLON" if symbol == "BT.A" else "XNYS"
    assert listings.symbol_at("yahoo", share(symbol, exchange)) == symbol
