"""Binance spot, by way of python-binance: daily and intraday bars and quotes of cryptos against USDT.

Belongs here: the resource, its limits, paging, symbols and parsing. Does not belong here: what an answer on the wire
means (errors), the client library (client) and the files beside the API (bulk_files).
"""

import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, PrivateAttr

from financehub_dagster.gateway.addresses import host_of, place_of
from financehub_dagster.gateway.client import VendorClient
from financehub_dagster.gateway.errors import BadRequest, Malformed, UnknownSymbol
from financehub_dagster.gateway.policy import Meaning
from financehub_dagster.gateway.request_context import Call, calling
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.providers import intraday
from financehub_dagster.providers.base import Answers, DailyBars, IntradayBars
from financehub_dagster.providers.binance import bulk_files, errors
from financehub_dagster.providers.binance.bulk_files import PAGE, BulkFiles
from financehub_dagster.providers.frames import actions_table, table
from financehub_dagster.providers.reading import batches
from financehub_dagster.providers.resource import CRYPTOS, Vendor
from financehub_dagster.settings import get_settings
from financehub_dagster.storage.rate_limits.limiter import Limit

if TYPE_CHECKING:
    import pandas as pd

    from financehub_dagster.providers.binance.client import BinanceClient

NAME = "binance"
BASE_URL = "https://api.binance.com"
DOLLARS = ("USDT", "USDC", "FDUSD", "TUSD", "USDP", "BUSD", "USD")
"""Quote assets that stand for the dollar; the first is the one that pairs are looked up by."""
OWN_HOSTS = re.compile(r"api[a-z0-9-]*\.binance\.com|data-api\.binance\.vision")
"""Hosts with the prices of the bulk files; its test network and Binance.US have others."""


class BinanceProvider(Vendor):
    """Binance's public market data. It counts weight per address: 6,000 a minute, of which a page of bars takes 2."""

    name: ClassVar[str] = NAME
    serves: ClassVar[Mapping[str, frozenset[AssetType]]] = {
        "daily_bars": CRYPTOS,
        "intraday_bars": CRYPTOS,
        "quotes": CRYPTOS,
    }

    weight_per_minute: int = Field(default=6000, ge=80, description="Most request weight per minute from this address.")
    bulk_base_url: str | None = Field(
        default=None,
        description="Stands in for the address of the bulk files; default: BINANCE_BULK_BASE_URL, else Binance's.",
    )
    bulk_requests_per_second: int = Field(
        default=20, ge=1, description="Most requests per second for bulk files; Binance states no limit."
    )

    _lock: Any = PrivateAttr(default_factory=threading.Lock)
    _listing: Any = PrivateAttr(default_factory=threading.Lock)
    _client: Any = PrivateAttr(default=None)
    _bulk: BulkFiles | None = PrivateAttr(default=None)
    _pairs: dict[tuple[str, str], tuple[str, bool]] | None = PrivateAttr(default=None)

    def daily_bars(self, instrument: Instrument, start: date, end: date) -> DailyBars:
        """Finished UTC days from `start` to `end`, both included; raises ProviderError.

        One request per 1,000 days. Volume is in units of the crypto; adj_close is close, there are no actions. A pair
        that is paused serves the days until then. Numbers that cannot be read are NaN.
        """
        self.check("daily_bars", instrument)
        with calling(self._call("daily_bars", instrument.symbol)) as call:
            first, last = _millis(start), _millis(end + timedelta(days=1)) - 1
            bars = _frame(self._klines(call, self._pair_of(instrument), errors.DAY, first, last))
        actions = actions_table((), start, end)
        return DailyBars(instrument.symbol, bars, actions, NAME, datetime.now(UTC), call.requests)

    def intraday_bars(self, instrument: Instrument, interval: int, start: datetime, end: datetime) -> IntradayBars:
        """Finished bars of `interval` minutes that open in [start, end); raises ProviderError.

        Binance keeps all of them since a pair was listed, those without a trade included. Bulk files come first where
        they are worth it; the API is asked for what they lack, one request per 1,000 bars, and has the last word.
        """
        self.check("intraday_bars", instrument)
        of = intraday.asked(NAME, instrument, interval, start, end)
        step, bulk = errors.STEPS[interval], self._bulk_files()
        with calling(self._call("intraday_bars", instrument.symbol, step)) as call:
            pair = self._pair_of(instrument)
            if bulk is None:
                filed = bulk_files.Found(intraday.Minutes.joined([]), [(of.first, of.last)], 0)
            else:
                filed = bulk.bars(pair.upper(), of, intraday.our_clock())
            parts = [(first * 1000, stop * 1000 - 1) for first, stop in filed.lacking]
            rows = [row for part in parts for row in self._klines(call, pair, step, *part, running=True)]
        told = intraday.Minutes.of(
            [row[0] // 1000 for row in rows],
            [[errors.decimal(row[place]) for row in rows] for place in range(1, 6)],
        )
        found = intraday.Minutes.joined([filed.bars, told])
        requests = call.requests + filed.requests
        answer = intraday.answer(of, found, NAME, requests, call.reply, settles=timedelta(), ahead=filed.ahead)
        return replace(answer, from_bulk_files=len(set(filed.bars.opens.tolist()).difference(told.opens.tolist())))

    def quotes(self, instruments: Sequence[Instrument]) -> Answers:
        """The last price of each and its last 24 hours, all in one request; raises ProviderError.

        Without a `binance` alias a pair is looked up, for one more request per resource.
        """
        served, failed = self.fit("quotes", instruments)
        pairs: list[tuple[str, Instrument]] = []
        with calling(self._call("quotes", None)) as call:
            for each in served:
                try:
                    pairs.append((self._pair_of(each, now=True), each))
                except (BadRequest, UnknownSymbol) as error:
                    failed[each.symbol] = error
            tickers = self._library().get_ticker(type="MINI") if pairs else []
        names = {each.symbol: name for name, each in pairs}
        unique = batches([each for _, each in pairs], len(pairs), lambda each: names[each.symbol])
        parts = [errors.read_tickers(tickers, of) for of in unique]
        rows = [row for part in parts for row in part.rows]
        for part in parts:
            failed.update(part.failed)
        return Answers(table("quotes", rows), failed, NAME, datetime.now(UTC), call.requests)

    def test_connection(self) -> str:
        """Binance's own ping, which costs the least weight there is; raises ProviderError."""
        with calling(self._call("test_connection", None)):
            self._library().ping()
        return "ping answered"

    def _klines(
        self, call: Call, pair: str, step: errors.Step, first: int, last: int, *, running: bool = False
    ) -> list[list[Any]]:
        """All finished klines that open from `first` to `last` (ms), each next page after the last kline received.

        running: those too that are not over. Raises Malformed, after one try, when one is not of the range: the answer
        is to another question.
        """
        rows: list[list[Any]] = []
        call.asked = pair
        while first <= last:
            sent = self._library().get_klines(
                symbol=pair, interval=step.name, startTime=first, endTime=last, limit=PAGE
            )
            page = sent if step is errors.DAY else errors.in_milliseconds(sent)
            problem = errors.other_question(page, first, last, step)
            if problem is not None:
                raise Malformed(NAME, problem, symbol=call.symbol)
            rows.extend(page)
            if len(page) < PAGE:
                break
            first = max(row[0] for row in page) + step.millis
        now = int(call.clock.timestamp() * 1000)
        return [row for row in rows if running or row[6] < now]

    def _pair_of(self, instrument: Instrument, *, now: bool = False) -> str:
        """The pair that prices the instrument in its currency; `now`: it must have a current price."""
        money = DOLLARS if instrument.currency == "USD" else (instrument.currency,)
        pair = instrument.aliases.get(NAME)
        if pair is None:
            return self._pair(instrument.symbol, money[0], now=now)
        if not pair.upper().endswith(money):
            problem = f"its `binance` alias {pair} is not quoted in {instrument.currency}: correct one of them"
            raise BadRequest(NAME, problem, symbol=instrument.symbol)
        return pair

    def _pair(self, base: str, quote: str, *, now: bool) -> str:
        """The symbol of base against quote, as exchangeInfo knows it; fetched once per resource."""
        with self._listing:
            if self._pairs is None:
                self._pairs = errors.read_pairs(self._library().get_exchange_info())
            pairs = self._pairs
        if (base, quote) not in pairs:
            remedy = "add a `binance` alias to the instrument if it trades under another name"
            raise UnknownSymbol(NAME, f"there is no {quote} pair of it; {remedy}", symbol=base)
        pair, trades = pairs[base, quote]
        if now and not trades:
            raise BadRequest(NAME, f"{pair} is paused: it has no current price", symbol=base)
        return pair

    def _library(self) -> "BinanceClient":
        from financehub_dagster.providers.binance.client import BinanceClient

        with self._lock:
            if self._client is None:
                self._client = BinanceClient(self.override() or BASE_URL)
            return self._client  # type: ignore[no-any-return]

    def _bulk_files(self) -> BulkFiles | None:
        """The files beside the API; None where they are off, or would have other prices than an API elsewhere."""
        settings, override = get_settings(), self.override()
        stated = self.bulk_base_url or settings.base_url(bulk_files.NAME)
        elsewhere = override is not None and OWN_HOSTS.fullmatch(host_of(override)) is None
        if not settings.financehub_bulk_files or (stated is None and elsewhere):
            return None
        with self._lock:
            if self._bulk is None:
                limit = Limit("requests", self.bulk_requests_per_second, 1.0)
                own = self.policy(Meaning(bulk_files.refusal))
                policy = replace(own, provider=bulk_files.NAME, limits=(limit,), place=place_of(stated))
                self._bulk = BulkFiles(policy, (stated or bulk_files.ADDRESS).rstrip("/"))
            return self._bulk

    def limits(self) -> tuple[Limit, ...]:
        """What Binance allows one address."""
        return (Limit("weight", self.weight_per_minute, 60.0, heaviest=errors.HEAVIEST),)

    def _call(self, capability: str, symbol: str | None, step: errors.Step = errors.DAY) -> Call:
        meaning = Meaning(
            refusal=partial(errors.refusal, step=step),
            weight=errors.weight,
            pause=lambda reply: errors.pause(reply, self.weight_per_minute),
        )
        return Call(VendorClient(self.policy(meaning)), capability, symbol)


def _millis(day: date) -> int:
    return int(datetime.combine(day, time(), UTC).timestamp()) * 1000


def _frame(rows: list[list[Any]]) -> "pd.DataFrame":
    """Klines as bars in date order, each once; strings become the nearest double, or NaN where they hold none."""
    import numpy as np
    import pandas as pd

    opened = np.array([row[0] for row in rows], dtype="int64")
    bars = pd.DataFrame({"date": pd.Series(opened // 1000).astype("datetime64[s]")})
    for position, name in enumerate(("open", "high", "low", "close"), start=1):
        bars[name] = np.array([errors.decimal(row[position]) for row in rows], dtype="float64")
    bars["adj_close"] = bars["close"]
    bars["volume"] = np.array([errors.decimal(row[5]) for row in rows], dtype="float64")
    return bars.drop_duplicates("date", keep="last").sort_values("date", ignore_index=True)
