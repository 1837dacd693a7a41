"""The sandbox from outside: starting it as a process and steering it.

Belongs here: what a demo or a test needs to run and control a sandbox. Does not belong here: the server. Importing this
module loads neither the server nor NumPy.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlencode, urlsplit

from financehub_dagster.sandbox.errors import SandboxError

VENDORS = (
    "yahoo", "binance", "alpha_vantage", "coingecko", "coinmarketcap", "finnhub", "twelve_data", "newsapi",
)  # fmt: skip
KEYLESS_VENDORS = ("yahoo", "binance")
_STOP_SECONDS = 5.0
_CONTROL_TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True)
class Sandbox:
    """A sandbox that answers at `url` (http://host:port)."""

    url: str

    @property
    def yahoo_url(self) -> str:
        """What YAHOO_BASE_URL has to be."""
        return f"{self.url}/yahoo"

    @property
    def binance_url(self) -> str:
        """What BINANCE_BASE_URL has to be."""
        return f"{self.url}/binance"

    def base_url(self, vendor: str) -> str:
        """What stands in for a vendor's scheme and host; `vendor` is the platform's name for it, as alpha_vantage."""
        return f"{self.url}/{vendor.replace('_', '')}"

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables that point the platform's providers here."""
        addresses = {f"{vendor.upper()}_BASE_URL": self.base_url(vendor) for vendor in VENDORS}
        return {**addresses, "BINANCE_BULK_BASE_URL": self.binance_url}

    @property
    def keys(self) -> dict[str, str]:
        """Environment variables with a key for each vendor that asks for one; any other would do as well."""
        asking = [vendor for vendor in VENDORS if vendor not in KEYLESS_VENDORS]
        return {f"{vendor.upper()}_API_KEYS": f"sandbox-key-of-{vendor.replace('_', '-')}" for vendor in asking}

    def fault(self, kind: str, **options: Any) -> None:
        """Spoil requests.

        Kinds: status, error, timeout, reset, slow, trickle, truncated, garbage, empty, html, wrong_symbol, shuffled,
        duplicated, strings, nan; closing_bar, extended_hours, exchange_time, microseconds, null_rows, bad_checksum,
        corrupt_zip, bulk_gap of vendors that do so. Options: vendor, path (part of it), symbol (ours), status,
        situation, in_200, retry_after, retry_after_as, seconds, times, after.
        """
        self._control("POST", "faults", {"kind": kind, **options})

    def faults(self) -> list[dict[str, Any]]:
        """The faults in force with the number of requests each has spoilt (`served`)."""
        return list(self._control("GET", "faults"))

    def clear_faults(self) -> None:
        """All is well again."""
        self._control("DELETE", "faults")

    def calls(self, vendor: str | None = None, symbol: str | None = None, detail: bool = False) -> dict[str, Any]:
        """What was asked: total, by_vendor, by_path, by_symbol, by_key, by_status, by_fault, worst_second, calls."""
        query = {"vendor": vendor, "symbol": symbol, "detail": "1" if detail else None}
        asked = urlencode({name: value for name, value in query.items() if value is not None})
        return dict(self._control("GET", f"calls?{asked}"))

    def clear_calls(self) -> None:
        """Count from zero again."""
        self._control("DELETE", "calls")

    def list_synthetic(
        self, count: int, prefix: str = "SIM", asset_type: str = "stock", exchange: str = "XNYS"
    ) -> list[dict[str, Any]]:
        """List invented instruments SIM0001 ...; their symbol, exchange and aliases. exchange: of stocks, as a MIC."""
        asked = {"count": count, "prefix": prefix, "asset_type": asset_type, "exchange": exchange}
        return list(self._control("POST", "listings", asked))

    def delist(self, symbol: str) -> None:
        """From now on no vendor knows this symbol."""
        self._control("POST", "delistings", {"symbol": symbol})

    def split(self, symbol: str, day: date, ratio: float) -> None:
        """Declare `ratio` new shares per old one from `day` on; all earlier prices are then served divided by it."""
        self._control("POST", "splits", {"symbol": symbol, "date": day.isoformat(), "ratio": ratio})

    def dividend(self, symbol: str, day: date, amount: float, vendor: str | None = None) -> None:
        """Declare a dividend per share with ex-date `day`, at one vendor or at all."""
        body = {"symbol": symbol, "date": day.isoformat(), "amount": amount, "vendor": vendor}
        self._control("POST", "dividends", body)

    def set_bar(self, symbol: str, day: date, *, vendor: str | None = None, **values: float | None) -> None:
        """Serve these values (open, high, low, close, volume) in one bar, at one vendor or at all.

        None is served as a missing value; a day without a session gets a bar where all of them are given.
        """
        self._control("POST", "bars", {"symbol": symbol, "date": day.isoformat(), "vendor": vendor, **values})

    def drop_bar(self, symbol: str, day: date, vendor: str | None = None) -> None:
        """Serve no bar for this session, at one vendor or at all."""
        self._control("POST", "bars", {"symbol": symbol, "date": day.isoformat(), "vendor": vendor, "drop": True})

    def set_minute(self, symbol: str, at: datetime, **values: float | None) -> None:
        """Serve these values in the minute that opens at `at`; None is served as a missing value."""
        self._control("POST", "minutes", {"symbol": symbol, "first": at.isoformat(), **values})

    def drop_minutes(self, symbol: str, first: datetime, last: datetime, vendor: str | None = None) -> None:
        """Serve no minutes that open in [first, last), at one vendor or at all."""
        order = {"symbol": symbol, "first": first.isoformat(), "last": last.isoformat(), "vendor": vendor}
        self._control("POST", "minutes", order)

    def restore_minutes(self, symbol: str) -> None:
        """Serve all minutes as they were."""
        self._control("POST", "minutes", {"symbol": symbol, "restore": True})

    def freeze(self, now: datetime | None) -> None:
        """Stop the market's clock, by which the vendors' Date header goes too; None: the real time again."""
        self._control("POST", "clock", {"now": None if now is None else now.isoformat()})

    def set_clock(self, now: datetime) -> None:
        """Let the market's clock run on from a time with offset."""
        self._control("POST", "clock", {"now": now.isoformat(), "running": True})

    def limit(self, vendor: str, calls: int | None, window_seconds: float | None = None) -> None:
        """Enforce `calls` (weight, credits) per window, by default the vendor's first; None: its own limits."""
        self._control("POST", "limits", {"vendor": vendor, "calls": calls, "window_seconds": window_seconds})

    def declare_key(self, vendor: str, key: str, *, valid: bool = True, plan: str = "free") -> None:
        """From now on `vendor` takes `key` for invalid, or puts it on the plan free or paid."""
        self._control("POST", "keys", {"vendor": vendor, "key": key, "valid": valid, "plan": plan})

    def latency(self, milliseconds: float) -> None:
        """Delay every answer."""
        self._control("POST", "latency", {"milliseconds": milliseconds})

    def reset(self) -> None:
        """Back to how it started: no faults, no calls, no changes, the real clock."""
        self._control("DELETE", "")

    def _control(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """The answer to one order; on loopback, so that no proxy of the environment gets between."""
        payload = None if body is None else json.dumps(body)
        with closing(HTTPConnection(urlsplit(self.url).netloc, timeout=_CONTROL_TIMEOUT_SECONDS)) as connection:
            connection.request(method, f"/_control/{path}", payload)
            response = connection.getresponse()
            answer = json.loads(response.read())
        if response.status != 200:
            raise SandboxError(f"sandbox {method} {path}: {answer['error']}")
        return answer


@contextmanager
def running_sandbox(port: int = 0, *, host: str = "127.0.0.1", latency_ms: float = 0.0) -> Iterator[Sandbox]:
    """A sandbox process that answers, for as long as the block runs; port 0 takes a free one.

    The process ends with the block and also when this process dies, since it reads a pipe that only this process holds.
    Raises SandboxError where it cannot start; the reason is then on standard error.
    """
    options = ["--host", host, "--port", str(port), "--latency-ms", str(latency_ms), "--until-stdin-closes"]
    command = [sys.executable, "-m", "financehub_dagster.sandbox", *options]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            address = process.stdout.readline().strip()
            if not address:
                raise SandboxError(f"the sandbox did not start (exit code {process.wait()})")
            yield Sandbox(address)
        finally:
            process.stdin.close()
            _wait_or_kill(process)


def _wait_or_kill(process: subprocess.Popen[str]) -> None:
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
