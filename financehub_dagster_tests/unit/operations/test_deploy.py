"""The dashboard and the alert rules name only metrics and labels that are exported, and Prometheus accepts the rules.

The table of metrics in docs/operations.md equals what is exported (test_metrics), so it is the reference here.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import yaml

from financehub_dagster.cli.supervisor.ports import pick_free
from financehub_dagster.serving import guard, http
from financehub_dagster_tests.fixtures.eventually import eventually
from financehub_dagster_tests.fixtures.folder import REPOSITORY
from financehub_dagster_tests.unit.serving.test_guard import TOKEN, ask, serving

DEPLOY = REPOSITORY / "deploy"
RULES = DEPLOY / "prometheus/alerts.yaml"


def documented() -> dict[str, set[str]]:
    """Every exported metric and its labels."""
    found: dict[str, set[str]] = {}
    for line in (REPOSITORY / "docs/operations.md").read_text().splitlines():
        names = re.findall(r"`(financehub_\w+)`", line)
        if not line.startswith("| `financehub_"):
            continue
        labels = [set(re.findall(r"\w+", part)) for part in line.split("|")[2].split(";")]
        for place, name in enumerate(names):
            found[name] = labels[min(place, len(labels) - 1)]
    return found


def dashboard() -> list[dict[str, Any]]:
    panels: list[dict[str, Any]] = json.loads((DEPLOY / "grafana/financehub.json").read_text())["panels"]
    return panels


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def expressions() -> Iterator[str]:
    yield from (target["expr"] for panel in dashboard() for target in panel.get("targets", ()))
    yield from (rule["expr"] for rule in rules())


def test_dashboard_and_rules_name_only_metrics_and_labels_that_are_exported():
    known = documented()
    used: set[str] = set()
    for expression in expressions():
        found = re.findall(r"(financehub_\w+)(?:\{([^}]*)\})?", expression)
        assert found or "up{job=" in expression, expression
        used |= {name for name, _ in found}
        for name, selector in found:
            assert name in known, expression
            assert set(re.findall(r"(\w+)\s*[=!]", selector)) <= known[name], expression
    assert used == set(known), "a metric that no panel and no rule uses"


def test_the_text_of_a_rule_uses_labels_that_its_metrics_have():
    known = documented()
    for rule in rules():
        named = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"])) - {"instance"}
        assert named <= set().union(*(known[name] for name in re.findall(r"financehub_\w+", rule["expr"]))), rule[
            "alert"
        ]
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}


def test_panels_do_not_overlap():
    cells: set[tuple[int, int]] = set()
    for panel in dashboard():
        place = panel["gridPos"]
        columns, lines = range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
        own = {(x, y) for x in columns for y in lines}
        assert not own & cells, panel["title"]
        assert max(columns) < 24, panel["title"]
        cells |= own


@pytest.mark.skipif(shutil.which("promtool") is None, reason="Prometheus is not installed")
@pytest.mark.parametrize(
    "command",
    [
        ("check", "rules", "alerts.yaml"),
        ("check", "config", "--syntax-only", "prometheus.yaml"),
        ("check", "config", "--syntax-only", "compose.yaml"),
        ("test", "rules", "alerts_test.yaml"),
    ],
    ids=" ".join,
)
def test_prometheus_itself_accepts_the_files(command):
    done = subprocess.run(["promtool", *command], cwd=DEPLOY / "prometheus", capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


SCRAPES = ("prometheus.yaml", "compose.yaml")


def scrape(name: str) -> dict[str, Any]:
    """The one scrape configuration of a file."""
    [found] = yaml.safe_load((DEPLOY / "prometheus" / name).read_text())["scrape_configs"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("name", SCRAPES)
def test_a_server_that_asks_for_tokens_is_scraped_with_one(name: str, database) -> None:
    asked = scrape(name)
    scheme = asked["authorization"].get("type", "Bearer")
    with serving(guard.Guard(http.create_app(looks=False), [TOKEN])) as port:
        path = asked.get("metrics_path", "/metrics")
        assert ask(port, path)[0] == 401
        assert ask(port, path, Authorization=f"{scheme} {TOKEN}")[0] == 200


def test_the_file_of_the_token_is_kept_out_of_the_repository() -> None:
    file = scrape("prometheus.yaml")["authorization"]["credentials_file"]
    assert f"deploy/prometheus/{file}" in (REPOSITORY / ".gitignore").read_text().splitlines()


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="Prometheus is not installed")
def test_prometheus_itself_scrapes_a_server_that_asks_for_tokens(tmp_path: Path, database) -> None:
    with serving(guard.Guard(http.create_app(looks=False), [TOKEN])) as port:
        for name in ("prometheus.yaml", "alerts.yaml"):
            text = (DEPLOY / "prometheus" / name).read_text().replace(":8710", f":{port}").replace(": 30s", ": 1s")
            (tmp_path / name).write_text(text)
        (tmp_path / "token").write_text(TOKEN + "\n")
        own = pick_free()
        options = [f"--storage.tsdb.path={tmp_path}/data", f"--web.listen-address=127.0.0.1:{own}"]
        command = ["prometheus", f"--config.file={tmp_path}/prometheus.yaml", *options]

        def is_up() -> bool:
            try:
                with urlopen(f"http://127.0.0.1:{own}/api/v1/targets", timeout=10) as answer:
                    targets = json.load(answer)["data"]["activeTargets"]
            except OSError:
                return False
            return [each["health"] for each in targets] == ["up"]

        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
            try:
                eventually(is_up, seconds=30)
            finally:
                process.terminate()
