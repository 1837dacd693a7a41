"""What a platform will ask vendors for once it runs, told before it begins.

Belongs here: counting what is not stored yet, and roughly how long it takes. Does not belong here: asking.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from financehub_dagster.wording import counted

if TYPE_CHECKING:
    from financehub_dagster.market.instruments import Instrument

SESSIONS_A_YEAR = 252
BARS_A_REQUEST = {"binance": 1000}
"""Most bars of one answer (developers.binance.com, klines); where none is said, one answer holds the whole history."""
OTHER_SECONDS = 0.3
"""What a request takes where nothing is paced to more than that."""
CADENCES = "then new bars daily and quotes every 2 to 5 minutes"


@dataclass(frozen=True)
class FirstFetch:
    """Instruments without bars, requests and about how many seconds for each vendor, and about how many bars in all."""

    since: date
    instruments: dict[str, int]
    requests: dict[str, int]
    seconds: dict[str, float]
    bars: int

    def lines(self) -> Iterator[str]:
        """What to tell; nothing where nothing is missing."""
        if not self.instruments:
            return
        asked = ", ".join(
            f"{vendor} for {count} ({counted(self.requests[vendor], 'request')})"
            for vendor, count in self.instruments.items()
        )
        new = counted(sum(self.instruments.values()), "instrument has", "instruments have")
        yield f"{new} no bars yet. From now on vendors are asked: {asked}"
        minutes = max(1, round(max(self.seconds.values()) / 60))
        yield (
            f"about {counted(self.bars, 'daily bar')} since {self.since}, in {minutes} min or more; {CADENCES}. "
            "`financehub gaps` shows what is still missing, FINANCEHUB_HISTORY_START sets the beginning"
        )


def first_fetch(now: datetime | None = None) -> FirstFetch:
    """Count what the tables of bars lack, by the vendor that is asked first."""
    from financehub_dagster.providers.routing import DailyBarsRouter
    from financehub_dagster.settings import get_settings
    from financehub_dagster.storage.database.engine import transaction
    from financehub_dagster.storage.queries.history import stored_spans
    from financehub_dagster.storage.queries.instruments import list_instruments
    from financehub_dagster.tables import BARS_OF

    router, since = DailyBarsRouter(), get_settings().financehub_history_start
    days = ((now or datetime.now(UTC)).date() - since).days
    instruments, requests, bars = Counter[str](), Counter[str](), 0
    with transaction() as connection:
        for table, kinds in BARS_OF.items():
            chosen = list_instruments(connection, asset_types=kinds, listed_on=since)
            stored = stored_spans(connection, table, [each.symbol for each in chosen])
            for instrument in chosen:
                vendors = router.asked(instrument)
                if instrument.symbol not in stored and vendors:
                    sessions = _sessions(instrument, days)
                    instruments[vendors[0]] += 1
                    requests[vendors[0]] += -(-sessions // BARS_A_REQUEST.get(vendors[0], sessions or 1))
                    bars += sessions
    seconds = {vendor: count * _pace(vendor) for vendor, count in requests.items()}
    return FirstFetch(since, dict(instruments), dict(requests), seconds, round(bars, -3))


def _sessions(instrument: "Instrument", days: int) -> int:
    from financehub_dagster.market.instruments import AssetType

    return days if instrument.asset_type is AssetType.CRYPTO else days * SESSIONS_A_YEAR // 365


def _pace(vendor: str) -> float:
    """Seconds from one request to the next."""
    from financehub_dagster.providers import all_providers

    rate = getattr(all_providers()[vendor], "requests_per_second", None)
    return OTHER_SECONDS if rate is None else max(OTHER_SECONDS, 1.0 / rate)
