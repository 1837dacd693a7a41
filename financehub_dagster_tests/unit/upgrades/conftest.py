"""Fixtures of the command line's tests and of health's, which these tests need too."""

from financehub_dagster_tests.end_to_end.conftest import folder
from financehub_dagster_tests.unit.operations.conftest import dagster_tables

__all__ = ["dagster_tables", "folder"]
