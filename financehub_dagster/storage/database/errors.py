"""What can go wrong with the database, as one tree. Messages are one line, name the remedy and carry no password.

DatabaseError
├── DatabaseUnreachable   nothing answers, or the connection was lost
├── Refused               the server answers, and lets nobody in, for a reason of its own
├── WrongPassword         the server refuses the user or the password
├── NotMigrated           the database or a table is missing, or older than this program
├── StatementFailed       the server or the driver refuses a statement, for a reason that is none of the above
├── LockTimeout           another transaction has held rows or a table for as long as we wait
├── UnsupportedPlatform   no embedded PostgreSQL here
├── EmbeddedFailed        the embedded PostgreSQL cannot be created, started or stopped
└── BadRows               rows that the table cannot hold; nothing was written
"""

from collections.abc import Sequence


class DatabaseError(Exception):
    """The database cannot do what was asked; the message is one line with the remedy."""


class DatabaseUnreachable(DatabaseError):
    """Nothing answers at the address, or the connection was lost."""


class Refused(DatabaseError):
    """The server answers, and lets nobody in, for a reason of its own."""


class WrongPassword(DatabaseError):
    """The server refuses the user or the password."""


class NotMigrated(DatabaseError):
    """The database or a table is missing, or is older than this program."""


class StatementFailed(DatabaseError):
    """The server or the driver refuses a statement; `sqlstate` is the server's code, None where the driver refuses."""

    def __init__(self, message: str, sqlstate: str | None) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate


class LockTimeout(DatabaseError):
    """Another transaction has held rows or a table for as long as we wait; nothing was written."""


class UnsupportedPlatform(DatabaseError):
    """There is no embedded PostgreSQL for this platform."""


class EmbeddedFailed(DatabaseError):
    """The embedded PostgreSQL cannot be created, started or stopped."""


class UnknownInstruments(DatabaseError):
    """Symbols that no instrument has; `symbols` names them."""

    def __init__(self, symbols: Sequence[str]) -> None:
        names = ", ".join(symbols)
        super().__init__(f"no such instrument: {names}; see `financehub instruments list`, or add it")
        self.symbols = list(symbols)


class SymbolGivenUp(DatabaseError):
    """Rows of an instrument that was renamed while they were fetched; nothing was written."""

    def __init__(self, old: str, symbol: str, table: str) -> None:
        super().__init__(f"{table}: {old} has become {symbol} since its rows were asked for: run it again")


class BadRows(DatabaseError):
    """Rows that the table cannot hold; nothing was written."""
