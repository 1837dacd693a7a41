"""Which of Binance's bulk files are asked for, and what is believed of one."""

import hashlib
import io
import zipfile
from datetime import UTC, datetime, timedelta

import pytest

from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.providers.binance import errors
from financehub_dagster.providers.binance.bulk_files import (
    MOST_UNZIPPED,
    BulkFile,
    Unusable,
    files_of,
    lacking,
    read,
    verify,
)
from financehub_dagster.providers.intraday import Minutes, Range

BTC = Instrument("BTC", "Bitcoin", AssetType.CRYPTO, "XXXX", "USD", "UTC", aliases={"binance": "BTCUSDT"})
DAY = datetime(2024, 2, 29, tzinfo=UTC)
FILE = BulkFile("BTCUSDT", errors.STEPS[1], DAY, DAY + timedelta(days=1))
HEADER = "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote,ignore\n"


def names(start: str, end: str, now: str = "2024-03-20T12:00", interval: int = 1) -> list[str]:
    """The files of a range, without pair and interval."""
    times = (datetime.fromisoformat(each).replace(tzinfo=UTC) for each in (start, end, now))
    return [file.name.split("-", 2)[2] for file in files_of("BTCUSDT", errors.STEPS[interval], *times)]


@pytest.mark.parametrize(
    ("start", "end", "files"),
    [
        ("2024-01-01", "2024-03-01", ["2024-01", "2024-02"]),
        ("2024-01-31", "2024-02-06", ["2024-01-31", "2024-02"]),
        ("2024-01-30", "2024-02-06", ["2024-01", "2024-02"]),
        ("2024-02-29", "2024-03-01", ["2024-02-29"]),
        ("2024-02-29T00:01", "2024-03-01", []),
        ("2024-02-28T15:00", "2024-03-01T00:00", ["2024-02-29"]),
        ("2024-03-17T08:00", "2024-03-20T12:00", ["2024-03-18"]),
        ("2024-03-20T11:50", "2024-03-20T12:00", []),
        ("2024-03-20", "2024-03-20", []),
        ("2023-12-31T23:00", "2024-01-02T00:00", ["2024-01-01"]),
    ],
)
def test_files_are_asked_for_where_the_api_would_take_as_many_requests(start: str, end: str, files: list[str]) -> None:
    assert names(start, end) == files


@pytest.mark.parametrize(("interval", "files"), [(5, ["2024-01"]), (15, ["2024-01"]), (60, [])])
def test_of_longer_bars_a_month_may_be_worth_it_and_no_day_is(interval: int, files: list[str]) -> None:
    assert names("2024-01-01", "2024-02-01", interval=interval) == files
    assert names("2024-01-10", "2024-01-13", interval=interval) == []


def test_addresses_are_those_of_binance() -> None:
    month = BulkFile("ETHUSDT", errors.STEPS[15], datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 2, 1, tzinfo=UTC))
    assert month.path == "/data/spot/monthly/klines/ETHUSDT/15m/ETHUSDT-15m-2025-01.zip"
    assert FILE.path == "/data/spot/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2024-02-29.zip"


def missing_of(*minutes: int, of: int = 3000) -> list[tuple[int, int]]:
    """The parts that are asked for, as minutes, where a range lacks these minutes."""
    opens = [60 * each for each in range(of) if each not in minutes]
    found = lacking(Minutes.of(opens, [[1.0] * len(opens)] * 5), Range(BTC, 1, 0, 60 * of))
    return [(start // 60, stop // 60) for start, stop in found]


def test_near_gaps_are_one_request_and_far_ones_are_not() -> None:
    assert missing_of() == []
    assert missing_of(0, 1, 2999) == [(0, 2), (2999, 3000)]
    assert missing_of(5, 1004) == [(5, 1005)]
    assert missing_of(5, 1005) == [(5, 6), (1005, 1006)]
    assert missing_of(*range(10, 2500)) == [(10, 2500)]
    assert missing_of(*range(3000)) == [(0, 3000)]


def row(minute: int = 0, numbers: str = "1.1,2.2,0.5,1.5,10.25", unit: int = 1000, length: int = 60) -> str:
    opened = (int(DAY.timestamp()) + 60 * minute) * unit
    return f"{opened},{numbers},{opened + length * unit - 1},15.0,3,5.0,7.5,0\n"


def zipped(text: str, name: str = "BTCUSDT-1m-2024-02-29.csv", method: int = zipfile.ZIP_DEFLATED) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        archive.writestr("../README.txt", "other members do not matter")
        archive.writestr(name, text)
    return packed.getvalue()


def encrypted(text: str) -> bytes:
    """As zip marks it in the local header and in the directory."""
    content = bytearray(zipped(text))
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.rindex(signature) + flags] |= 1
    return bytes(content)


def minutes_of(text: str) -> list[int]:
    return [(each - int(DAY.timestamp())) // 60 for each in read(FILE, zipped(text)).opens.tolist()]


def test_numbers_are_the_nearest_doubles_with_or_without_a_header_in_either_unit() -> None:
    numbers = "0.00000002,96500.12345678,0.00000001,0.10000000,148976.11427815"
    for text in (row(3, numbers), HEADER + row(3, numbers), row(3, numbers, 1_000_000).replace("\n", "\r\n")):
        found = read(FILE, zipped(text))
        assert minutes_of(text) == [3]
        assert [float(each) for each in numbers.split(",")] == found.columns[:, 0].tolist()


@pytest.mark.parametrize(
    "numbers",
    ["1.1,2.2,0.5,,10", "1.1,2.2,0.5,NaN,10", "0,2.2,0.5,1.5,10", "1.1,0.4,0.5,1.5,10", "1.1,2.2,1.2,1.5,10"],
    ids=["empty", "nan", "zero", "high-below-low", "open-below-low"],
)
def test_a_bar_that_breaks_a_rule_is_left_to_the_api(numbers: str) -> None:
    assert minutes_of(row(0) + row(1, numbers) + row(2)) == [0, 2]


def test_a_minute_that_maintenance_cut_short_is_one() -> None:
    assert minutes_of(row(0, length=14) + row(1)) == [0, 1]
    opened = row(0).split(",")[0]
    assert minutes_of(f"{opened},1.1,2.2,0.5,1.5,10.25,{opened},15.0,3,5.0,7.5,0\n" + row(1)) == [0, 1]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (zipped(row(-1)), "has a kline that opens at"),
        (zipped(row(1440)), "has a kline that opens at"),
        (zipped(row(0, length=300)), "has a kline that opens at"),
        (zipped(row(0) + row(1, unit=1_000_000)), "has a kline that opens at"),
        (zipped(row(0) + "<html>\n"), "has a line that is no kline"),
        (zipped(row(0).replace("1", "9" * 40)), "has a time that cannot be"),
        (zipped(row(0), "ETHUSDT-1m-2024-02-29.csv"), "holds no BTCUSDT-1m-2024-02-29.csv"),
        (zipped("0" * (MOST_UNZIPPED + 1)), "holds more than"),
        (zipped(row(0))[:-9], "cannot be unzipped"),
        (encrypted(row(0)), "cannot be unzipped"),
        (zipped(row(0), method=zipfile.ZIP_LZMA), "is not compressed as zips usually are"),
        (b"<html>", "cannot be unzipped"),
        (b"", "cannot be unzipped"),
    ],
    ids=[
        "before",
        "after",
        "longer",
        "mixed",
        "html",
        "huge",
        "other",
        "bomb",
        "truncated",
        "encrypted",
        "lzma",
        "page",
        "empty",
    ],
)
def test_a_file_that_is_another_or_broken_is_not_used(content: bytes, problem: str) -> None:
    with pytest.raises(Unusable, match=problem):
        read(FILE, content)


def test_a_checksum_is_that_of_the_file_by_name() -> None:
    content = zipped(row(0))
    digest = hashlib.sha256(content).hexdigest()
    for text in (f"{digest}  {FILE.name}.zip\n", f"{digest.upper()} *{FILE.name}.zip"):
        verify(FILE, text.encode(), content)
    for text in (f"{digest}  ETHUSDT-1m-2024-02-29.zip", "<html><head></head></html>", "", digest, "\xff"):
        with pytest.raises(Unusable, match="has no checksum that could be read"):
            verify(FILE, text.encode("latin-1"), content)
    with pytest.raises(Unusable, match="does not have the checksum"):
        verify(FILE, f"{digest}  {FILE.name}.zip".encode(), content + b"1")
