"""A selection of the other suites on a server of another major version: every kind of statement at least once.

Belongs here: naming the tests. Does not belong here: tests of its own. `pytest --postgres FOLDER ...` runs any suite on
the server whose programs are in a folder.
"""

from types import ModuleType

from sqlalchemy import text

from financehub_dagster_tests.fixtures.database import Database
from financehub_dagster_tests.fixtures.other_servers import OtherServer
from financehub_dagster_tests.unit.archive import conftest as archive_fixtures
from financehub_dagster_tests.unit.archive import test_archive
from financehub_dagster_tests.unit.gateway import test_limits, test_quotas
from financehub_dagster_tests.unit.ledger import conftest as ledger_fixtures
from financehub_dagster_tests.unit.ledger import test_ledger
from financehub_dagster_tests.unit.storage import (
    test_backup,
    test_failures_replays,
    test_locks,
    test_migrations,
    test_writer,
)

SELECTED: dict[ModuleType, tuple[str, ...]] = {
    test_migrations: (
        "test_down_and_up_again_ends_at_the_same_tables",
        "test_what_vendors_had_nothing_for_is_kept_as_ranges_and_the_ledger_is_settled_anew",
        "test_eight_upgrades_at_once_end_at_the_same_tables",
    ),
    test_writer: (
        "test_a_changed_value_is_updated_and_the_old_row_is_kept",
        "test_writing_the_same_again_writes_nothing_and_grows_nothing",
        "test_changed_instruments_are_marked_dirty_from_their_earliest_change",
    ),
    test_locks: ("test_a_transaction_locks_tables_in_the_order_of_their_declaration",),
    ledger_fixtures: ("world",),
    test_ledger: (
        "test_of_several_reasons_a_session_has_the_first_that_applies",
        "test_a_new_instrument_is_all_gaps_up_to_its_last_finished_session",
        "test_settlers_of_other_instruments_do_not_wait_for_each_other",
    ),
    test_limits: (
        "test_of_several_limits_all_or_none_are_taken",
        "test_threads_that_ask_at_once_get_slots_of_their_own",
    ),
    test_quotas: (
        "test_of_limits_and_quotas_all_or_none_are_taken",
        "test_what_has_expired_is_forgotten",
    ),
    test_failures_replays: (
        "test_a_replay_that_ended_gives_its_rows_back_as_failed_once_more",
        "test_eight_replays_at_once_never_hold_the_same_row",
    ),
    archive_fixtures: ("home",),
    test_archive: (
        "test_reading_gives_archived_and_stored_rows_as_one",
        "test_months_older_than_ninety_days_become_a_file_each_and_the_others_stay",
        "test_a_restored_month_is_the_same_to_the_last_digit_and_stays_for_ninety_days",
    ),
    test_backup: (
        "source",
        "backup",
        "target",
        "test_a_backup_restored_into_another_server_has_the_same_rows_and_ledger",
        "test_a_database_with_tables_is_overwritten_only_with_replace",
    ),
}
"""Tests and the fixtures they need, by the module that has them."""
IN_SHORT = {
    "test_the_server_is_of_another_version_than_the_embedded_one",
    *(
        next(name for name in names if name.startswith("test_"))
        for module, names in SELECTED.items()
        if module not in (archive_fixtures, ledger_fixtures, test_backup)
    ),
}
"""What every run has of them: the first of each module, and no backup; the whole fault suite has all."""

globals().update({name: getattr(module, name) for module, names in SELECTED.items() for name in names})


def test_the_server_is_of_another_version_than_the_embedded_one(
    database: Database, database_server: OtherServer
) -> None:
    with database.engine.connect() as connection:
        found = connection.execute(text("select current_setting('server_version_num')::int / 10000")).scalar()
    assert found == database_server.programs.major != 18
