"""The dagster.yaml of a home: what every platform has, and what starts its runs.

Belongs here: the sections that depend on settings. Does not belong here: what they have in common (`dagster.yaml`).
No section holds a secret: Dagster reads those from the environment, by the names that stand in the file.
"""

from importlib.resources import files
from typing import Any

from financehub_dagster.settings import LAUNCHERS, Settings, SettingsError

EXTRAS = {"celery": "dagster_celery", "docker": "dagster_docker", "kubernetes": "dagster_k8s"}
"""The module that each extra installs."""
START_SECONDS = {"local": 120, "celery": 600, "docker": 300, "kubernetes": 600}
"""How long a run may take to start before it counts as lost: workers may be busy, images are pulled."""


def packaged() -> str:
    """The file that all platforms have in common; runs are started by the code server."""
    return files("financehub_dagster.cli").joinpath("dagster.yaml").read_text(encoding="utf-8")


def render(settings: Settings) -> str:
    """The file for `settings`; raises SettingsError where what the launcher needs is not set or not installed."""
    import yaml

    launcher = settings.financehub_run_launcher
    if launcher == "local" and settings.financehub_max_runs is None:
        return packaged()
    content: dict[str, Any] = yaml.safe_load(packaged())
    if settings.financehub_max_runs is not None:
        runs = content["concurrency"]["runs"]
        runs["max_concurrent_runs"] = settings.financehub_max_runs
        [low] = runs["tag_concurrency_limits"]
        low["limit"] = max(1, settings.financehub_max_runs - 1)
    if launcher != "local":
        _require(launcher, settings)
        content["run_launcher"] = _SECTIONS[launcher](settings)
        content["run_monitoring"]["start_timeout_seconds"] = START_SECONDS[launcher]
    return f"# Written from the settings at every start: {launcher} starts the runs.\n{yaml.safe_dump(content)}"


def _require(launcher: str, settings: Settings) -> None:
    import importlib.util

    if importlib.util.find_spec(EXTRAS[launcher]) is None:
        raise SettingsError(
            f"FINANCEHUB_RUN_LAUNCHER={launcher} needs the extra [{launcher}]: pip install "
            f"'financehub-dagster[{launcher}]'"
        )
    needed = {"celery": "financehub_broker_url", "docker": "financehub_run_image", "kubernetes": "financehub_run_image"}
    if getattr(settings, needed[launcher]) is None:
        raise SettingsError(f"FINANCEHUB_RUN_LAUNCHER={launcher} needs {needed[launcher].upper()}: set it")
    if settings.financehub_database_url is None and launcher != "celery":
        raise SettingsError(
            f"FINANCEHUB_RUN_LAUNCHER={launcher} needs FINANCEHUB_DATABASE_URL: a container reaches no embedded server"
        )


def passed_on() -> list[str]:
    """The variables that a run in a container gets: all of ours but the home, which the image has."""
    ours = [name.upper() for name in Settings.model_fields if name != "financehub_home"]
    return sorted(ours)


def _celery(settings: Settings) -> dict[str, Any]:
    from financehub_dagster.automation.celery_workers.delivery import QUEUE

    url = "" if settings.financehub_broker_url is None else settings.financehub_broker_url.get_secret_value()
    broker = {"env": "FINANCEHUB_BROKER_URL"}
    backend = broker if url.startswith(("redis://", "rediss://", "sentinel://")) else "rpc://"
    return {
        "module": "financehub_dagster.automation.celery_workers.launcher",
        "class": "FinanceHubCeleryLauncher",
        "config": {"broker": broker, "backend": backend, "default_queue": QUEUE},
    }


def _docker(settings: Settings) -> dict[str, Any]:
    import os

    config: dict[str, Any] = {
        "image": settings.financehub_run_image,
        "env_vars": [name for name in passed_on() if os.environ.get(name)],
        "container_kwargs": {"auto_remove": True},
    }
    if settings.financehub_run_network is not None:
        config["network"] = settings.financehub_run_network
    return {"module": "dagster_docker", "class": "DockerRunLauncher", "config": config}


def _kubernetes(settings: Settings) -> dict[str, Any]:
    return {
        "module": "dagster_k8s",
        "class": "K8sRunLauncher",
        "config": {
            "job_image": settings.financehub_run_image,
            "job_namespace": settings.financehub_run_namespace,
            "service_account_name": "financehub",
            "instance_config_map": "financehub-instance",
            "dagster_home": "/var/lib/financehub/dagster",
            "env_config_maps": ["financehub"],
            "env_secrets": ["financehub"],
            "run_k8s_config": {
                "job_spec_config": {"ttl_seconds_after_finished": 3600},
                "pod_spec_config": {"restart_policy": "Never"},
            },
        },
    }


_SECTIONS = {"celery": _celery, "docker": _docker, "kubernetes": _kubernetes}
assert set(_SECTIONS) | {"local"} == set(LAUNCHERS)
