"""Alpha Vantage's documents about companies, markets and news.

Belongs here: shapes and number formats of everything that is no bar and no quote. Does not belong here: parameters,
limits, refusals (alpha_vantage). Numbers are strings; what does not exist is "None" or "-".
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.sandbox.market import newsroom
from financehub_dagster.sandbox.market.companies import company
from financehub_dagster.sandbox.market.history import History
from financehub_dagster.sandbox.market.market import Market
from financehub_dagster.sandbox.market.sessions import is_open
from financehub_dagster.sandbox.vendors.alpha_vantage.prices import whole_text


def overview(market: Market, instrument: Instrument) -> dict[str, str]:
    """OVERVIEW: all strings, "None" and "-" for what there is not; nothing at all for a fund."""
    found = company(market, instrument)
    if found is None:
        return {}
    quote, pays = found.snapshot, found.dividend_per_share > 0
    per_share = found.revenue / found.shares
    return {
        "Symbol": instrument.symbol_at("alpha_vantage"),
        "AssetType": "Common Stock",
        "Name": instrument.name,
        "Description": f"{instrument.name} is a company of the sandbox; its figures are invented.",
        "CIK": "None",
        "Exchange": "NASDAQ" if instrument.exchange == "XNAS" else "NYSE",
        "Currency": instrument.currency,
        "Country": "USA",
        "Sector": found.sector.upper(),
        "Industry": "None",
        "FiscalYearEnd": "December",
        "LatestQuarter": found.latest_quarter.isoformat(),
        "MarketCapitalization": whole_text(found.market_cap),
        "EBITDA": whole_text(found.revenue * abs(found.operating_margin)),
        "PERatio": _or_none(found.pe, 2),
        "PEGRatio": _or_none(found.peg, 3, "-"),
        "BookValue": f"{found.book_value:.2f}",
        "DividendPerShare": f"{found.dividend_per_share:.2f}" if pays else "None",
        "DividendYield": f"{found.dividend_yield:.4f}" if pays else "None",
        "EPS": f"{found.eps:.2f}",
        "RevenuePerShareTTM": f"{per_share:.2f}",
        "ProfitMargin": f"{found.profit_margin:.3f}",
        "OperatingMarginTTM": f"{found.operating_margin:.3f}",
        "ReturnOnAssetsTTM": f"{found.return_on_equity / 3:.4f}",
        "ReturnOnEquityTTM": f"{found.return_on_equity:.3f}",
        "RevenueTTM": whole_text(found.revenue),
        "GrossProfitTTM": whole_text(found.gross_profit),
        "DilutedEPSTTM": f"{found.eps:.2f}",
        "QuarterlyEarningsGrowthYOY": f"{found.growth:.3f}",
        "QuarterlyRevenueGrowthYOY": f"{found.growth / 2:.3f}",
        "AnalystTargetPrice": f"{quote.year_high:.2f}",
        "TrailingPE": _or_none(found.pe, 2, "-"),
        "ForwardPE": _or_none(found.pe, 2, "-"),
        "PriceToSalesRatioTTM": f"{quote.price / per_share:.3f}",
        "PriceToBookRatio": f"{quote.price / found.book_value:.2f}",
        "EVToRevenue": "-",
        "EVToEBITDA": "-",
        "Beta": f"{found.beta:.3f}",
        "52WeekHigh": f"{quote.year_high:.2f}",
        "52WeekLow": f"{quote.year_low:.2f}",
        "50DayMovingAverage": f"{found.averages[0]:.2f}",
        "200DayMovingAverage": f"{found.averages[1]:.2f}",
        "SharesOutstanding": whole_text(found.shares),
        "DividendDate": "None",
        "ExDividendDate": "None" if found.ex_dividend is None else found.ex_dividend.isoformat(),
    }


def splits(symbol: str, history: History) -> dict[str, Any]:
    """SPLITS, the newest first."""
    rows = np.flatnonzero(history.split != 1)[::-1]
    data = [{"effective_date": str(history.date[row]), "split_factor": f"{history.split[row]:.4f}"} for row in rows]
    return {"symbol": symbol, "data": data}


def market_status(market: Market) -> dict[str, Any]:
    """MARKET_STATUS of the two markets the sandbox has."""
    status = "open" if is_open("XNYS", market.now()) else "closed"
    closed = {"local_open": "09:30", "local_close": "16:15", "current_status": status}
    always = {"local_open": "00:00", "local_close": "23:59", "current_status": "open"}
    exchanges = "NASDAQ, NYSE, AMEX, BATS"
    return {
        "endpoint": "Global Market Open & Close Status",
        "markets": [
            {"market_type": "Equity", "region": "United States", "primary_exchanges": exchanges, **closed, "notes": ""},
            {"market_type": "Cryptocurrency", "region": "Global", "primary_exchanges": "Global", **always, "notes": ""},
        ],
    }


def news(market: Market, name: str, first: float, limit: int) -> dict[str, Any] | None:
    """NEWS_SENTIMENT for articles about one ticker since `first` (UTC epoch seconds); None for an unknown one."""
    tickers = {_ticker(each): each for each in market.listed}
    if name not in tickers:
        return None
    found = newsroom.articles(market, [tickers[name]], first, market.now())
    by_symbol = {each.symbol: name for name, each in tickers.items()}
    feed = [_feed_item(each, by_symbol) for each in found if not each.removed]
    return {
        "items": str(len(feed[:limit])),
        "sentiment_score_definition": "x <= -0.35: Bearish; -0.35 < x <= -0.15: Somewhat-Bearish; -0.15 < x < 0.15: "
        "Neutral; 0.15 <= x < 0.35: Somewhat_Bullish; x >= 0.35: Bullish",
        "relevance_score_definition": "0 < x <= 1, with a higher score indicating higher relevance.",
        "feed": feed[:limit],
    }


def _feed_item(article: newsroom.Article, by_symbol: Mapping[str, str]) -> dict[str, Any]:
    label = _label(article.sentiment)
    return {
        "title": article.title,
        "url": article.url,
        "time_published": f"{newsroom.utc(article.published):%Y%m%dT%H%M%S}",
        "authors": [] if article.author is None else article.author.split(", "),
        "summary": article.summary,
        "banner_image": article.image,
        "source": article.source.name,
        "category_within_source": "n/a",
        "source_domain": article.source.domain,
        "topics": [{"topic": "Financial Markets", "relevance_score": "0.5"}],
        "overall_sentiment_score": article.sentiment,
        "overall_sentiment_label": label,
        "ticker_sentiment": [
            {
                "ticker": by_symbol.get(symbol, symbol),
                "relevance_score": "0.5",
                "ticker_sentiment_score": f"{article.sentiment:.6f}",
                "ticker_sentiment_label": label,
            }
            for symbol in article.symbols
        ],
    }


def _ticker(instrument: Instrument) -> str:
    prefix = "CRYPTO:" if instrument.asset_type is AssetType.CRYPTO else ""
    return f"{prefix}{instrument.symbol_at('alpha_vantage')}"


def _label(score: float) -> str:
    for bound, label in ((-0.35, "Bearish"), (-0.15, "Somewhat-Bearish")):
        if score <= bound:
            return label
    return "Bullish" if score >= 0.35 else "Somewhat-Bullish" if score >= 0.15 else "Neutral"


def _or_none(value: float | None, decimals: int, missing: str = "None") -> str:
    return missing if value is None else f"{value:.{decimals}f}"
