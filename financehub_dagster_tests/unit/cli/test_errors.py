from importlib import import_module

import pytest
from dagster_postgres.utils import DagsterPostgresException

from financehub_dagster.cli.errors import _OWN_ERRORS, CommandError, WrongUsage, explain
from financehub_dagster.gateway.errors import Unreachable
from financehub_dagster.serving.errors import ExportFailed, ReadError
from financehub_dagster.settings import SettingsError
from financehub_dagster.storage.database.errors import DatabaseUnreachable


@pytest.mark.parametrize(
    ("error", "line", "code"),
    [
        (CommandError("this: do that"), "this: do that", 1),
        (WrongUsage("that: do this"), "that: do this", 2),
        (SettingsError("unusable environment: X"), "unusable environment: X", 1),
        (DatabaseUnreachable("database cannot be reached"), "database cannot be reached", 1),
        (Unreachable("yahoo", "no connection"), "yahoo: no connection", 1),
        (ReadError("unknown table: see the list"), "unknown table: see the list", 2),
        (ExportFailed("/data cannot be written"), "/data cannot be written", 1),
        (KeyboardInterrupt(), "interrupted", 1),
        (CommandError("several\n  lines\n"), "several; lines", 1),
        (PermissionError(13, "Permission denied", "/data"), "/data: Permission denied", 1),
        (
            DagsterPostgresException("too many retries"),
            "Dagster's database: too many retries; `financehub status` says what runs",
            1,
        ),
        (RuntimeError("boom"), "unexpected RuntimeError: boom (--debug shows where)", 1),
    ],
)
def test_an_error_becomes_one_line_and_an_exit_code(error, line, code):
    assert explain(error) == (line, code)


@pytest.mark.parametrize(("module", "name"), _OWN_ERRORS)
def test_every_error_that_is_looked_up_by_name_exists(module, name):
    assert issubclass(getattr(import_module(module), name), Exception)


def test_a_missing_wheel_says_what_to_install():
    line, code = explain(ImportError("no module", name="talib._ta_lib"))
    assert code == 1
    assert line.startswith("TA-Lib has no wheel for this platform: install")


def test_a_missing_package_says_how_to_complete_the_installation():
    assert explain(ModuleNotFoundError("No module named 'yfinance'", name="yfinance")) == (
        "No module named 'yfinance': the installation is incomplete, run `make setup`",
        1,
    )
