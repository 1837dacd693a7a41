"""The bad days of all vendors as one table: what goes wrong, and how each vendor's question has to end.

Belongs here: the vendors with one question each, the days, the end that is right, and which of them are always played.
Does not belong here: playing them (bad_day_runs).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, Literal

from financehub_dagster.gateway.errors import (
    BadKey,
    BadRequest,
    Banned,
    BurstLimit,
    Malformed,
    NotInPlan,
    ProviderError,
    QuotaSpent,
    Transient,
    UnknownSymbol,
    Unreachable,
)
from financehub_dagster.market.instrument_files import default_universe
from financehub_dagster.market.instruments import Instrument

CLOCK = datetime(2026, 11, 20, 22, tzinfo=UTC)
"""When all days are, by the sample market: a Friday after the close."""
SPAN = (date(2026, 8, 3), date(2026, 11, 18))
TRIES = 4
HOUR = 3600
UNIVERSE = {each.symbol: each for each in default_universe()}


@dataclass(frozen=True)
class Vendor:
    """A vendor, the capability that is asked, about whom the question is that goes wrong, and about whom another is.

    fields are a plan with room for the whole week; paid: the question needs a paid key; requests: how many it takes.
    """

    name: str
    capability: str
    spoilt: Instrument
    other: Instrument
    fields: Mapping[str, Any] = field(default_factory=dict)
    paid: bool = False
    requests: int = 1


AAPL, IBM, BTC, ETH = (UNIVERSE[symbol] for symbol in ("AAPL", "IBM", "BTC", "ETH"))
ROOM = 100_000
VENDORS = {
    vendor.name: vendor
    for vendor in (
        Vendor("yahoo", "daily_bars", AAPL, IBM, {"requests_per_second": 1000}),
        Vendor("binance", "daily_bars", BTC, ETH),
        Vendor(
            "alpha_vantage",
            "daily_bars",
            AAPL,
            IBM,
            {"requests_per_second": 1000, "requests_per_day": None},
            requests=2,
        ),
        Vendor("coingecko", "crypto_markets", BTC, ETH, {"requests_per_minute": ROOM}),
        Vendor("coinmarketcap", "crypto_markets", BTC, ETH, {"requests_per_minute": ROOM}),
        Vendor("finnhub", "daily_bars", AAPL, IBM, {"requests_per_minute": ROOM}, paid=True),
        Vendor("twelve_data", "daily_bars", AAPL, IBM, {"credits_per_minute": ROOM, "credits_per_day": None}),
        Vendor("newsapi", "news", AAPL, IBM, {"requests_per_half_day": ROOM, "requests_per_day": ROOM}),
    )
}
KEYED = tuple(name for name in VENDORS if name not in ("yahoo", "binance"))


@dataclass(frozen=True)
class Rows:
    """The rows of a good day, after so many tries in `at_least` seconds."""

    tries: int = 1
    at_least: float = 0.0


@dataclass(frozen=True)
class NoRows:
    """An answer without rows: what came was about something else."""

    tries: int = 1


@dataclass(frozen=True)
class Fails:
    """A typed error after so many tries.

    silent: nothing more is sent until what was asked for is over, which is `wait` seconds later where that is known.
    at_most: it may be fewer tries, as when the vendor names the end of the minute.
    """

    error: type[ProviderError]
    tries: int = 1
    silent: bool = False
    wait: float | None = None
    at_most: bool = False


@dataclass(frozen=True)
class Excused:
    """The vendor cannot have this day, for this reason."""

    reason: str


type End = Rows | NoRows | Fails | Excused


@dataclass(frozen=True)
class Day:
    """One thing that goes wrong with the question about `spoilt`, and its right end: `usual`, or a vendor's own.

    fault is the sandbox's; without one `special` says what happens. fields change how the vendors are asked; haste is
    how long some may take, and capability what they are asked for instead of their own.
    """

    name: str
    fault: Mapping[str, Any]
    usual: End
    own: Mapping[str, End] = field(default_factory=dict)
    fields: Mapping[str, Any] = field(default_factory=dict)
    deadline: Mapping[str, float] = field(default_factory=dict)
    capability: Mapping[str, str] = field(default_factory=dict)
    special: Literal["unreachable", "dribbling", "unfinished", None] = None

    def end(self, vendor: str) -> End:
        return self.own.get(vendor, self.usual)


def status(number: int, **options: Any) -> dict[str, Any]:
    return {"kind": "status", "status": number, **options}


def in_200(situation: str, **options: Any) -> dict[str, Any]:
    return {"kind": "error", "situation": situation, "in_200": True, **options}


SHORT = {"timeout": 0.4}
TO_THE_MINUTE = ("finnhub", "twelve_data")
"""Whose refusal names the end of the minute, which may be near or far; they get BRIEF seconds."""
BRIEF = 1.0
BAN = 300.0
REST = 90.0
"""Longer than anybody waits for a slot."""
NO_KEY = "it has no keys, and no words for them"
NO_WORDS = "its documentation has no words for this"
NAMELESS = "its bars do not say whose they are"
NO_BARS = "it has no bars"
HALF_DAY = "its 429 says that the half day's requests are used up, which no call waits for"
BROKEN = Fails(Malformed, TRIES)
PASSING = Fails(Transient, TRIES)
_DAYS = (
    Day("401", status(401), Fails(BadKey, silent=True), dict.fromkeys(("yahoo", "binance"), Fails(BadKey))),
    Day(
        "403",
        status(403),
        Fails(Banned, silent=True, wait=BAN),
        dict.fromkeys(("coinmarketcap", "finnhub", "twelve_data"), Fails(NotInPlan)),
    ),
    Day(
        "404",
        status(404),
        Fails(BadRequest),
        dict.fromkeys(("yahoo", "coingecko", "twelve_data"), Fails(UnknownSymbol)),
    ),
    Day("418", status(418), Fails(Banned, silent=True, wait=BAN), {"binance": Fails(Banned, silent=True, wait=120.0)}),
    Day(
        "429",
        status(429),
        Fails(BurstLimit, TRIES, silent=True, wait=REST),
        {
            **dict.fromkeys(TO_THE_MINUTE, Fails(BurstLimit, 2, silent=True, at_most=True)),
            "newsapi": Fails(QuotaSpent, silent=True, wait=12 * HOUR),
        },
        fields={"breaker_seconds": REST},
        deadline=dict.fromkeys(TO_THE_MINUTE, BRIEF),
    ),
    *(
        Day(
            f"429_with_{form}",
            status(429, retry_after=HOUR, retry_after_as=form),
            Fails(BurstLimit, silent=True, wait=HOUR),
            {"newsapi": Fails(QuotaSpent, silent=True, wait=HOUR)},
        )
        for form in ("seconds", "date")
    ),
    *(
        Day(
            f"429_for_some_seconds_as_{form}",
            status(429, retry_after=seconds, retry_after_as=form, times=1),
            Rows(2, at_least=1.0),
            {"newsapi": Excused(HALF_DAY)},
        )
        for form, seconds in (("seconds", 1), ("date", 2))
    ),
    Day("451", status(451), Fails(NotInPlan)),
    Day("500", status(500), PASSING),
    Day("502_with_html", status(502), PASSING),
    Day("503", status(503), PASSING),
    Day("connect_timeout", {}, Fails(Unreachable, TRIES), fields=SHORT, special="unreachable"),
    Day("read_timeout", {"kind": "timeout", "seconds": 30}, PASSING, fields=SHORT),
    Day("one_byte_a_second", {"kind": "trickle"}, PASSING, fields={"timeout": 1.1}),
    Day("headers_byte_by_byte", {}, PASSING, fields=SHORT, special="dribbling"),
    Day("reset", {"kind": "reset"}, PASSING),
    Day("truncated", {"kind": "truncated"}, BROKEN),
    Day("garbage", {"kind": "garbage"}, BROKEN),
    Day("html_in_200", {"kind": "html"}, BROKEN),
    Day("empty", {"kind": "empty"}, BROKEN),
    Day(
        "bad_key_in_200",
        in_200("bad_key"),
        Fails(BadKey, silent=True),
        dict.fromkeys(("yahoo", "binance"), Excused(NO_KEY)),
    ),
    Day(
        "burst_in_200",
        in_200("burst", retry_after=HOUR),
        Fails(BurstLimit, silent=True, wait=HOUR),
        {"newsapi": Fails(QuotaSpent, silent=True, wait=HOUR)},
    ),
    Day(
        "day_quota_in_200",
        in_200("day_quota"),
        Fails(QuotaSpent, silent=True),
        dict.fromkeys(("yahoo", "binance", "coingecko", "finnhub"), Excused(NO_WORDS)),
    ),
    Day(
        "month_quota_in_200",
        in_200("month_quota"),
        Fails(QuotaSpent, silent=True),
        dict.fromkeys(("yahoo", "binance", "alpha_vantage", "finnhub", "twelve_data"), Excused(NO_WORDS)),
    ),
    Day(
        "not_in_plan_in_200",
        in_200("not_in_plan"),
        Fails(NotInPlan),
        dict.fromkeys(("yahoo", "binance"), Excused(NO_WORDS)),
    ),
    Day(
        "banned_in_200",
        in_200("banned"),
        Fails(Banned, silent=True, wait=60.0),
        {"binance": Fails(Banned, silent=True, wait=120.0)}
        | dict.fromkeys(
            ("yahoo", "alpha_vantage", "coingecko", "finnhub", "twelve_data", "newsapi"), Excused(NO_WORDS)
        ),
    ),
    Day(
        "unknown_symbol_in_200",
        in_200("unknown_symbol"),
        Fails(UnknownSymbol),
        {"newsapi": Excused(NO_WORDS)},
        capability={"finnhub": "quotes"},
    ),
    Day(
        "wrong_symbol",
        {"kind": "wrong_symbol"},
        BROKEN,
        # Yahoo answers so where a symbol was given up for another.
        {
            **dict.fromkeys(("binance", "finnhub"), Excused(NAMELESS)),
            **dict.fromkeys(("alpha_vantage", "twelve_data"), Fails(Malformed)),
            "newsapi": Rows(),
            "yahoo": Fails(UnknownSymbol),
        },
    ),
    Day("nan", {"kind": "nan"}, BROKEN, {"newsapi": Rows()}),
    Day("strings", {"kind": "strings"}, Rows(), dict.fromkeys(("yahoo", "binance"), BROKEN)),
    Day("duplicated", {"kind": "duplicated"}, Rows()),
    Day("shuffled", {"kind": "shuffled"}, Rows()),
    Day(
        "unfinished",
        {},
        Rows(),
        dict.fromkeys(("coingecko", "coinmarketcap", "newsapi"), Excused(NO_BARS)),
        special="unfinished",
    ),
)
DAYS = {day.name: day for day in _DAYS}
CELLS = tuple((vendor, day) for vendor in VENDORS for day in DAYS if not isinstance(DAYS[day].end(vendor), Excused))
"""Every vendor's own bad days, by their names."""
TELLING = {
    "yahoo": (
        "401",
        "404",
        "429",
        "429_for_some_seconds_as_date",
        "503",
        "read_timeout",
        "one_byte_a_second",
        "truncated",
        "html_in_200",
        "wrong_symbol",
        "nan",
        "shuffled",
        "unfinished",
    ),
    "binance": (
        "401",
        "418",
        "429_with_seconds",
        "451",
        "connect_timeout",
        "headers_byte_by_byte",
        "reset",
        "garbage",
        "empty",
        "banned_in_200",
        "strings",
        "duplicated",
        "unfinished",
    ),
}
"""The days of the vendors without keys, which everybody asks, that tell most of what theirs is alone."""


def _in_short() -> Iterator[tuple[str, str]]:
    """Those days, and of the other vendors every third, in turn."""
    for turn, name in enumerate(DAYS):
        yield from ((vendor, name) for vendor, telling in TELLING.items() if name in telling)
        others = [vendor for vendor, day in CELLS if day == name and vendor not in TELLING]
        yield from ((vendor, name) for vendor in others[turn % min(3, len(others)) :: 3])


IN_SHORT = frozenset(_in_short())
"""The cells that the short form of the fault suite plays: every vendor, and every day."""
