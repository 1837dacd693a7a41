"""The folder that commands run in."""

from financehub_dagster_tests.end_to_end.conftest import folder

__all__ = ["folder"]
