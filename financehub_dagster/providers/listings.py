"""What vendors call a listing, and the unit that they price it in where they do not say.

Belongs here: one row per vendor: where a bare symbol is enough, how other exchanges are named, and units. Does not
belong here: asking. The same letters are another security on another exchange (VOD is Vodafone's share in London and
its receipt in New York), so that a vendor is asked only under a name that leaves no doubt.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from financehub_dagster.gateway.errors import BadRequest
from financehub_dagster.market.currencies import unit_of
from financehub_dagster.market.exchanges import exchanges
from financehub_dagster.market.instruments import AssetType, Instrument

PAIR = 6
"""Letters in a pair of ISO 4217 codes."""
LISTED = frozenset({AssetType.STOCK, AssetType.ETF})
YAHOO_SUFFIXES = {
    "AIMX": ".L", "BVMF": ".SA", "MTAA": ".MI", "ROCO": ".TWO", "XAMS": ".AS", "XASX": ".AX", "XBOM": ".BO",
    "XBRU": ".BR", "XCSE": ".CO", "XDUB": ".IR", "XETR": ".DE", "XFRA": ".F", "XHEL": ".HE", "XHKG": ".HK",
    "XICE": ".IC", "XJSE": ".JO", "XKOS": ".KQ", "XKRX": ".KS", "XLIS": ".LS", "XLON": ".L", "XMAD": ".MC",
    "XMEX": ".MX", "XMIL": ".MI", "XNSE": ".NS", "XNZE": ".NZ", "XOSL": ".OL", "XPAR": ".PA", "XPRA": ".PR",
    "XSES": ".SI", "XSHE": ".SZ", "XSHG": ".SS", "XSTO": ".ST", "XSWX": ".SW", "XTAI": ".TW", "XTKS": ".T",
    "XTSE": ".TO", "XTSX": ".V", "XWAR": ".WA", "XWBO": ".VI",
}  # fmt: skip
"""By MIC; our own symbols are often Yahoo's (https://help.yahoo.com/kb/SLN2310.html)."""
IN_MINOR_UNITS = {"XLON": "GBX", "AIMX": "GBX", "XJSE": "ZAc"}
"""Exchanges whose shares trade in a part of their currency, and that unit."""


@dataclass(frozen=True, slots=True)
class Naming:
    """How one vendor names listings.

    suffixes name an exchange, by MIC; mics are the vendor's own market codes where it is told one beside the symbol
    (`by_mic`) and they differ from ours. by_id: there symbols are not unique, only an alias will do. units: the code
    of the unit in which shares are priced, by MIC, for a vendor that does not say it (`silent`). class_mark stands
    before the letter of an American share class, where that is known: Berkshire's B shares are BRK-B at Yahoo.
    """

    suffixes: Mapping[str, str] = field(default_factory=dict)
    by_mic: bool = False
    mics: Mapping[str, str] = field(default_factory=dict)
    by_id: frozenset[AssetType] = frozenset()
    silent: bool = False
    units: Mapping[str, str] = field(default_factory=dict)
    class_mark: str | None = None


NAMINGS = {
    "yahoo": Naming(by_id=frozenset({AssetType.CRYPTO}), class_mark="-"),
    "coingecko": Naming(by_id=frozenset({AssetType.CRYPTO})),
    "coinmarketcap": Naming(by_id=frozenset({AssetType.CRYPTO})),
    "twelve_data": Naming(
        by_mic=True, mics={"XTKS": "XJPX", "AIMX": "XLON"}, by_id=frozenset({AssetType.FX}), class_mark="."
    ),
    "alpha_vantage": Naming(
        suffixes={
            "AIMX": ".LON", "XBOM": ".BSE", "XETR": ".DEX", "XLON": ".LON", "XSHE": ".SHZ", "XSHG": ".SHH",
            "XTSE": ".TRT", "XTSX": ".TRV",
        },
        silent=True,
        units={"XLON": "GBX", "AIMX": "GBX"},
    ),
    "finnhub": Naming(
        suffixes={
            mic: YAHOO_SUFFIXES[mic]
            for mic in ("AIMX", "XAMS", "XETR", "XHKG", "XLON", "XPAR", "XSWX", "XTKS", "XTSE")
        },
        silent=True,
        units={"XLON": "GBX", "AIMX": "GBX"},
        class_mark=".",
    ),
}  # fmt: skip
"""Every vendor that is told a symbol. Sources:

- Yahoo's BTC is a fund, its Bitcoin BTC-USD, its euro in dollars EURUSD=X; CoinGecko and CoinMarketCap have ids.
- Twelve Data: `mic_code` of /time_series and /quote, codes of /exchanges (https://twelvedata.com/docs).
- Alpha Vantage: suffixes of the examples to TIME_SERIES_DAILY; its SYMBOL_SEARCH gives TSCO.LON's currency as GBX
  (https://www.alphavantage.co/documentation).
- Finnhub: suffixes of its list of exchanges (https://finnhub.io/docs/api/stock-symbols); London in pence
  (https://github.com/finnhubio/Finnhub-API/issues/89).
"""


def is_american(instrument: Instrument) -> bool:
    """Is it listed where all vendors need no more than its symbol?"""
    return instrument.exchange in exchanges() and exchanges()[instrument.exchange].calendar == "XNYS"


def symbol_at(vendor: str, instrument: Instrument) -> str | None:
    """What a vendor calls an instrument: its alias, or a symbol that names the exchange too; None: nobody knows."""
    naming, alias = NAMINGS.get(vendor, Naming()), instrument.aliases.get(vendor)
    kind, exchange = instrument.asset_type, instrument.exchange
    if alias is not None or vendor not in NAMINGS:
        return alias or instrument.symbol
    if kind in naming.by_id and not (kind is AssetType.FX and "/" in instrument.symbol):
        return None
    if kind in LISTED and is_american(instrument):
        return _with_class_mark(instrument.symbol, naming.class_mark)
    if vendor == "yahoo" and kind is AssetType.FX and len(_letters(instrument.symbol)) == PAIR:
        return f"{_letters(instrument.symbol)}=X"
    if vendor == "yahoo" or kind in (AssetType.CRYPTO, AssetType.FX) or is_american(instrument):
        return instrument.symbol
    if kind in LISTED and naming.by_mic:
        return ticker_of(instrument)
    if kind in LISTED and exchange in naming.suffixes:
        return f"{ticker_of(instrument)}{naming.suffixes[exchange]}"
    return None


_SHARE_CLASS = re.compile(r"([A-Z]{1,5})[.-]([A-Z])")


def _with_class_mark(symbol: str, mark: str | None) -> str:
    """An American symbol with the mark that a vendor writes before the letter of a share class."""
    found = _SHARE_CLASS.fullmatch(symbol)
    return symbol if found is None or mark is None else f"{found[1]}{mark}{found[2]}"


def pair_of(vendor: str, instrument: Instrument) -> tuple[str, str]:
    """The two currencies of a pair, the one it is quoted in last: EURUSD, EUR/USD and EURUSD=X are EUR and USD.

    Raises BadRequest where its symbol is no pair, or the pair is not quoted in the instrument's currency.
    """
    letters = _letters(instrument.symbol_at(vendor))
    if len(letters) != PAIR or letters[3:] != instrument.currency:
        problem = f"{letters} is no pair of currencies quoted in {instrument.currency}: correct its `{vendor}` alias"
        raise BadRequest(vendor, problem, symbol=instrument.symbol)
    return letters[:3], letters[3:]


def _letters(pair: str) -> str:
    """The codes of a pair, however it is written."""
    return pair.upper().removesuffix("=X").replace("/", "")


def require_symbol(vendor: str, instrument: Instrument) -> str:
    """`symbol_at`; raises BadRequest where it is not known."""
    found = symbol_at(vendor, instrument)
    if found is None:
        raise unnamed(vendor, instrument)
    return found


def unnamed(vendor: str, instrument: Instrument) -> BadRequest:
    """The refusal to ask a vendor about what may be something else there."""
    problem = f"the same letters may be something else there: it has no alias; add a `{vendor}` alias to the instrument"
    return BadRequest(vendor, problem, symbol=instrument.symbol)


def require(vendor: str, capability: str, instrument: Instrument) -> None:
    """Raise BadRequest where a vendor is not asked, since nobody knows what or in which unit it would answer."""
    require_symbol(vendor, instrument)
    if capability == "fundamentals":
        _require_major_unit(vendor, instrument)
    elif capability != "news" and NAMINGS.get(vendor, Naming()).silent:
        power_of_untold(vendor, instrument)


def ticker_of(instrument: Instrument) -> str:
    """The symbol without Yahoo's suffix for its exchange: VOD of VOD.L."""
    return instrument.symbol.removesuffix(YAHOO_SUFFIXES.get(instrument.exchange, ""))


def mic_at(vendor: str, instrument: Instrument) -> str | None:
    """The market code that a vendor is told beside the symbol; None where the symbol says all."""
    naming = NAMINGS[vendor]
    named = ":" in instrument.aliases.get(vendor, "")
    if not naming.by_mic or named or instrument.asset_type not in LISTED or is_american(instrument):
        return None
    return naming.mics.get(instrument.exchange, instrument.exchange)


def is_listed_there(instrument: Instrument, mic: str) -> bool:
    """May a vendor's market code stand for the instrument's exchange? Segments of one market share its calendar."""
    ours = exchanges()
    same = [naming.mics.get(instrument.exchange) for naming in NAMINGS.values()]
    return mic in (instrument.exchange, *same) or (
        mic in ours and instrument.exchange in ours and ours[mic].calendar == ours[instrument.exchange].calendar
    )


def power_of_told(vendor: str, instrument: Instrument, code: str) -> int:
    """The power of ten from prices in the unit that a vendor names to the instrument's currency.

    Raises BadRequest where that is another currency.
    """
    currency, power = unit_of(code)
    if currency != instrument.currency:
        remedy = f"correct the instrument's currency or its `{vendor}` alias"
        raise BadRequest(
            vendor, f"is quoted in {code}, not in {instrument.currency}: {remedy}", symbol=instrument.symbol
        )
    return power


def power_of_untold(vendor: str, instrument: Instrument) -> int:
    """The power of ten from prices of a vendor that names no unit to the instrument's currency.

    Raises BadRequest where nobody knows the unit.
    """
    if instrument.asset_type is AssetType.FX:
        return 0  # a pair is priced in its second currency
    naming, exchange = NAMINGS[vendor], _exchange_at(vendor, instrument)
    if exchange in IN_MINOR_UNITS:
        if exchange not in naming.units or instrument.asset_type is not AssetType.STOCK:
            unit = IN_MINOR_UNITS[exchange]
            problem = f"names no unit for {instrument.asset_type}s of {exchange}, which may trade in {unit}: not asked"
            raise BadRequest(vendor, problem, symbol=instrument.symbol)
        return power_of_told(vendor, instrument, naming.units[exchange])
    known = exchanges().get(exchange)
    return 0 if known is None else power_of_told(vendor, instrument, known.currency)


def _require_major_unit(vendor: str, instrument: Instrument) -> None:
    """Raise BadRequest where figures of a company may be partly in pence and partly in pounds."""
    exchange = _exchange_at(vendor, instrument)
    if exchange in IN_MINOR_UNITS:
        unit, currency = IN_MINOR_UNITS[exchange], instrument.currency
        problem = f"does not say which figures of a company of {exchange} are in {unit} and which in {currency}"
        raise BadRequest(vendor, problem, symbol=instrument.symbol)


def _exchange_at(vendor: str, instrument: Instrument) -> str:
    """The exchange whose listing a vendor is asked about: the one its alias names, else the instrument's."""
    alias, suffixes = instrument.aliases.get(vendor), NAMINGS[vendor].suffixes
    if alias is None or not suffixes:
        return instrument.exchange
    named = [mic for mic, suffix in suffixes.items() if alias.upper().endswith(suffix)]
    if named:
        return instrument.exchange if instrument.exchange in named else named[0]
    return instrument.exchange if "." in alias or is_american(instrument) else "XNYS"
