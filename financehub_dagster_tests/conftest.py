"""Registers the fixtures every suite shares, the option that sizes the fault suite, and how a run is set up."""

pytest_plugins = [
    "financehub_dagster_tests.fixtures.database",
    "financehub_dagster_tests.fixtures.fault_form",
    "financehub_dagster_tests.fixtures.folder",
    "financehub_dagster_tests.fixtures.garbage_collection",
    "financehub_dagster_tests.fixtures.hypothesis_profile",
    "financehub_dagster_tests.fixtures.inbox",
    "financehub_dagster_tests.fixtures.order",
    "financehub_dagster_tests.fixtures.sandbox",
    "financehub_dagster_tests.fixtures.signals",
]
