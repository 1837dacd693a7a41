"""Each launcher has a dagster.yaml that Dagster accepts, without secrets; what a launcher lacks is named."""

from pathlib import Path

import pytest
import yaml
from dagster._core.instance.ref import InstanceRef

from financehub_dagster.cli import dagster_yaml
from financehub_dagster.cli.platform_runs import split
from financehub_dagster.settings import LAUNCHERS, Settings, SettingsError, get_settings

SECRET = "s3cret-of-the-broker"
COMPLETE = {
    "FINANCEHUB_DATABASE_URL": "postgresql://me@db.example.com/market",
    "FINANCEHUB_BROKER_URL": f"redis://:{SECRET}@broker.example.com:6379/0",
    "FINANCEHUB_RUN_IMAGE": "financehub:0.1.0",
}
CLASSES = {
    "celery": "FinanceHubCeleryLauncher",
    "docker": "DockerRunLauncher",
    "kubernetes": "K8sRunLauncher",
}


def settings(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Settings:
    for name in ("FINANCEHUB_RUN_LAUNCHER", "FINANCEHUB_MAX_RUNS", *COMPLETE):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    get_settings.cache_clear()
    found = get_settings()
    get_settings.cache_clear()
    return found


@pytest.mark.parametrize("launcher", CLASSES)
def test_dagster_makes_the_launcher_from_the_file(
    launcher: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = dagster_yaml.render(settings(monkeypatch, FINANCEHUB_RUN_LAUNCHER=launcher, **COMPLETE))
    assert SECRET not in text
    (tmp_path / "dagster.yaml").write_text(text)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    reference = InstanceRef.from_dir(str(tmp_path))
    assert reference.run_launcher_data.class_name == CLASSES[launcher]
    if launcher != "kubernetes":  # it looks for a cluster as soon as it is made
        made = reference.run_launcher
        assert type(made).__name__ == CLASSES[launcher]
    else:
        from dagster._config import process_config, resolve_to_config_type
        from dagster_k8s import K8sRunLauncher

        config = yaml.safe_load(text)["run_launcher"]["config"]
        checked = process_config(resolve_to_config_type(K8sRunLauncher.config_type()), config)
        assert checked.success, checked.errors


def test_the_local_file_is_the_packaged_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert dagster_yaml.render(settings(monkeypatch)) == dagster_yaml.packaged()
    few = yaml.safe_load(dagster_yaml.render(settings(monkeypatch, FINANCEHUB_MAX_RUNS="12")))
    expected = yaml.safe_load(dagster_yaml.packaged())
    expected["concurrency"]["runs"]["max_concurrent_runs"] = 12
    expected["concurrency"]["runs"]["tag_concurrency_limits"][0]["limit"] = 11
    assert few == expected


@pytest.mark.parametrize(
    ("launcher", "missing"),
    [
        ("celery", "FINANCEHUB_BROKER_URL"),
        ("docker", "FINANCEHUB_RUN_IMAGE"),
        ("docker", "FINANCEHUB_DATABASE_URL"),
        ("kubernetes", "FINANCEHUB_RUN_IMAGE"),
        ("kubernetes", "FINANCEHUB_DATABASE_URL"),
    ],
)
def test_what_a_launcher_lacks_is_named(launcher: str, missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rest = {name: value for name, value in COMPLETE.items() if name != missing}
    with pytest.raises(SettingsError, match=f"FINANCEHUB_RUN_LAUNCHER={launcher} needs {missing}"):
        dagster_yaml.render(settings(monkeypatch, FINANCEHUB_RUN_LAUNCHER=launcher, **rest))


def test_an_unknown_launcher_is_refused_with_those_that_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="FINANCEHUB_RUN_LAUNCHER: .*'local', 'celery', 'docker' or 'kubernetes'"):
        settings(monkeypatch, FINANCEHUB_RUN_LAUNCHER="dramatiq")
    get_settings.cache_clear()
    assert set(CLASSES) | {"local"} == set(LAUNCHERS)


def test_docker_passes_on_the_names_of_what_is_set_and_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINNHUB_API_KEYS", "a-key-of-finnhub")
    text = dagster_yaml.render(settings(monkeypatch, FINANCEHUB_RUN_LAUNCHER="docker", **COMPLETE))
    passed = yaml.safe_load(text)["run_launcher"]["config"]["env_vars"]
    assert {"FINNHUB_API_KEYS", "FINANCEHUB_DATABASE_URL"} <= set(passed)
    assert "FINANCEHUB_HOME" not in passed
    assert "a-key-of-finnhub" not in text


@pytest.mark.parametrize(("count", "parts", "sizes"), [(7, 3, [3, 2, 2]), (2, 4, [1, 1]), (4, 1, [4]), (0, 3, [])])
def test_instruments_are_split_into_groups_of_nearly_one_size(count: int, parts: int, sizes: list[int]) -> None:
    symbols = [f"S{number}" for number in range(count)]
    groups = split(symbols, parts)
    assert [len(group) for group in groups] == sizes
    assert sorted(symbol for group in groups for symbol in group) == symbols
