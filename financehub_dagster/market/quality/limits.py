"""What one value of each column that vendors fill may be: declared once, for the rows a table takes and for its checks.

Belongs here: one limit per column of the tables that hold vendors' answers. Does not belong here: how values of one row
relate (`bar_rules`, `snapshot_rules`), judging rows (`acceptance`), and the tables that are computed (`schemas`).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

ACTION_KINDS = ("dividend", "split", "capital_gain")
"""What a corporate action can be."""
CURRENCY = r"^[A-Z]{3}$"
"""ISO 4217."""


class Kind(StrEnum):
    """What a column holds: a finite number, a text that is not empty, a whole day, or an instant."""

    NUMBER = "number"
    TEXT = "text"
    DAY = "day"
    INSTANT = "instant"


@dataclass(frozen=True, slots=True)
class Limit:
    """What the values of a column are.

    optional: may it be unknown? A number is above `above` or at least `least`; a text matches `pattern` or is one of
    `choices`.
    """

    kind: Kind
    optional: bool = False
    above: float = -math.inf
    least: float = -math.inf
    pattern: str | None = None
    choices: tuple[str, ...] = ()

    @property
    def rule(self) -> str:
        """What a value that breaks it is not."""
        if self.kind is not Kind.NUMBER:
            return "one_of_those_known" if self.choices else "readable"
        if self.above == 0:
            return "positive"
        if self.least == 0:
            return "not_negative"
        return "finite" if self.least == -math.inf else f"at_least_{self.least:g}"


_NAME = Limit(Kind.TEXT)
_DAY, _INSTANT = Limit(Kind.DAY), Limit(Kind.INSTANT)
_CODE = Limit(Kind.TEXT, pattern=CURRENCY)
_POSITIVE, _NOT_NEGATIVE = Limit(Kind.NUMBER, above=0), Limit(Kind.NUMBER, least=0)
_ANY_OR_UNKNOWN = Limit(Kind.NUMBER, optional=True)
_POSITIVE_OR_UNKNOWN = Limit(Kind.NUMBER, optional=True, above=0)
_NOT_NEGATIVE_OR_UNKNOWN = Limit(Kind.NUMBER, optional=True, least=0)
_TEXT_OR_UNKNOWN = Limit(Kind.TEXT, optional=True)
_ORIGIN = {"source": _NAME, "fetched_at": _INSTANT}

_BARS = {
    "symbol": _NAME,
    "date": _DAY,
    **dict.fromkeys(("open", "high", "low", "close"), _POSITIVE),
    "adj_close": _POSITIVE_OR_UNKNOWN,
    "volume": _NOT_NEGATIVE,
    **_ORIGIN,
}
_FIGURES = (
    "pe_ratio forward_pe peg_ratio price_to_book price_to_sales eps book_value profit_margin operating_margin"
    " return_on_assets return_on_equity revenue ebitda beta"
).split()
"""Figures of companies that may be any number."""

LIMITS: Mapping[str, Mapping[str, Limit]] = {
    "stock_prices_daily": _BARS,
    "crypto_prices_daily": _BARS,
    "corporate_actions": {
        "symbol": _NAME,
        "date": _DAY,
        "kind": Limit(Kind.TEXT, choices=ACTION_KINDS),
        "value": _POSITIVE,
        **_ORIGIN,
    },
    "quotes": {
        "symbol": _NAME,
        "quoted_at": _INSTANT,
        "price": _POSITIVE,
        **dict.fromkeys(("open", "high", "low", "previous_close"), _POSITIVE_OR_UNKNOWN),
        "volume": _NOT_NEGATIVE_OR_UNKNOWN,
        "currency": _CODE,
        **_ORIGIN,
    },
    "crypto_markets": {
        "symbol": _NAME,
        "quoted_at": _INSTANT,
        "price": _POSITIVE,
        **dict.fromkeys(
            ("market_cap", "volume_24h", "circulating_supply", "total_supply", "max_supply"), _NOT_NEGATIVE_OR_UNKNOWN
        ),
        "change_24h": Limit(Kind.NUMBER, optional=True, least=-100),
        "rank": Limit(Kind.NUMBER, optional=True, least=1),
        "currency": _CODE,
        **_ORIGIN,
    },
    "fundamentals": {
        "symbol": _NAME,
        "date": _DAY,
        "currency": _CODE,
        **dict.fromkeys(("sector", "industry"), _TEXT_OR_UNKNOWN),
        **dict.fromkeys(("market_cap", "shares_outstanding", "high_52w", "low_52w"), _POSITIVE_OR_UNKNOWN),
        **dict.fromkeys(("dividend_per_share", "dividend_yield"), _NOT_NEGATIVE_OR_UNKNOWN),
        **dict.fromkeys(_FIGURES, _ANY_OR_UNKNOWN),
        **_ORIGIN,
    },
    "news_articles": {
        "url": Limit(Kind.TEXT, pattern=r"^https?://"),
        "title": _NAME,
        **dict.fromkeys(("summary", "publisher", "author"), _TEXT_OR_UNKNOWN),
        "published_at": _INSTANT,
        **_ORIGIN,
    },
}
"""By table and column, in the order of the schemas."""
