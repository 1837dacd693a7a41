"""Registers the fixtures every suite shares, and the option that sizes the fault suite."""

pytest_plugins = [
    "financehub_dagster_tests.fixtures.database",
    "financehub_dagster_tests.fixtures.fault_form",
    "financehub_dagster_tests.fixtures.sandbox",
]
