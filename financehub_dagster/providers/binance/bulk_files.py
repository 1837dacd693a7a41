"""Binance's bulk files: the klines of one pair over a month or a day, as CSV in a zip, for minutes of long ago.

Belongs here: which files a range is made of, fetching, verifying and reading them, and what of the range they lack.
Does not belong here: the API, which is asked for that (provider). Imports numpy inside functions only.
Source: https://github.com/binance/binance-public-data (README.md).

A minute that a file lacks is not confirmed to be empty: some files have gaps that the API does not have. Whatever is
wrong with a file, its minutes come from the API.
"""

import hashlib
import io
import logging
import threading
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from financehub_dagster.gateway.addresses import is_loopback
from financehub_dagster.gateway.client import VendorClient
from financehub_dagster.gateway.deadline import deadline
from financehub_dagster.gateway.errors import ProviderError
from financehub_dagster.gateway.policy import Meaning, Policy
from financehub_dagster.gateway.request_context import Call, Sent, calling, counted_by
from financehub_dagster.gateway.response import Reply, banned, refusal_of_status
from financehub_dagster.providers.binance import errors
from financehub_dagster.providers.intraday import COLUMNS, Minutes, Range

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from financehub_dagster.gateway.http.requests_session import GatewaySession

NAME = "binance_bulk"
"""What limits, circuit breakers and counts of requests have for it: they are not those of the API."""
ADDRESS = "https://data.binance.vision"
PAGE = 1000
"""Most klines in one answer of the API."""
REQUESTS = 2
"""What a file costs: it and its checksum."""
DAY = timedelta(days=1)
DAY_APPEARS = DAY
"""A day's file appears on the next day, at no stated time."""
MONTH_APPEARS = timedelta(days=10)
"""A month's file appears on the first Monday of the next month; those of its days are there already."""
SECONDS = 30.0
"""What a request for a file may take, even while another vendor could be asked: the API could, too."""
AT_ONCE = 3
"""Files that are fetched and read at once: each takes 23 MB meanwhile."""
KEPT = 8
"""Months that a run keeps once read, 2 MB each: it asks for them in weeks."""
MOST_ZIPPED, MOST_UNZIPPED = 8 * 2**20, 32 * 2**20
"""Bytes. A month of minutes takes 2 to 3 MB zipped and 7 MB unzipped."""
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""How the CSV may be compressed: other methods take memory as the file says, and have errors of their own."""

_logger = logging.getLogger("financehub.providers")


class Unusable(Exception):
    """What is wrong with a file."""


@dataclass(frozen=True, slots=True)
class BulkFile:
    """The klines of a pair that open in [first, stop), a whole month or day."""

    pair: str
    step: errors.Step
    first: datetime
    stop: datetime

    @property
    def name(self) -> str:
        """Without suffix."""
        return f"{self.pair}-{self.step.name}-{self.first:{'%Y-%m-%d' if self.is_day else '%Y-%m'}}"

    @property
    def path(self) -> str:
        """Where it is."""
        period = "daily" if self.is_day else "monthly"
        return f"/data/spot/{period}/klines/{self.pair}/{self.step.name}/{self.name}.zip"

    @property
    def is_day(self) -> bool:
        """Or a month."""
        return self.stop - self.first == DAY


@dataclass(frozen=True, slots=True)
class Found:
    """The bars of a range that files have, the parts that they lack (epoch seconds), and the requests that it took.

    ahead: seconds by which the clock there was ahead of ours when it last answered; None where it never said.
    """

    bars: Minutes
    lacking: Sequence[tuple[int, int]]
    requests: int
    ahead: float | None = None


@dataclass(slots=True)
class _Requests:
    count: int = 0


@dataclass
class _Months:
    """The months that a run has read, or is reading, and those that it cannot have."""

    read: "OrderedDict[BulkFile, Future[Minutes | None]]" = field(default_factory=OrderedDict)
    lost: set[BulkFile] = field(default_factory=set)


@dataclass
class BulkFiles:
    """Fetches files under `policy`; a run asks for each month once, whichever of its threads want it.

    address: scheme, host and prefix.
    """

    policy: Policy
    address: str
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _places: threading.BoundedSemaphore = field(default_factory=lambda: threading.BoundedSemaphore(AT_ONCE))
    _runs: "WeakKeyDictionary[Sent, _Months]" = field(default_factory=WeakKeyDictionary)
    _session: "GatewaySession | None" = None
    _ahead: float | None = None

    def bars(self, pair: str, of: Range, now: datetime) -> Found:
        """What the files that are worth their requests have of a range; raises nothing of a vendor's."""
        step, sent = errors.STEPS[of.interval], _Requests()
        parts: list[Minutes] = []
        for file in files_of(pair, step, of.start, of.end, now):
            found = self._once(file, of.instrument.symbol, sent)
            if found is not None:
                parts.append(found)
            elif not file.is_day and now < file.stop + MONTH_APPEARS:
                days = days_of(pair, step, max(of.start, file.first), min(of.end, file.stop), now)
                read = [self._fetched(day, of.instrument.symbol, sent) for day in days]
                parts += [each for each in read if each is not None]
        bars = Minutes.joined(parts)
        bars = bars.kept((bars.opens >= of.first) & (bars.opens < of.last))
        return Found(bars, lacking(bars, of), sent.count, self._ahead)

    def _once(self, file: BulkFile, symbol: str, sent: _Requests) -> Minutes | None:
        """The file, a month by whichever thread of the run asks first; None for one that cannot be had or used."""
        run = counted_by()
        if run is None or file.is_day:
            return self._fetched(file, symbol, sent)
        with self._lock:
            months = self._runs.setdefault(run, _Months())
            if file in months.lost:
                return None
            known = months.read.get(file)
            if known is None:
                own = months.read[file] = Future()
                while len(months.read) > KEPT:
                    months.read.popitem(last=False)
        if known is not None:
            return known.result()
        found = None
        try:
            found = self._fetched(file, symbol, sent)
        finally:
            if found is None:
                months.lost.add(file)
            own.set_result(found)
        return found

    def _fetched(self, file: BulkFile, symbol: str, sent: _Requests) -> Minutes | None:
        """None where there is no such file, or one that cannot be used: the log says why."""
        with self._places:
            try:
                content = self._content(file, symbol, sent)
                if content is not None:
                    return read(file, content)
                _logger.info("%s: %s: there is no %s.zip; asking the API", NAME, symbol, file.name)
            except ProviderError as error:
                _logger.info("%s; asking the API", error)
            except Unusable as problem:
                _logger.warning("%s: %s: %s.zip %s; asking the API", NAME, symbol, file.name, problem)
        return None

    def _content(self, file: BulkFile, symbol: str, sent: _Requests) -> bytes | None:
        """The zip, verified; None for one that is not there. Raises ProviderError or Unusable."""
        with deadline(SECONDS), calling(Call(self._client(), "bulk_files", symbol, asked=file.name)) as call:
            try:
                checksum = self._get(f"{file.path}.CHECKSUM")
                zipped = None if checksum is None else self._get(file.path)
            finally:
                sent.count += call.requests
                if call.reply is not None and call.reply.clock_offset is not None:
                    self._ahead = call.reply.clock_offset
        if checksum is not None and zipped is not None:
            verify(file, checksum, zipped)
        return zipped

    def _get(self, path: str) -> bytes | None:
        """What the address has there; None for nothing."""
        from financehub_dagster.gateway.http.requests_session import GatewaySession

        with self._lock:
            if self._session is None:
                self._session = GatewaySession()
                self._session.trust_env = not is_loopback(self.address)
        response = self._session.get(f"{self.address}{path}")
        return None if response.status_code == 404 else response.content

    def _client(self) -> VendorClient:
        times = replace(self.policy.timeouts, total=SECONDS, body_bytes=MOST_ZIPPED)
        return VendorClient(replace(self.policy, meaning=Meaning(refusal), timeouts=times))


def refusal(reply: Reply) -> ProviderError | None:
    """The error of an answer: that there is no such file is none.

    There are no keys. An address that is refused one file is refused all, so the next requests wait too.
    """
    if reply.status in (400, 401, 451):
        return banned(reply, f"this address is refused (HTTP {reply.status}: {reply.excerpt()})")
    return None if reply.status == 404 else refusal_of_status(reply)


def files_of(pair: str, step: errors.Step, start: datetime, end: datetime, now: datetime) -> list[BulkFile]:
    """The files of [start, end) that are worth their requests, in order.

    A month that is over where the API would take more requests, otherwise whole days where it would take as many: they
    spare its weight.
    """
    files: list[BulkFile] = []
    for first, stop in _months(start, end):
        part = max(start, first), min(end, stop)
        if stop <= now and _pages(step, *part) > REQUESTS:
            files.append(BulkFile(pair, step, first, stop))
        else:
            files += days_of(pair, step, *part, now)
    return files


def days_of(pair: str, step: errors.Step, start: datetime, end: datetime, now: datetime) -> list[BulkFile]:
    """The files of whole days in [start, end) that are worth their requests and may be there."""
    day = start.replace(hour=0, minute=0, second=0, microsecond=0)
    day += timedelta(0) if day == start else DAY
    files = []
    while day + DAY <= min(end, now - DAY_APPEARS) and _pages(step, day, day + DAY) >= REQUESTS:
        files.append(BulkFile(pair, step, day, day + DAY))
        day += DAY
    return files


def _months(start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    first = datetime(start.year, start.month, 1, tzinfo=UTC)
    while first < end:
        stop = (first + timedelta(days=31)).replace(day=1)
        yield first, stop
        first = stop


def _pages(step: errors.Step, start: datetime, end: datetime) -> int:
    """How many requests for klines of [start, end) the API takes."""
    bars = (end - start) // timedelta(milliseconds=step.millis)
    return -(-bars // PAGE)


def lacking(bars: Minutes, of: Range) -> list[tuple[int, int]]:
    """The parts of a range without a bar, epoch seconds; near ones are one where one answer of the API covers both."""
    import numpy as np

    if not len(bars.opens):
        return [(of.first, of.last)] if of.first < of.last else []
    first = -(-of.first // of.seconds) * of.seconds
    missing = np.setdiff1d(np.arange(first, of.last, of.seconds), bars.opens)
    ends = np.flatnonzero(np.diff(missing, append=of.last + of.seconds + 1) != of.seconds)
    begins = np.append(0, ends[:-1] + 1)
    parts: list[tuple[int, int]] = []
    for begin, end in zip(missing[begins].tolist(), missing[ends].tolist(), strict=True) if missing.size else ():
        stop = min(end + of.seconds, of.last)
        if parts and stop - parts[-1][0] <= PAGE * of.seconds:
            parts[-1] = parts[-1][0], stop
        else:
            parts.append((begin, stop))
    return parts


def verify(file: BulkFile, checksum: bytes, zipped: bytes) -> None:
    """Raise Unusable unless the file has the checksum that stands beside it, as sha256sum writes it."""
    told = checksum.decode("ascii", "replace").split()
    if len(told) != 2 or told[1].removeprefix("*") != f"{file.name}.zip":
        raise Unusable("has no checksum that could be read")
    if hashlib.sha256(zipped).hexdigest() != told[0].lower():
        raise Unusable("does not have the checksum that stands beside it")


def read(file: BulkFile, zipped: bytes) -> Minutes:
    """The klines that keep every rule of a bar; raises Unusable for another file. The API has a say on the others."""
    import numpy as np

    opens: list[int] = []
    closes: list[int] = []
    columns: list[list[float]] = [[] for _ in COLUMNS]
    for number, line in enumerate(_text(file, zipped).splitlines()):
        fields = line.split(",")
        if number == 0 and not fields[0].isdigit():  # files of some markets begin with the names of the columns
            continue
        try:
            opens.append(int(fields[0]))
            closes.append(int(fields[6]))
        except (ValueError, IndexError):
            raise Unusable(f"has a line that is no kline: {line[:80]!r}") from None
        for column, value in zip(columns, fields[1:6], strict=True):
            column.append(errors.decimal(value))
    try:
        times = np.array([opens, closes], np.int64)
    except OverflowError:
        raise Unusable("has a time that cannot be") from None
    if len(opens) and times[0].min() >= errors.MICROSECONDS:
        times //= 1000
    _require_own(file, *times)
    bars = Minutes(times[0] // 1000, np.array(columns, np.float64))
    return bars.kept(_good(bars))


def _text(file: BulkFile, zipped: bytes) -> str:
    """The CSV in the zip; no more of it is unzipped than a file may have."""
    try:
        with zipfile.ZipFile(io.BytesIO(zipped)) as packed:
            about = packed.getinfo(f"{file.name}.csv")
            if about.compress_type not in METHODS:
                raise Unusable("is not compressed as zips usually are")
            with packed.open(about) as stream:
                text = stream.read(MOST_UNZIPPED + 1)
        if len(text) > MOST_UNZIPPED:
            raise Unusable(f"holds more than {MOST_UNZIPPED:,} bytes")
        return text.decode("ascii")
    except KeyError:
        raise Unusable(f"holds no {file.name}.csv") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError) as error:
        raise Unusable(f"cannot be unzipped ({type(error).__name__})") from None


def _require_own(file: BulkFile, opens: "NDArray[np.int64]", closes: "NDArray[np.int64]") -> None:
    """Raise Unusable where a kline (ms) is not of the file's interval and time."""
    import numpy as np

    first, stop = (int(at.timestamp() * 1000) for at in (file.first, file.stop))
    wrong = (opens < first) | (opens >= stop) | (opens % file.step.millis != 0)
    wrong |= (closes < opens) | (closes - opens >= file.step.millis)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise Unusable(f"has a kline that opens at {opens[row]} and closes at {closes[row]}")


def _good(bars: Minutes) -> "NDArray[np.bool_]":
    """Which bars keep every rule, those that right ones may break too included."""
    import numpy as np

    from financehub_dagster.market.quality.bar_rules import DOUBTS, RULES

    of = dict(zip(COLUMNS, bars.columns, strict=True))
    of["adj_close"] = of["close"]
    good = np.ones(len(bars.opens), np.bool_)
    with np.errstate(invalid="ignore"):
        for rule in (*RULES, *DOUBTS):
            good &= rule.kept(of.__getitem__)
    return good
