"""Asking a vendor for days on which it called an instrument otherwise.

Belongs here: parting a range of days by the names of one vendor, and joining the answers. Does not belong here: the
names (`market.former_aliases`). Most vendors tell the whole history under the present name and need none of this.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from financehub_dagster.market.former_aliases import names_within
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.providers.base import DailyBars, IntradayBars

KEEP_OLD_NAMES = frozenset({"binance"})
"""Vendors that tell earlier history under the earlier name alone: Binance ended MATICUSDT and began POLUSDT in
September 2024, and neither pair has the klines of the other."""


PAIRED_WITH = "USDT"
"""What a crypto without an alias is priced in at Binance."""


def names_to_keep(instrument: Instrument, aliases: Mapping[str, str]) -> dict[str, str]:
    """What such vendors call an instrument before a rename that gives it these `aliases`, where that changes."""
    found = {}
    for name in sorted(KEEP_OLD_NAMES):
        present = instrument.aliases.get(name)
        if present is None and instrument.asset_type is AssetType.CRYPTO:
            found[name] = f"{instrument.symbol}{PAIRED_WITH}"
        elif present is not None and aliases.get(name, present) != present:
            found[name] = present
    return found


def daily_bars(provider: Any, instrument: Instrument, start: date, end: date) -> DailyBars:
    """The provider's answer for all days of the range, each asked for under the name of that day."""
    parts = names_within(instrument.former_aliases, provider.name, start, end)
    if len(parts) == 1 and parts[0][0] is None:
        whole: DailyBars = provider.daily_bars(instrument, start, end)
        return whole
    answers = [
        provider.daily_bars(_named(instrument, provider.name, former.symbol if former else None), first, last)
        for former, first, last in parts
    ]
    return _joined(answers)


def intraday_bars(provider: Any, instrument: Instrument, interval: int, start: datetime, end: datetime) -> IntradayBars:
    """The provider's answer for [start, end), under the name that the instrument has on its first day."""
    parts = names_within(instrument.former_aliases, provider.name, start.date(), start.date())
    former = parts[0][0]
    if former is not None:
        until = former.until
        end = min(end, datetime(until.year, until.month, until.day, tzinfo=UTC) + timedelta(days=1))
        instrument = _named(instrument, provider.name, former.symbol)
    found: IntradayBars = provider.intraday_bars(instrument, interval, start, end)
    return found


def _named(instrument: Instrument, provider: str, name: str | None) -> Instrument:
    return instrument if name is None else replace(instrument, aliases={**instrument.aliases, provider: name})


def _joined(answers: Sequence[DailyBars]) -> DailyBars:
    import pandas as pd

    last = answers[-1]
    told = [each.told_since for each in answers if each.told_since is not None]
    return replace(
        last,
        bars=pd.concat([each.bars for each in answers], ignore_index=True),
        actions=pd.concat([each.actions for each in answers], ignore_index=True),
        calls=sum(each.calls for each in answers),
        all_actions=all(each.all_actions for each in answers),
        told_since=max(told, default=None),
        listed_since=answers[0].listed_since,
        holes=[day for each in answers for day in each.holes],
    )
