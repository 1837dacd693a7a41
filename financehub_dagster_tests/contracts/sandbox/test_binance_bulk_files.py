"""The sandbox's bulk files of Binance: the API's klines, zipped, beside their checksums."""

import hashlib
import io
import zipfile
from datetime import UTC, datetime

import pytest
import requests

from financehub_dagster.sandbox.client import Sandbox

MONTH = "monthly/klines/BTCUSDT/15m/BTCUSDT-15m-2024-02"
NEWER = "monthly/klines/BTCUSDT/15m/BTCUSDT-15m-2025-02"
DAY = "daily/klines/BTCUSDT/1m/BTCUSDT-1m-2024-02-29"


def get(box: Sandbox, path: str) -> requests.Response:
    return requests.get(f"{box.binance_url}/data/spot/{path}", timeout=10)


def rows(box: Sandbox, path: str) -> list[list[str]]:
    """The rows of the CSV in a zip that has its checksum."""
    name = path.rsplit("/", 1)[-1]
    body = get(box, f"{path}.zip").content
    assert get(box, f"{path}.zip.CHECKSUM").text == f"{hashlib.sha256(body).hexdigest()}  {name}.zip\n"
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        assert archive.namelist() == [f"{name}.csv"]
        return [line.split(",") for line in archive.read(f"{name}.csv").decode().splitlines()]


def api(box: Sandbox, interval: str, start: datetime, limit: int) -> list[list[str]]:
    query = {"symbol": "BTCUSDT", "interval": interval, "startTime": str(int(start.timestamp()) * 1000)}
    answer = requests.get(f"{box.binance_url}/api/v3/klines", {**query, "limit": str(limit)}, timeout=10).json()
    return [[str(value) for value in row] for row in answer]


def test_a_months_and_a_days_file_have_the_klines_of_the_api(sandbox: Sandbox) -> None:
    month, day = rows(sandbox, MONTH), rows(sandbox, DAY)
    assert (len(month), len(day)) == (29 * 96, 1440)
    assert month[:1000] == api(sandbox, "15m", datetime(2024, 2, 1, tzinfo=UTC), 1000)
    assert day[:1000] == api(sandbox, "1m", datetime(2024, 2, 29, tzinfo=UTC), 1000)


def test_times_are_in_microseconds_from_2025_on(sandbox: Sandbox) -> None:
    first = rows(sandbox, NEWER)[0]
    opened = int(datetime(2025, 2, 1, tzinfo=UTC).timestamp()) * 10**6
    assert (int(first[0]), int(first[6])) == (opened, opened + 900 * 10**6 - 1)


def test_files_cost_no_weight_even_where_the_api_has_none_left(sandbox: Sandbox) -> None:
    sandbox.limit("binance", calls=0)
    assert get(sandbox, f"{DAY}.zip").status_code == 200
    assert [call["weight"] for call in sandbox.calls("binance", detail=True)["calls"]] == [0]
    assert sandbox.calls("binance")["by_symbol"] == {"BTC": 1}


@pytest.mark.parametrize(
    ("path", "now", "status"),
    [
        (DAY, "2024-02-29T23:59:00", 404),
        (DAY, "2024-03-01T06:00:00", 200),
        (MONTH, "2024-03-01T06:00:00", 404),
        (MONTH, "2024-03-02T06:00:00", 200),
        ("monthly/klines/BTCUSDT/15m/BTCUSDT-15m-2008-02", "2024-03-02T06:00:00", 404),
        ("monthly/klines/NONEUSDT/15m/NONEUSDT-15m-2024-01", "2024-03-02T06:00:00", 404),
        ("monthly/klines/BTCUSDT/15m/ETHUSDT-15m-2024-01", "2024-03-02T06:00:00", 404),
        ("monthly/klines/BTCUSDT/15m/BTCUSDT-15m-2024-13", "2024-03-02T06:00:00", 404),
        ("monthly/klines/BTCUSDT/15m/BTCUSDT-15m-9999-12", "2024-03-02T06:00:00", 404),
        ("daily/klines/BTCUSDT/15m/BTCUSDT-15m-2024-01", "2024-03-02T06:00:00", 404),
        ("monthly/klines/BTCUSDT/1d/BTCUSDT-1d-2024-01", "2024-03-02T06:00:00", 501),
    ],
)
def test_what_is_not_there_yet_or_never_was_is_404(sandbox: Sandbox, path: str, now: str, status: int) -> None:
    sandbox.freeze(datetime.fromisoformat(now).replace(tzinfo=UTC))
    for suffix in ("zip", "zip.CHECKSUM"):
        answer = get(sandbox, f"{path}.{suffix}")
        assert answer.status_code == status
        assert (b"<Code>NoSuchKey</Code>" in answer.content) == (status == 404)


def test_a_zip_may_be_corrupt_have_another_checksum_or_lack_an_hour(sandbox: Sandbox) -> None:
    sandbox.fault("bad_checksum", vendor="binance", path="CHECKSUM", times=1)
    told = get(sandbox, f"{DAY}.zip.CHECKSUM").text.split()[0]
    assert told != hashlib.sha256(get(sandbox, f"{DAY}.zip").content).hexdigest()
    sandbox.fault("bulk_gap", vendor="binance", times=2)
    assert len(rows(sandbox, DAY)) == 1440 - 60
    sandbox.fault("corrupt_zip", vendor="binance", times=2)
    with pytest.raises((zipfile.BadZipFile, zipfile.zlib.error)):  # type: ignore[attr-defined]
        rows(sandbox, DAY)
