"""A Yahoo whose history of one stock a test writes down: bars, dividends and splits, adjusted or not as it likes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from math import prod
from typing import Any

import pytest

from financehub_dagster.market import calendars
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.storage.queries.instruments import upsert_instruments
from financehub_dagster_tests.assets.conftest import Platform
from financehub_dagster_tests.contracts.charts import OPENS, at, chart
from financehub_dagster_tests.contracts.scripted import Answer, Asked, ScriptedVendor

FIRST, LAST = date(2024, 1, 2), date(2024, 4, 30)
SYMBOL = "XYZ"
STOCK = Instrument(SYMBOL, "XYZ Corp", AssetType.STOCK, "XNYS", "USD", "America/New_York")


@dataclass
class Series:
    """Closes as traded of the sessions FIRST to LAST, and the actions that the vendor tells of.

    missing are sessions it has no row for, empty ones it has a row of nulls for, extra further days. adjusted says
    which splits its prices take out (None: all that it tells), paid the same of dividends. told False hides all events.
    """

    dividends: dict[date, float] = field(default_factory=dict)
    splits: dict[date, float] = field(default_factory=dict)
    real_splits: dict[date, float] = field(default_factory=dict)
    adjusted: Sequence[date] | None = None
    paid: Sequence[date] | None = None
    missing: set[date] = field(default_factory=set)
    empty: set[date] = field(default_factory=set)
    extra: set[date] = field(default_factory=set)
    until: date = LAST
    told: bool = True

    @property
    def days(self) -> list[date]:
        days = set(calendars.schedule(STOCK, FIRST, self.until).dates.tolist()) | self.extra
        return sorted(days - self.missing)

    def closes(self) -> dict[date, float]:
        """As the vendor serves them: by what it says is adjusted for splits."""
        taken, served = self._taken(), {}
        for day in self.days:
            price = 100.0 + (day.toordinal() * 7) % 5
            for split, ratio in self.real_splits.items():
                price *= ratio if day < split else 1
            served[day] = round(price / taken[day], 6)
        return served

    def _taken(self) -> dict[date, float]:
        """By what the prices of each day are divided."""
        taken = self.splits if self.adjusted is None else {day: self.splits[day] for day in self.adjusted}
        return {day: prod(ratio for split, ratio in taken.items() if day < split) for day in self.days}

    def adjusted_closes(self) -> dict[date, float]:
        """With dividends taken out, as Yahoo does: 1 - dividend / the close before it."""
        closes, days = self.closes(), self.days
        taken = self.dividends if self.paid is None else {day: self.dividends[day] for day in self.paid}
        factors = dict.fromkeys(days, 1.0)
        for day, cash in taken.items():
            earlier = [each for each in days if each < day]
            for each in earlier:
                factors[each] *= 1 - cash / closes[earlier[-1]]
        return {day: round(closes[day] * factors[day], 6) for day in days}

    def chart(self) -> Answer:
        """As one document."""
        days, closes, adjusted = self.days, self.closes(), self.adjusted_closes()
        events = {
            "dividends": {
                str(at(day, OPENS)): {"amount": cash, "date": at(day, OPENS)} for day, cash in self.dividends.items()
            },
            "splits": {
                str(at(day, OPENS)): {
                    "date": at(day, OPENS), "numerator": ratio, "denominator": 1.0, "splitRatio": f"{ratio:g}:1",
                }
                for day, ratio in self.splits.items()
            },
        }  # fmt: skip

        def column(factor: float) -> list[float | None]:
            return [None if day in self.empty else round(closes[day] * factor, 6) for day in days]

        return Answer(
            chart(
                days,
                symbol=SYMBOL,
                events={name: told for name, told in events.items() if told} if self.told else None,
                open=column(1.0),
                high=column(1.01),
                low=column(0.99),
                close=column(1.0),
                volume=[None if day in self.empty else 1000 * self._taken()[day] for day in days],
                adjclose=[None if day in self.empty else adjusted[day] for day in days],
            )
        )


class ScriptedYahoo:
    """A platform of one stock, and the vendor it asks."""

    def __init__(self, platform: Platform, vendor: ScriptedVendor) -> None:
        self.platform, self.vendor = platform, vendor

    def tells(self, series: Series) -> None:
        """From now on."""
        self.vendor.will_answer(series.chart())

    def run(self, first: str, last: str | None = None, table: str = "stock_prices_daily") -> dict[str, object]:
        """Fetch months (2024-MM), bars and actions, or compute indicators; returns the metadata of the table."""
        months = [f"2024-{month}-01" for month in (first, last or first)]
        tables = [table, *(["corporate_actions"] if table == "stock_prices_daily" else [])]
        outcome = self.platform.run(tables, months[0], months[1], symbols=[SYMBOL])
        assert outcome.success, outcome.error
        return {**outcome.tables[table]}

    def a_day_passes(self) -> None:
        """What is stored was fetched yesterday."""
        self.platform.execute("update stock_prices_daily set fetched_at = fetched_at - interval '1 day'")

    def stored(self, column: str) -> dict[date, float]:
        """A column by session."""
        return dict(self.platform.rows(f"select date, {column} from stock_prices_daily"))

    def actions(self) -> list[tuple]:
        """The stored actions."""
        return self.platform.rows("select date, kind, value from corporate_actions order by date, kind")

    def withdrawn(self) -> list[tuple]:
        """What was taken back: table, day, by whom."""
        return self.platform.rows(
            "select table_name, date, withdrawn_by from price_revisions where withdrawn_by is not null order by id"
        )


def scripted_yahoo(platform: Platform, vendor: ScriptedVendor) -> ScriptedYahoo:
    """The platform with a Yahoo that answers as it is told to."""
    vendor.will_answer(Series().chart())
    platform.ask(vendor.url, platform.sandbox.binance_url)
    with platform.engine.begin() as connection:
        upsert_instruments(connection, [STOCK])
    return ScriptedYahoo(platform, vendor)


def _of(series: Series, stored: dict[date, float], adjusted: bool = True) -> dict[date, Any]:
    """What the vendor has for the stored sessions."""
    told = series.adjusted_closes() if adjusted else series.closes()
    return {day: pytest.approx(told[day], rel=1e-7) for day in stored}


def is_of(yahoo: ScriptedYahoo, series: Series) -> None:
    """All that is stored is what the vendor has now."""
    for column in ("close", "adj_close"):
        stored = yahoo.stored(column)
        assert stored == _of(series, stored, adjusted=column == "adj_close"), column


def while_answering(vendor: ScriptedVendor, happens: Callable[[], None]) -> None:
    """Let something happen once, while the vendor makes up its next answer."""
    answer, waiting = vendor.next, [happens]

    def interrupted(asked: Asked) -> Answer:
        if waiting:
            waiting.pop()()
        return answer(asked)

    vendor.next = interrupted  # type: ignore[method-assign]


def session(number: int, month: int = 3) -> date:
    """The n-th session of a month of 2024."""
    first = date(2024, month, 1)
    found: date = calendars.schedule(STOCK, first, first + timedelta(days=27)).dates[number].item()
    return found
