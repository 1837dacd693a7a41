"""The checks of quotes, markets, fundamentals and news: what each looks at and what it finds.

Belongs here: checks of tables whose rows are what vendors said at a time. Does not belong here: those of every table
and of bars (`bars`).
"""

from collections.abc import Mapping
from datetime import date, datetime, timedelta

from financehub_dagster.assets.checks.bars import SHOWN, Check, Evidence, Finding, finding
from financehub_dagster.market.instruments import Instrument
from financehub_dagster.tables import TABLES

DELAY = timedelta(minutes=30)
"""How old a price of an open market may be: free plans tell it a quarter of an hour late, and trades have pauses."""
MARKETS_AGE = timedelta(hours=3)
FUNDAMENTALS_AGE = timedelta(days=2)
NEWS_AGE = timedelta(days=2)


def _sanity(evidence: Evidence) -> Finding:
    from financehub_dagster.market.quality import snapshot_rules

    frame = evidence.rows
    _, rejected = snapshot_rules.judge(TABLES[evidence.table].rules or "", frame)
    rows = [{str(k): v for k, v in row.items()} for row in rejected.head(SHOWN).to_dict("records")]
    return finding(len(frame), len(rejected), "rows break a quality rule", rows)


def _linked(evidence: Evidence) -> Finding:
    from financehub_dagster.storage.queries import news

    rows = news.unlinked(evidence.connection, evidence.rows["url"].tolist())
    return finding(len(evidence.rows), len(rows), "articles are about no instrument", rows)


def _quotes_are_fresh(evidence: Evidence) -> Finding:
    due = {each.symbol: _price_due(each, evidence.now) for each in evidence.members}
    return _fresh(evidence, {symbol: since for symbol, since in due.items() if since is not None})


def _markets_are_fresh(evidence: Evidence) -> Finding:
    return _fresh(evidence, {each.symbol: evidence.now - MARKETS_AGE for each in evidence.members})


def _fundamentals_are_fresh(evidence: Evidence) -> Finding:
    due = (evidence.now - FUNDAMENTALS_AGE).date()
    return _fresh(evidence, {each.symbol: due for each in evidence.members})


def _news_is_fresh(evidence: Evidence) -> Finding:
    from financehub_dagster.storage.queries import history

    newest, due = history.newest_time(evidence.connection, evidence.table), evidence.now - NEWS_AGE
    rows = [] if newest is not None and newest >= due else [{"newest": newest, "due": due}]
    return finding(1, len(rows), "tables lack an article of the last two days", rows)


def _fresh[T: (date, datetime)](evidence: Evidence, due: Mapping[str, T]) -> Finding:
    from financehub_dagster.storage.queries import history

    newest = history.newest_times(evidence.connection, evidence.table, list(due))
    late = [
        {"symbol": symbol, "newest": newest.get(symbol), "due": wanted}
        for symbol, wanted in due.items()
        if symbol not in newest or newest[symbol] < wanted
    ]
    return finding(len(due), len(late), "instruments lack a recent row", late)


def _price_due(of: Instrument, now: datetime) -> datetime | None:
    """How new the newest price has to be: as new as DELAY, counted in time that the market was open; None: unknown."""
    from financehub_dagster.market import calendars

    before = now - DELAY
    if before.date() <= calendars.known_to(of) and calendars.is_open(of, before):
        return before
    session = calendars.last_finished_session(of, before)
    return None if session is None else calendars.session_close(of, session) - DELAY


SANE = "Prices are finite and above zero, lows not above highs, and nothing was made after it was told."
SANITY = Check("sanity", SANE, _sanity, blocking=True, by="rows", audited=True)
LINKED = Check("linked", "Every article is about an instrument.", _linked, by="rows", audited=True)
QUOTES_FRESH = Check(
    "freshness",
    "Each instrument of this run has a price of the last 30 minutes its market was open.",
    _quotes_are_fresh,
)
MARKETS_FRESH = Check("freshness", "Every crypto of this run has a row of the last three hours.", _markets_are_fresh)
FUNDAMENTALS_FRESH = Check(
    "freshness", "Every stock of this run has a row of the last two days.", _fundamentals_are_fresh
)
NEWS_FRESH = Check("freshness", "There is an article of the last two days.", _news_is_fresh)
