"""Instruments: what can be priced, and how each vendor calls it.

Belongs here: the Instrument value and the validation of its fields. Does not belong here: storing them, or reading
files of them (`instrument_files`).
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from zoneinfo import ZoneInfo

from financehub_dagster.market import former_aliases
from financehub_dagster.market.exchanges import NO_MARKET, exchanges
from financehub_dagster.market.former_aliases import OWN, FormerAlias


class AssetType(StrEnum):
    """The kinds of instruments; each price table takes the kinds it is made for."""

    STOCK = "stock"
    CRYPTO = "crypto"
    ETF = "etf"
    INDEX = "index"
    FX = "fx"


class InstrumentError(ValueError):
    """An instrument, or a file of instruments, cannot be used; the message is one line that says what to correct."""


@dataclass(frozen=True, slots=True)
class Instrument:
    """One row of the universe.

    symbol is unique and upper case; exchange is an ISO 10383 MIC (XXXX, "no market", for cryptos); currency is
    ISO 4217; timezone an IANA name; market_cap in units of currency; aliases map a provider's name to its symbol;
    delisted_on is the last day on which it was traded, None while it is; former_aliases are names it had until a day.
    importance is computed every night (`market.importance`), None before, and belongs to no file; nor does
    permanent_id, which an instrument gets when it is stored and keeps whatever symbol it has.
    """

    symbol: str
    name: str
    asset_type: AssetType
    exchange: str
    currency: str = "USD"
    timezone: str = "UTC"
    is_active: bool = True
    market_cap: float | None = None
    aliases: Mapping[str, str] = field(default_factory=dict)
    delisted_on: date | None = None
    former_aliases: tuple[FormerAlias, ...] = ()
    importance: float | None = field(default=None, compare=False)
    permanent_id: str | None = field(default=None, compare=False)

    def symbol_at(self, provider: str) -> str:
        """The symbol under which `provider` knows this instrument."""
        return self.aliases.get(provider, self.symbol)

    def is_over(self, day: date) -> bool:
        """Whether it was delisted before `day`: nothing is expected of it on that day and later."""
        return self.delisted_on is not None and self.delisted_on < day


class FieldError(InstrumentError):
    """One field of an instrument is wrong; `column` names it."""

    def __init__(self, column: str, problem: str) -> None:
        super().__init__(f"{column}: {problem}")
        self.column = column
        self.problem = problem


REQUIRED = ("symbol", "name", "asset_type", "exchange")
COLUMNS = (*REQUIRED, "currency", "timezone", "is_active", "market_cap", "aliases", "delisted_on")
"""The columns of an import file; those not required may be left out or left empty."""

_SYMBOL = re.compile(r"[A-Z0-9^][A-Z0-9.^=&/-]{0,31}")
_CURRENCY = re.compile(r"[A-Z]{3}")
_PROVIDER = re.compile(r"[a-z][a-z0-9_]{0,31}")
_VENDOR_SYMBOL = re.compile(r"[!-:<-~]{1,64}")
_FLAGS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def instrument_from_text(fields: Mapping[str, str]) -> Instrument:
    """The instrument that these texts, by column, describe; raises FieldError on the first that is wrong.

    A missing or empty currency or timezone is the exchange's (of a currency pair, the currency is the one it is quoted
    in), is_active true, market_cap unknown, aliases none, delisted_on none. aliases read `provider=symbol`,
    separated by semicolons; those that were given up `provider=symbol until 2022-06-08`, or `from … until …`, where
    `financehub` stands for our own symbol.
    """
    text = {column: fields.get(column, "").strip() for column in COLUMNS}
    for column in REQUIRED:
        if not text[column]:
            raise FieldError(column, "is missing")
    exchange = _exchange(text["exchange"])
    asset_type = _asset_type(text["asset_type"], exchange)
    symbol = symbol_from_text(text["symbol"])
    aliases, former = aliases_from_text(text["aliases"])
    return Instrument(
        symbol=symbol,
        name=_name(text["name"]),
        asset_type=asset_type,
        exchange=exchange,
        currency=_currency(text["currency"] or _default_currency(symbol, asset_type, exchange)),
        timezone=_timezone(text["timezone"] or exchanges()[exchange].timezone),
        is_active=_flag(text["is_active"] or "true"),
        market_cap=_market_cap(text["market_cap"]),
        aliases=aliases,
        delisted_on=_day(text["delisted_on"]),
        former_aliases=former,
    )


def symbol_from_text(text: str) -> str:
    """`text`, if it can be a symbol of ours; raises FieldError."""
    if not _SYMBOL.fullmatch(text):
        remedy = (
            f"write {text.upper()!r}" if _SYMBOL.fullmatch(text.upper()) else "use A-Z, 0-9 and . - ^ = & /, at most 32"
        )
        raise FieldError("symbol", f"{text!r} is not a symbol: {remedy}")
    return text


def _name(text: str) -> str:
    if not text.isprintable() or len(text) > 200:
        raise FieldError("name", "has a control character or is longer than 200 characters")
    return text


def _exchange(text: str) -> str:
    if text not in exchanges():
        remedy = f"use its ISO 10383 code such as XNYS or XNAS, or {NO_MARKET} for cryptos and currencies"
        raise FieldError("exchange", f"{text!r} is not a known market identifier (MIC): {remedy}")
    return text


def _asset_type(text: str, exchange: str) -> AssetType:
    if text not in list(AssetType):
        raise FieldError("asset_type", f"{text!r} is not one of {', '.join(AssetType)}")
    kind = AssetType(text)
    if kind is AssetType.CRYPTO and exchange != NO_MARKET:
        raise FieldError("exchange", f"a crypto is traded on no single market: write {NO_MARKET} instead of {exchange}")
    if kind in (AssetType.STOCK, AssetType.ETF) and exchange == NO_MARKET:
        raise FieldError("exchange", f"{NO_MARKET} means no market: name the exchange that lists this {kind}")
    return kind


def _default_currency(symbol: str, kind: AssetType, exchange: str) -> str:
    """The exchange's; of a pair the one it is quoted in: JPY for USDJPY, USD/JPY and Yahoo's JPY=X."""
    quoted = symbol.removesuffix("=X")[-3:]
    return quoted if kind is AssetType.FX and _CURRENCY.fullmatch(quoted) else exchanges()[exchange].currency


def _currency(text: str) -> str:
    if not _CURRENCY.fullmatch(text):
        raise FieldError("currency", f"{text!r} is not an ISO 4217 code (three capital letters, such as USD)")
    return text


def _timezone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (KeyError, ValueError, OSError):
        raise FieldError("timezone", f"{text!r} is not an IANA time zone such as America/New_York") from None
    return text


def _flag(text: str) -> bool:
    if text.lower() not in _FLAGS:
        raise FieldError("is_active", f"{text!r} is neither true nor false")
    return _FLAGS[text.lower()]


def _market_cap(text: str) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise FieldError("market_cap", f"{text!r} is not a positive number in units of currency, without separators")
    return value


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise FieldError("delisted_on", f"{text!r} is not a day such as 2022-06-08") from None


def aliases_from_text(text: str) -> tuple[dict[str, str], tuple[FormerAlias, ...]]:
    """The present aliases by provider, and those that were given up; raises FieldError."""
    aliases: dict[str, str] = {}
    former: list[FormerAlias] = []
    for pair in filter(None, map(str.strip, text.split(";"))):
        provider, separator, symbol = (part.strip() for part in pair.partition("="))
        try:
            ended = former_aliases.parse(provider, symbol)
        except ValueError as error:
            raise FieldError("aliases", f"{pair!r}: {error}; write days as 2022-06-08") from None
        name = symbol if ended is None else ended.symbol
        if not separator or not _PROVIDER.fullmatch(provider) or not _VENDOR_SYMBOL.fullmatch(name):
            raise FieldError("aliases", f"{pair!r} is not provider=symbol (several are separated by semicolons)")
        if ended is not None:
            former.append(ended)
        elif provider in aliases:
            raise FieldError("aliases", f"{provider} is named twice")
        elif provider == OWN:
            raise FieldError("aliases", f"{pair!r}: a symbol of ours that was given up has an end: `until 2022-06-08`")
        else:
            aliases[provider] = symbol
    return aliases, tuple(former)
