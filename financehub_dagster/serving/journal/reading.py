"""From stored tables to the journals of a week.

Belongs here: which rows a journal is made of. Does not belong here: its arithmetic (market.journal), its words
(`document`). Imports pyarrow: import it inside functions.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from typing import Any

from financehub_dagster.market.adjustments import CASH
from financehub_dagster.market.holdings import Lot
from financehub_dagster.market.instruments import AssetType
from financehub_dagster.market.journal.outcomes import Outcome, Record, Signal, follow, records
from financehub_dagster.market.journal.positions import Account, Dividend, Listing, Split, account, currency_of
from financehub_dagster.market.journal.series import OLDEST_RATE, Closes, Rates, pair_of
from financehub_dagster.market.journal.week import Week
from financehub_dagster.operations.notifications import rules_to_announce
from financehub_dagster.serving.errors import unknown
from financehub_dagster.serving.journal.files import folders
from financehub_dagster.settings import get_settings
from financehub_dagster.storage.database import schema
from financehub_dagster.storage.queries import arrow
from financehub_dagster.tables import ACTIONS, BARS_OF

WEEKS = 52
"""How far back entry signals are followed and the value of an account is drawn."""


@dataclass(frozen=True)
class Journal:
    """What is told of one account and week.

    folder: of its files. listings: of the held instruments. signals: of the week, oldest first. outcomes: of the
    entries of the last WEEKS weeks. rules: those that are looked at. complete: whether the week had ended at the time
    of its data.
    """

    week: Week
    account: Account
    folder: str
    listings: Mapping[str, Listing]
    signals: Sequence[Signal]
    outcomes: Sequence[Outcome]
    rules: Sequence[str]
    complete: bool
    as_of: datetime | None
    sample_market: bool

    @property
    def records(self) -> list[Record]:
        """How the entries of each rule went."""
        return records(self.outcomes, self.rules)


def journals(week: Week, *, only: Sequence[str] | None = None, as_of: datetime | None = None) -> list[Journal]:
    """The journals of all accounts that hold something, or of those named, by name; none without holdings.

    as_of: prices, splits, rates and signals as they were known then. Holdings and notifications are those of now: they
    keep no history. Raises ReadError for an unknown account, DatabaseError, SettingsError.
    """
    with arrow.reading() as reader:
        return _Reading(reader, week, as_of).journals(only)


class _Reading:
    """One snapshot of the database, and what is read of it for a week."""

    def __init__(self, reader: arrow.Reader, week: Week, as_of: datetime | None) -> None:
        self.reader, self.week, self.as_of = reader, week, as_of
        self.days = [week.end - timedelta(weeks=number) for number in range(WEEKS, -1, -1)]
        self.rules = rules_to_announce()

    def journals(self, only: Sequence[str] | None) -> list[Journal]:
        lots = [Lot(**row) for row in self._rows("holdings", ["account", "symbol", "quantity", "cost", "opened_on"])]
        names = sorted({lot.account for lot in lots})
        for name in only or ():
            if name not in names:
                raise unknown("account", name, names, "`financehub holdings list` shows what there is")
        folder = folders(names)
        lots = [lot for lot in lots if only is None or lot.account in only]
        if not lots:
            return []
        listings = self._listings(sorted({lot.symbol for lot in lots}))
        settings = get_settings()
        by_account = {name: [lot for lot in lots if lot.account == name] for name in names}
        currencies = {
            name: currency_of(own, listings, settings.financehub_equity_currency)
            for name, own in by_account.items()
            if own
        }
        rates = self._rates(lots, listings, currencies)
        signals = self._signals(sorted(listings))
        return [
            self._journal(
                account(name, by_account[name], listings, rates, self.week, currency, self.days),
                folder[name],
                {lot.symbol: listings[lot.symbol] for lot in by_account[name]},
                signals,
            )
            for name, currency in currencies.items()
        ]

    def _journal(self, told: Account, folder: str, own: Mapping[str, Listing], signals: Sequence[Signal]) -> Journal:
        fired = [signal for signal in signals if signal.symbol in own]
        last = {symbol: listing.closes.until(self.week.end) for symbol, listing in own.items()}
        return Journal(
            self.week,
            told,
            folder,
            own,
            sorted((each for each in fired if each.date in self.week), key=lambda each: (each.date, each.symbol)),
            follow(fired, last, self.week),
            self.rules,
            (self.as_of or datetime.now(UTC)) >= self.week.complete_at,
            self.as_of,
            get_settings().sample_market,
        )

    def _listings(self, symbols: Sequence[str]) -> dict[str, Listing]:
        columns = ["symbol", "name", "currency", "asset_type"]
        known = {row["symbol"]: row for row in self._rows("instruments", columns, symbols)}
        closes = self._last_closes({symbol: row["asset_type"] for symbol, row in known.items()})
        actions = self._by_symbol(ACTIONS, ["symbol", "date", "kind", "value"], symbols)
        return {
            symbol: Listing(
                row["name"],
                row["currency"],
                closes.get(symbol, Closes()),
                [Split(each["date"], each["value"]) for each in actions.get(symbol, ()) if each["kind"] == "split"],
                [Dividend(each["date"], each["value"]) for each in actions.get(symbol, ()) if each["kind"] in CASH],
            )
            for symbol, row in known.items()
        }

    def _last_closes(self, kinds: Mapping[str, str]) -> dict[str, Closes]:
        """The closes that value the instruments on each day drawn: also of those that stopped trading before them."""
        found = self._closes(kinds, self.days[0])
        late = {each: kind for each, kind in kinds.items() if found.get(each, Closes()).until(self.days[0]) is None}
        return found | self._closes(late, None)

    def _closes(self, kinds: Mapping[str, str], since: date | None) -> dict[str, Closes]:
        """The closes until the end of the week of instruments, whose kinds are given, from a week before `since` on.

        None: all of them.
        """
        start = None if since is None else since - OLDEST_RATE
        found: dict[str, Closes] = {}
        for table, takes in BARS_OF.items():
            own = sorted(symbol for symbol, kind in kinds.items() if kind in takes)
            if not own:
                continue
            selection = arrow.Selection(
                schema.table(table), ["symbol", "date", "close"], own, start, self.week.end, self.as_of
            )
            for symbol, rows in groupby(_records(self.reader, selection), lambda row: row["symbol"]):
                series = list(rows)
                found[symbol] = Closes([row["date"] for row in series], [row["close"] for row in series])
        return found

    def _rates(self, lots: Sequence[Lot], listings: Mapping[str, Listing], into: Mapping[str, str]) -> Rates:
        """Rates since the first lot was opened; none are read where every account is in its instruments' currency."""
        if all(listings[lot.symbol].currency == into[lot.account] for lot in lots):
            return Rates()
        needed = {*into.values(), *(listings[lot.symbol].currency for lot in lots)}
        pairs: dict[str, tuple[str, str]] = {}
        for row in self._rows("instruments", ["symbol", "currency", "asset_type"]):
            pair = pair_of(row["symbol"], row["currency"]) if row["asset_type"] == AssetType.FX else None
            if pair is not None and needed.intersection(pair):
                pairs[row["symbol"]] = pair
        since = min(self.days[0], *(lot.opened_on for lot in lots))
        closes = self._closes(dict.fromkeys(pairs, AssetType.FX), since)
        return Rates({pairs[symbol]: series for symbol, series in closes.items()})

    def _signals(self, symbols: Sequence[str]) -> list[Signal]:
        notified = {
            (row["symbol"], row["date"], row["rule"]): row["state"]
            for row in self._rows("notifications", ["symbol", "date", "rule", "state"], symbols, self.week.start)
        }
        columns = ["symbol", "date", "rule", "direction", "price"]
        return [
            Signal(**row, told=notified.get((row["symbol"], row["date"], row["rule"])))
            for row in self._rows("signals", columns, symbols, self.days[0] + timedelta(days=1))
            if row["rule"] in self.rules
        ]

    def _by_symbol(self, table: str, columns: Sequence[str], symbols: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
        rows = self._rows(table, columns, symbols)
        return {symbol: list(own) for symbol, own in groupby(rows, lambda row: row["symbol"])}

    def _rows(
        self, name: str, columns: Sequence[str], symbols: Sequence[str] | None = None, start: date | None = None
    ) -> Iterator[dict[str, Any]]:
        """Rows until the end of the week where `start` is given, by key; as of the time asked for where history is."""
        table = schema.metadata.tables[name]
        as_of = self.as_of if arrow.has_history(table) else None
        end = None if start is None else self.week.end
        return iter(_records(self.reader, arrow.Selection(table, columns, symbols, start, end, as_of)))


def _records(reader: arrow.Reader, selection: arrow.Selection) -> Iterable[dict[str, Any]]:
    columns = reader.table(selection).to_pydict()
    names = list(columns)
    return (dict(zip(names, values, strict=True)) for values in zip(*columns.values(), strict=True))
