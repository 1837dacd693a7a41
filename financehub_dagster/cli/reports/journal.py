"""A journal as JSON.

Belongs here: names of what `financehub journal --json` prints. Does not belong here: how it reads for people
(serving.journal.document).
"""

from dataclasses import asdict
from typing import Any

from financehub_dagster.market.journal.outcomes import Outcome
from financehub_dagster.serving.journal.writing import Written

FIGURES = ("value", "week", "total", "before", "paid")


def as_dict(written: Written) -> dict[str, Any]:
    """One account's journal; what is not known is null."""
    journal, account = written.journal, written.journal.account
    return {
        "account": account.name,
        "week": str(journal.week),
        "from": journal.week.start,
        "to": journal.week.end,
        "complete": journal.complete,
        "as_of": journal.as_of,
        "currency": account.currency,
        **{name: account.total(name) for name in FIGURES},
        "lacking": {name: account.lacking(name) for name in FIGURES if account.lacking(name)},
        "positions": [
            {**asdict(each), "close": each.close and each.close.price, "session": each.close and each.close.session}
            for each in account.positions
        ],
        "course": [asdict(point) for point in account.course],
        "signals": [asdict(signal) for signal in journal.signals],
        "outcomes": [_outcome(each) for each in journal.outcomes],
        "rules": [
            {**asdict(record), "closed": record.closed, "hit_rate": record.hit_rate} for record in journal.records
        ],
        "files": {suffix: str(path) for suffix, path in written.paths.items()},
    }


def _outcome(outcome: Outcome) -> dict[str, Any]:
    return {
        "symbol": outcome.entry.symbol,
        "rule": outcome.entry.rule,
        "entered_on": outcome.entry.date,
        "entry": outcome.entry.price,
        "left_on": outcome.exit and outcome.exit.date,
        "exit": outcome.exit and outcome.exit.price,
        "return": outcome.change,
    }
