"""Invented news about the listed instruments: the same articles at the same addresses for every vendor and query.

Belongs here: what was published when, and finding it. Does not belong here: any vendor's names or time formats for it.
An article is made of its instrument and its day alone, so it never changes; its links lead nowhere (example.com).
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.sandbox.market.market import Market

_DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Source:
    """Who publishes; id is None for those that the news vendors do not list."""

    id: str | None
    name: str
    domain: str


SOURCES = (
    Source("sample-wire", "The Sample Wire", "wire.example.com"),
    Source("ledger-post", "Ledger Post", "ledger.example.com"),
    Source("market-gazette", "Market Gazette", "gazette.example.com"),
    Source(None, "Tickertape Blog", "tickertape.example.com"),
    Source(None, "Bourse Notes", "bourse.example.com"),
)
_AUTHORS = ("A. Author", "B. Byline, C. Columnist", "Sample Wire Staff", None)
_EVENTS = (
    "beats expectations in a quiet quarter",
    "names a new chief financial officer",
    "slips as analysts turn cautious",
    "rises after an upbeat outlook",
    "announces a partnership",
    "faces questions from regulators",
    "says demand is stable",
)
_CRYPTO_EVENTS = (
    "holds its range over the weekend",
    "slips as volumes thin out",
    "rises after a network upgrade",
    "sees more addresses than ever",
)
#: One article in so many is about two instruments, was taken down, or stands twice.
_SHARED_ONE_IN = 4
_REMOVED_ONE_IN = 23
_REPEATED_ONE_IN = 11


@dataclass(frozen=True, slots=True)
class Article:
    """One article; published in UTC epoch seconds, number unique, symbols ours, removed: only its shell is left.

    image and author are None where the publisher gives none; sentiment lies between -1 and 1.
    """

    number: int
    published: int
    symbols: tuple[str, ...]
    source: Source
    author: str | None
    title: str
    summary: str
    content: str | None
    url: str
    image: str | None
    sentiment: float
    removed: bool
    repeated: bool


def articles(market: Market, instruments: Iterable[Instrument], first: float, last: float) -> list[Article]:
    """What was published about any of the instruments from `first` to `last`, UTC epoch seconds, newest first."""
    listed = list(market.listed)
    wanted = {each.symbol for each in instruments}
    last = min(last, market.now())
    days = range(int(first // _DAY_SECONDS), int(last // _DAY_SECONDS) + 1)
    found: dict[str, Article] = {}
    for instrument, neighbour in zip(listed, [*listed[1:], *listed[:1]], strict=True):
        if instrument.symbol in wanted or neighbour.symbol in wanted:
            for day in days:
                found.update((each.url, each) for each in _of_a_day(_subject(instrument), _subject(neighbour), day))
    chosen = [each for each in found.values() if first <= each.published <= last and wanted.intersection(each.symbols)]
    return sorted(chosen, key=lambda article: (-article.published, article.number))


def matching(found: Iterable[Article], query: str) -> list[Article]:
    """The articles that a query of words and "phrases", of which OR separates alternatives, finds."""
    return [each for each in found if any(_fits(each, alternative) for alternative in _parsed(query))]


def mentioned(market: Market, query: str) -> list[Instrument]:
    """The listed instruments whose symbol or part of whose name stands in a query."""
    words = {word for alternative in _parsed(query) for phrase in alternative for word in phrase.split()}
    return [
        each
        for each in market.listed
        if each.symbol.lower() in words or any(len(word) > 2 and word in each.name.lower() for word in words)
    ]


def _parsed(query: str) -> list[list[str]]:
    """Alternatives of words and phrases in lower case, all of which have to occur."""
    alternatives: list[list[str]] = [[]]
    for phrase, word in re.findall(r'"([^"]*)"|([^\s()"]+)', query):
        if word == "OR":
            alternatives.append([])
        elif word != "AND":
            alternatives[-1].append((phrase or word).lower())
    return [words for words in alternatives if words]


def _fits(article: Article, words: list[str]) -> bool:
    text = f"{article.title} {article.summary} {article.content or ''}".lower()
    return all(re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text) for word in words)


@dataclass(frozen=True, slots=True)
class _Subject:
    """What an article knows of an instrument."""

    symbol: str
    name: str
    crypto: bool


def _subject(instrument: Instrument) -> _Subject:
    return _Subject(instrument.symbol, instrument.name, instrument.asset_type is AssetType.CRYPTO)


@lru_cache(maxsize=20_000)
def _of_a_day(subject: _Subject, neighbour: _Subject, day: int) -> tuple[Article, ...]:
    """None to three articles."""
    count = hashlib.sha256(f"financehub:news:{subject.symbol}:{day}".encode()).digest()[0] % 4
    return tuple(_article(subject, neighbour, day, place) for place in range(count))


def _article(subject: _Subject, neighbour: _Subject, day: int, place: int) -> Article:
    dice = hashlib.sha256(f"financehub:news:{subject.symbol}:{day}:{place}".encode()).digest()
    shared = dice[0] % _SHARED_ONE_IN == 0
    symbols = (subject.symbol, neighbour.symbol) if shared else (subject.symbol,)
    events = _CRYPTO_EVENTS if subject.crypto else _EVENTS
    event = events[dice[1] % len(events)]
    source = SOURCES[dice[2] % len(SOURCES)]
    on = date(1970, 1, 1) + timedelta(days=day)
    title = f"{f'{subject.name} and {neighbour.name}' if shared else subject.name} ({', '.join(symbols)}) {event}"
    summary = f"{title}, our correspondent reports on {on:%A}."
    slug = re.sub(r"[^a-z0-9]+", "-", f"{'-'.join(symbols)} {event}".lower()).strip("-")
    return Article(
        number=int.from_bytes(dice[6:10], "big"),
        published=day * _DAY_SECONDS + int.from_bytes(dice[3:6], "big") % _DAY_SECONDS,
        symbols=symbols,
        source=source,
        author=_AUTHORS[dice[10] % len(_AUTHORS)],
        title=title,
        summary=summary,
        content=None
        if dice[11] % 9 == 0
        else f"{summary} Nothing in this report is true… [+{500 + dice[12] * 9} chars]",
        url=f"https://{source.domain}/{on:%Y/%m/%d}/{slug}-{dice[13]:02x}",
        image=None if dice[14] % 5 == 0 else f"https://{source.domain}/images/{dice[15]:02x}.jpg",
        sentiment=round((dice[16] - 127.5) / 200, 6),
        removed=dice[17] % _REMOVED_ONE_IN == 0,
        repeated=dice[18] % _REPEATED_ONE_IN == 0,
    )


def utc(seconds: float) -> datetime:
    """UTC epoch seconds as a datetime with zone."""
    return datetime.fromtimestamp(seconds, UTC)
