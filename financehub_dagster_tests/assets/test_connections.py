"""`test_connection`: everybody is asked once, a vendor without a key is off, a silent one is named."""

from collections.abc import Iterator

import dagster as dg
import pytest

from financehub_dagster.sandbox.client import KEYLESS_VENDORS, VENDORS
from financehub_dagster.settings import get_settings
from financehub_dagster_tests.assets.conftest import Platform


@pytest.fixture
def keyed(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> Iterator[Platform]:
    """The platform with a key for every vendor."""
    for name, value in platform.sandbox.keys.items():
        monkeypatch.setenv(name, value)
    get_settings.cache_clear()
    yield platform
    get_settings.cache_clear()


def ask(platform: Platform) -> dg.ExecuteInProcessResult:
    job = platform.definitions.resolve_job_def("test_connection")
    return job.execute_in_process(instance=platform.instance, raise_on_error=False)


def test_all_vendors_are_asked_and_answer(keyed: Platform) -> None:
    assert ask(keyed).success
    assert set(keyed.sandbox.calls()["by_vendor"]) == set(VENDORS)


def test_vendors_without_a_key_are_off_and_that_is_no_failure(platform: Platform) -> None:
    assert ask(platform).success
    assert set(platform.sandbox.calls()["by_vendor"]) == set(KEYLESS_VENDORS)


def test_a_vendor_that_is_silent_is_named(keyed: Platform) -> None:
    keyed.sandbox.fault("status", vendor="finnhub", status=401)
    result = ask(keyed)
    assert not result.success
    error = str(next(event for event in result.all_events if event.is_step_failure).step_failure_data.error)
    assert "finnhub: the key is missing or invalid" in error
    assert "coingecko" not in error


def test_a_key_that_was_put_right_at_the_vendor_is_used_again(keyed: Platform) -> None:
    """A refused key rests for a day, unless somebody asks."""
    keyed.sandbox.fault("status", vendor="finnhub", status=401)
    assert not ask(keyed).success
    keyed.sandbox.clear_faults()
    assert ask(keyed).success
