"""Binance's bulk files: klines of one pair over a month or a day, as CSV in a zip, beside a file with its checksum.

Belongs here: which files there are by now, their addresses and bytes, and what is wrong with some. Does not belong
here: the klines themselves (`routes`). Addresses and columns follow github.com/binance/binance-public-data (README.md):
no header, times in microseconds from 2025 on. A day's file appears on the next day, a month's on the second.
"""

import hashlib
import io
import re
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from financehub_dagster.sandbox.vendors.vendor import ORIGIN_HEADER, Quirk, Refused, quirk_of

#: Where they are, with the names of what is between the slashes.
PATH = "/data/spot/{period}/klines/{pair}/{interval}/{name}"
#: What a vendor's files may have wrong: another checksum, a zip that cannot be read, an hour that is left out.
QUIRKS: tuple[Quirk, ...] = ("bad_checksum", "corrupt_zip", "bulk_gap")
_FOLDER = re.compile(r"/data/spot/[^/]+/klines/([^/]+)/")
_PERIODS = {"monthly": "%Y-%m", "daily": "%Y-%m-%d"}
_DAY_APPEARS, _MONTH_APPEARS = timedelta(hours=3), timedelta(days=1)
_MICROSECONDS_SINCE = datetime(2025, 1, 1, tzinfo=UTC)
_GAP = range(10 * 60, 11 * 60)
_MISSING = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    "<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message></Error>"
)

type Klines = Callable[[str, str, float, float], tuple[Sequence[list[Any]], str]]
"""The klines of a pair and interval that open from one epoch second to another, both included, and their origin."""


@dataclass(frozen=True, slots=True)
class _File:
    stem: str
    first: datetime
    stop: datetime
    appears: datetime


def pair_of(path: str) -> str | None:
    """The pair that a path of a bulk file is about; None for other paths."""
    found = _FOLDER.search(path)
    return None if found is None else found[1]


def answer(request: Request, klines: Klines, now: float) -> Response:
    """The zip or its checksum; 404 as the store has it where there is no such file by `now`."""
    asked = request.path_params
    stem, _, suffix = asked["name"].partition(".")
    file = _file(asked["period"], asked["pair"], asked["interval"], stem)
    if file is None or suffix not in ("zip", "zip.CHECKSUM") or now < file.appears.timestamp():
        raise Refused(missing())
    rows, origin = klines(asked["pair"], asked["interval"], file.first.timestamp(), file.stop.timestamp() - 1)
    if not rows:
        raise Refused(missing())
    quirk = quirk_of(request)
    body = _zipped(file, rows, quirk)
    headers = {ORIGIN_HEADER: origin}
    if suffix == "zip":
        return Response(body, 200, headers, "application/zip")
    digest = hashlib.sha256(b"something else" if quirk == "bad_checksum" else body).hexdigest()
    return Response(f"{digest}  {stem}.zip\n", 200, headers, "binary/octet-stream")


def missing() -> Response:
    """What the store says of a file that it does not have."""
    return Response(_MISSING, 404, media_type="application/xml")


def _file(period: str, pair: str, interval: str, stem: str) -> _File | None:
    form, prefix = _PERIODS.get(period), f"{pair}-{interval}-"
    if form is None or not stem.startswith(prefix):
        return None
    written = stem.removeprefix(prefix)
    try:
        first = datetime.strptime(written, form).replace(tzinfo=UTC)
        day, month = first + timedelta(days=1), (first + timedelta(days=31)).replace(day=1)
    except (ValueError, OverflowError):
        return None
    if first.strftime(form) != written:
        return None
    stop, appears = (day, _DAY_APPEARS) if period == "daily" else (month, _MONTH_APPEARS)
    return _File(stem, first, stop, stop + appears)


def _zipped(file: _File, rows: Sequence[list[Any]], quirk: Quirk | None) -> bytes:
    """The zip, the same bytes each time; `corrupt_zip` spoils what is compressed in it."""
    if quirk == "bulk_gap":
        opened = int(file.first.timestamp() * 1000)
        rows = [row for row in rows if (row[0] - opened) // 60_000 not in _GAP]
    if file.first >= _MICROSECONDS_SINCE:
        rows = [[row[0] * 1000, *row[1:6], row[6] * 1000 + 999, *row[7:]] for row in rows]
    text = "".join(f"{','.join(map(str, row))}\n" for row in rows)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        about = zipfile.ZipInfo(f"{file.stem}.csv", (2020, 1, 1, 0, 0, 0))
        archive.writestr(about, text, zipfile.ZIP_DEFLATED, compresslevel=1)
    body = packed.getvalue()
    half = len(body) // 2
    return body[:half] + bytes(32) + body[half + 32 :] if quirk == "corrupt_zip" else body
