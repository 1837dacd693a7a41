"""Dockerfile, compose, Procfile and Kubernetes files: every command, option, variable, port and file in them exists.

Belongs here: what can be proven without a container engine. Does not belong here: the proxies (test_proxies).
"""

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import typer.main
import yaml

from financehub_dagster.cli.app import app
from financehub_dagster.settings import Settings
from financehub_dagster_tests.fixtures.folder import REPOSITORY

DEPLOY = REPOSITORY / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = [name for name, service in SERVICES.items() if str(service["image"]).startswith("financehub:")]
VARIABLES = {name.upper() for name in Settings.model_fields}
FOR_OTHERS = {"FINANCEHUB_HOSTNAME", "FINANCEHUB_USER", "FINANCEHUB_PASSWORD_HASH", "FINANCEHUB_SERVE_TOKEN"}
FOR_OTHERS |= {"FINANCEHUB_WEBSERVER", "FINANCEHUB_SERVE", "FINANCEHUB_VERSION"}
"""Read by the proxy and by compose itself."""


def manifests() -> list[dict[str, Any]]:
    files = sorted((DEPLOY / "kubernetes/base").glob("*.yaml"))
    return [each for file in files for each in yaml.safe_load_all(file.read_text())]


def pods() -> list[dict[str, Any]]:
    return [each["spec"]["template"]["spec"] for each in manifests() if each["kind"] in ("Deployment", "Job")]


def commands() -> Iterator[list[str]]:
    """Every command line of our image, in every file."""
    for name in OURS:
        yield SERVICES[name]["command"]
        test = SERVICES[name]["healthcheck"].get("test", ["CMD"])[1:]
        yield from [test] if test and test[:2] != ["python", "-c"] else []
    for line in (DEPLOY / "Procfile").read_text().splitlines():
        if not line.startswith("#"):
            yield shlex.split(line.partition(": ")[2].replace("$PORT", "3000"))
    yield from (container["command"] for pod in pods() for container in pod["containers"])
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    yield from (yaml.safe_load(found) for found in re.findall(r"CMD (\[.*\])", dockerfile))


def program(name: str) -> click.Command:
    """The command tree behind a program of our image."""
    if name == "financehub":
        return typer.main.get_command(app)  # type: ignore[return-value]
    if name == "dagster":
        from dagster._cli import create_dagster_cli

        return create_dagster_cli()
    if name == "dagster-webserver":
        from dagster_webserver.cli import create_dagster_webserver_cli

        return create_dagster_webserver_cli()
    from dagster._daemon.cli import cli

    return cli


def resolve(line: list[str]) -> tuple[Any, list[str]]:
    """The command that a line leads to, and its arguments."""
    if line[:3] == ["python", "-m", "financehub_dagster.cli.daemon"]:
        line = ["dagster-daemon", *line[3:]]
    command: Any = program(line[0])
    rest = line[1:]
    while getattr(command, "commands", None) and rest:
        command, rest = command.commands[rest[0]], rest[1:]
    return command, rest


LINES = {" ".join(line): line for line in commands() if "celery" not in line[0]}


@pytest.mark.parametrize("line", LINES)
def test_every_command_exists_with_its_options(line: str) -> None:
    command, rest = resolve(LINES[line])
    options = {option: each for each in command.params for option in each.opts}
    given = iter(rest)
    for word in given:
        assert word in options, f"{word} is no option of {line}"
        if not getattr(options[word], "is_flag", False):
            next(given)


def test_there_are_commands_of_every_part() -> None:
    parts = {"financehub up", "financehub health", "financehub db upgrade", "dagster api grpc-health-check"}
    assert all(any(line.startswith(part) for line in LINES) for part in parts), LINES


def test_the_health_of_a_worker_is_asked_of_the_application_that_exists() -> None:
    from financehub_dagster.cli.commands.worker import APP

    assert f"celery -A {APP} inspect ping" in SERVICES["worker"]["healthcheck"]["test"][1]


@pytest.mark.parametrize(
    "file", ["compose.yaml", "compose.env.example", "Dockerfile", "Procfile", "kubernetes/**/*.yaml"]
)
def test_every_variable_is_one_that_something_reads(file: str) -> None:
    text = "".join(path.read_text() for path in DEPLOY.glob(file))
    named = set(re.findall(r"\b(?:FINANCEHUB_[A-Z_]+|[A-Z_]+_API_KEYS|[A-Z_]+_BASE_URL)\b", text))
    assert named - VARIABLES - FOR_OTHERS == set()


def test_every_variable_that_compose_requires_is_in_the_example() -> None:
    required = set(re.findall(r"\$\{(\w+):\?\}", (DEPLOY / "compose.yaml").read_text()))
    explained = set(re.findall(r"^(?:# )?(\w+)=", (DEPLOY / "compose.env.example").read_text(), re.MULTILINE))
    assert required <= explained


def test_our_containers_publish_no_port_and_have_a_healthcheck_and_no_rights() -> None:
    for name in OURS:
        service = SERVICES[name]
        assert "ports" not in service, name
        assert service["healthcheck"], name
        assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"]), name
    published = {name for name, service in SERVICES.items() if "ports" in service}
    assert published == {"proxy", "grafana"}
    assert SERVICES["grafana"]["ports"] == ["127.0.0.1:3001:3000"]


def test_every_file_that_is_mounted_or_copied_exists_and_every_address_is_a_service() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert source in COMPOSE["volumes"] or (DEPLOY / source).exists(), volume
        for depended in service.get("depends_on", ()):
            assert depended in SERVICES
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    ignored = (REPOSITORY / ".dockerignore").read_text().splitlines()
    for sources in re.findall(r"^COPY (?!--from)(.*) \S+$", dockerfile, re.MULTILINE):
        for source in sources.split():
            assert (REPOSITORY / source).exists()
            assert f"!{source}" in ignored, f"{source} does not reach the build"
    workspace = yaml.safe_load((DEPLOY / "workspace.yaml").read_text())["load_from"][0]["grpc_server"]
    assert workspace["host"] in SERVICES
    assert str(workspace["port"]) in SERVICES["code-server"]["command"]
    assert workspace["location_name"] in SERVICES["code-server"]["command"]
    scraped = yaml.safe_load((DEPLOY / "prometheus/compose.yaml").read_text())["scrape_configs"][0]
    assert scraped["static_configs"] == [{"targets": [f"serve:{SERVICES['serve']['command'][-1]}"]}]


def test_versions_are_one_everywhere() -> None:
    version = re.search(r'^version = "(.*)"$', (REPOSITORY / "pyproject.toml").read_text(), re.MULTILINE)
    lock = re.search(r'name = "dagster"\nversion = "(.*)"', (REPOSITORY / "uv.lock").read_text())
    assert version is not None
    assert lock is not None
    values = (DEPLOY / "kubernetes/values.yaml").read_text()
    assert f"financehub:${{FINANCEHUB_VERSION:-{version[1]}}}" in (DEPLOY / "compose.yaml").read_text()
    assert set(re.findall(r"repository: financehub, tag: (\S+),", values)) == {f'"{version[1]}"'}
    assert f'newTag: "{version[1]}"' in (DEPLOY / "kubernetes/overlay/kustomization.yaml").read_text()
    assert f"--version {lock[1]}" in values


def test_the_charts_daemon_is_ours_and_finds_its_configuration() -> None:
    values = yaml.safe_load((DEPLOY / "kubernetes/values.yaml").read_text())
    ours = values["dagster-user-deployments"]["deployments"][0]["image"]
    assert values["dagsterDaemon"]["image"] == ours
    [generated] = yaml.safe_load((DEPLOY / "kubernetes/base/kustomization.yaml").read_text())["configMapGenerator"]
    assert f"DAGSTER_HOME={values['global']['dagsterHome']}" in generated["literals"]
    copied = re.search(
        r"^COPY (deploy/dagster-daemon) (/\S+/)dagster-daemon$", (DEPLOY / "Dockerfile").read_text(), re.M
    )
    assert copied is not None
    assert f"PATH={copied[2].removesuffix('/')}:" in (DEPLOY / "Dockerfile").read_text()
    assert os.access(REPOSITORY / copied[1], os.X_OK)


def test_pods_run_without_root_and_rights() -> None:
    assert len(pods()) == 2
    for pod in pods():
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert f"--uid {pod['securityContext']['runAsUser']}" in (DEPLOY / "Dockerfile").read_text()
        for container in pod["containers"]:
            security = container["securityContext"]
            assert (security["readOnlyRootFilesystem"], security["allowPrivilegeEscalation"]) == (True, False)
            mounted = {mount["name"] for mount in container["volumeMounts"]}
            assert mounted == {volume["name"] for volume in pod["volumes"]}


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_kustomize_renders_the_overlay(tmp_path: Path) -> None:
    copied = shutil.copytree(DEPLOY / "kubernetes", tmp_path / "kubernetes")
    shutil.copy(copied / "overlay/secret.env.example", copied / "overlay/secret.env")
    done = subprocess.run(["kubectl", "kustomize", str(copied / "overlay")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rendered = list(yaml.safe_load_all(done.stdout))
    assert sorted(each["kind"] for each in rendered) == [
        "ConfigMap",
        "Deployment",
        "Job",
        "Namespace",
        "NetworkPolicy",
        "Secret",
        "Service",
    ]
    assert {each["metadata"].get("namespace", "financehub") for each in rendered} == {"financehub"}
    assert "image: financehub:0.1.0" in done.stdout


def test_nobody_commits_secrets() -> None:
    ignored = (REPOSITORY / ".gitignore").read_text().splitlines()
    assert {"deploy/compose.env", "deploy/kubernetes/overlay/secret.env"} <= set(ignored)
