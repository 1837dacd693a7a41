"""Transactions that are tried again when PostgreSQL breaks them off in favour of another one.

Belongs here: which errors are tried again, and how often. Does not belong here: the order of locks that makes such
errors rare (`locks`), and connections (`engine`).
"""

from collections.abc import Callable

from financehub_dagster.storage.database.engine import Connection, market_engine, transaction
from financehub_dagster.storage.database.errors import DatabaseError, StatementFailed
from financehub_dagster.storage.database.refusals import describe

TRIES = 6
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.05, 2.0
"""The wait doubles with each try; PostgreSQL itself takes a second to notice a deadlock."""

BROKEN_OFF = {"40P01": "deadlock", "40001": "serialization failure"}
"""SQLSTATE (PostgreSQL documentation, appendix A): the transaction can succeed when it is run again from its start."""


def in_transaction[T](work: Callable[[Connection], T]) -> T:
    """What `work` returns for a connection in one transaction: committed when it returns, rolled back when it raises.

    After a deadlock or a serialization failure the transaction is rolled back and `work` is called again: it changes
    nothing but the database. Raises DatabaseError when it was broken off every time.
    """
    from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

    wait = wait_random_exponential(multiplier=FIRST_WAIT_SECONDS, max=LONGEST_WAIT_SECONDS)
    again = retry_if_exception(lambda error: _broken_off(error) is not None)
    tries = Retrying(stop=stop_after_attempt(TRIES), wait=wait, retry=again, reraise=True)
    try:
        result: T = tries(_once, work)
    except Exception as error:
        reason = _broken_off(error)
        if reason is None:
            raise
        message = f"{describe(market_engine().url)}: {reason} {TRIES} times in a row; nothing was written: try again"
        raise DatabaseError(message) from None
    return result


def _once[T](work: Callable[[Connection], T]) -> T:
    with transaction() as connection:
        return work(connection)


def _broken_off(error: BaseException) -> str | None:
    """The name of an error after which the same transaction may succeed; None for every other error."""
    return BROKEN_OFF.get(error.sqlstate or "") if isinstance(error, StatementFailed) else None
