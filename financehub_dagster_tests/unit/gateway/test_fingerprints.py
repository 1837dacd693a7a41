"""Keys as they are configured and named: by variable and fingerprint, never by value."""

from collections.abc import Iterator

import pytest

from financehub_dagster.gateway.api_keys import fingerprint
from financehub_dagster.settings import SettingsError, get_settings


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


def test_keys_are_separated_by_commas_and_each_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWELVE_DATA_API_KEYS", " key-one, key-two ,,key-one")
    assert get_settings().api_keys("twelve_data") == ("key-one", "key-two")
    assert "key-one" not in repr(get_settings())


def test_a_stand_in_address_is_read_without_its_last_slash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEWSAPI_BASE_URL", "http://127.0.0.1:8000/newsapi/")
    assert get_settings().base_url("newsapi") == "http://127.0.0.1:8000/newsapi"
    assert get_settings().api_keys("yahoo") == ()


def test_fingerprints_show_four_characters_at_most_and_keep_keys_apart() -> None:
    alike = [fingerprint("finnhub", key) for key in ("the-first-key-abcd", "the-other-key-abcd")]
    assert len(set(alike)) == 2
    assert all(each.startswith("abcd-") and len(each) == 9 for each in alike)
    assert fingerprint("finnhub", "demo").startswith("o-")


def test_an_unusable_key_is_named_by_its_variable_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINNHUB_API_KEYS", "two words")
    with pytest.raises(SettingsError, match="FINNHUB_API_KEYS") as caught:
        get_settings()
    assert "two" not in str(caught.value)
