"""How each kind of vendors' answers becomes rows: quotes and markets, fundamentals, news.

Belongs here: what is left as it is stored, and what is written, in one transaction of the caller. Does
not belong here: asking, and settling what failed (`ingest.snapshots`).
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from financehub_dagster.ingest.acceptance import accept, write
from financehub_dagster.ingest.outcome import Outcome
from financehub_dagster.providers.base import Answers
from financehub_dagster.storage.database.engine import Connection
from financehub_dagster.storage.queries import history, news

if TYPE_CHECKING:
    import pandas as pd


def store_prices(connection: Connection, answer: Answers, run_id: str, outcome: Outcome) -> None:
    """Quotes and markets: a price that is not newer than the stored one changes nothing; no stored one is replaced."""
    import pandas as pd

    rows = _accepted(connection, _with_origin(answer), run_id, outcome)
    newest = history.newest_times(connection, outcome.table, rows["symbol"].tolist())
    known = pd.to_datetime(rows["symbol"].map(newest), utc=True)
    is_new = known.isna() | (rows["quoted_at"] > known)
    outcome.unchanged += int((~is_new).sum())
    outcome.add(write(connection, outcome.table, rows[is_new], run_id))


def store_fundamentals(connection: Connection, answer: Answers, run_id: str, outcome: Outcome) -> None:
    """Fundamentals: one row per UTC day of asking; what is replaced within the day is kept as a revision."""
    rows = _with_origin(answer)
    today = rows["fetched_at"].dt.tz_convert("UTC").dt.tz_localize(None).dt.normalize()
    rows = _accepted(connection, rows.assign(date=today), run_id, outcome)
    outcome.add(write(connection, outcome.table, rows, run_id))


def store_news(connection: Connection, answer: Answers, run_id: str, outcome: Outcome) -> None:
    """News: an article stays as the provider tells it that told of it first; links to instruments only grow."""
    rows = _accepted(connection, _with_origin(answer), run_id, outcome)
    elsewhere = {
        url for url, source in news.sources_of(connection, rows["url"].tolist()).items() if source != answer.source
    }
    own = ~rows["url"].isin(elsewhere)
    outcome.unchanged += int((~own).sum())
    outcome.add(write(connection, outcome.table, rows[own].drop(columns="symbols"), run_id))
    links = rows[["url", "symbols"]].explode("symbols").dropna().rename(columns={"symbols": "symbol"})
    write(connection, "news_links", links, run_id)


STORES: Mapping[str, Callable[[Connection, Answers, str, Outcome], None]] = {
    "newest": store_prices,
    "daily": store_fundamentals,
    "articles": store_news,
}
"""What writes one vendor's answer under a run id and counts what became of its rows, by what its table keeps."""


def _with_origin(answer: Answers) -> "pd.DataFrame":
    import pandas as pd

    return answer.rows.assign(source=answer.source, fetched_at=pd.Timestamp(answer.fetched_at))


def _accepted(connection: Connection, rows: "pd.DataFrame", run_id: str, outcome: Outcome) -> "pd.DataFrame":
    good, rejected = accept(connection, outcome.table, rows, run_id)
    outcome.rejected += len(rejected)
    return good
