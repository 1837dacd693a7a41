"""The journal of every request the sandbox received.

Belongs here: what is remembered of a call and the figures a test asks for. Does not belong here: keys or query strings,
which are never kept; a key is remembered as a fingerprint.
"""

from collections import Counter, deque
from dataclasses import asdict, dataclass
from typing import Any

#: Calls remembered one by one; totals go on counting.
_REMEMBERED = 200_000


@dataclass(frozen=True, slots=True)
class Call:
    """One request: at in UTC epoch seconds, symbols in our spelling where known, key as fingerprint or None."""

    at: float
    vendor: str
    path: str
    symbols: tuple[str, ...]
    key: str | None
    weight: int
    status: int
    fault: str | None


def fingerprint(key: str | None) -> str | None:
    """Its last four characters, as the platform shows keys; nothing of a key that short."""
    return None if key is None else key[-4:] if len(key) >= 8 else "****"


class Journal:
    """Calls in order of arrival."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._calls: deque[Call] = deque(maxlen=_REMEMBERED)
        self._total = 0

    def add(self, call: Call) -> None:
        """Remember one call."""
        self._calls.append(call)
        self._total += 1

    def summary(self, vendor: str | None = None, symbol: str | None = None, detail: bool = False) -> dict[str, Any]:
        """Counts by vendor, path, symbol, key, status and fault, the worst second, and with `detail` each call."""
        chosen = [
            call for call in self._calls if vendor in (None, call.vendor) and (symbol is None or symbol in call.symbols)
        ]
        report: dict[str, Any] = {
            "total": self._total if vendor is None and symbol is None else len(chosen),
            "by_vendor": Counter(call.vendor for call in chosen),
            "by_path": Counter(call.path for call in chosen),
            "by_symbol": Counter(symbol for call in chosen for symbol in call.symbols),
            "by_key": Counter(call.key for call in chosen if call.key),
            "by_status": Counter(str(call.status) for call in chosen),
            "by_fault": Counter(call.fault for call in chosen if call.fault),
            "worst_second": {
                name: worst_window([call.at for call in chosen if call.vendor == name])
                for name in {call.vendor for call in chosen}
            },
        }
        if detail:
            report["calls"] = [asdict(call) for call in chosen]
        return report


def worst_window(times: list[float], seconds: float = 1.0) -> int:
    """The most calls that began within any window of `seconds`; `times` may be in any order."""
    window: deque[float] = deque()
    worst = 0
    for at in sorted(times):
        window.append(at)
        while window[0] <= at - seconds:
            window.popleft()
        worst = max(worst, len(window))
    return worst
