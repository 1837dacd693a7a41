"""Registers the fixtures every suite shares."""

pytest_plugins = ["financehub_dagster_tests.fixtures.database", "financehub_dagster_tests.fixtures.sandbox"]
