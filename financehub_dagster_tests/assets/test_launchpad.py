"""What the webserver's launchpad opens on, by the function that its GraphQL answers with (`rootDefaultYaml`)."""

import dagster as dg
import pytest
import yaml
from dagster._config import validate_config
from dagster._core.snap import JobSnap
from dagster._core.snap.snap_to_yaml import default_values_yaml_from_type_snap

from financehub_dagster.automation.jobs.all_jobs import JOBS
from financehub_dagster.definitions import build_definitions
from financehub_dagster.providers import all_providers

NAMES = [job.name for job in JOBS]
EVERY_ASSET = "__ASSET_JOB"
"""What "Materialize, open launchpad" launches."""


@pytest.fixture(scope="module")
def repository():
    """The code location's repository."""
    return build_definitions().get_repository_def()


def opens_on(job: dg.JobDefinition) -> str:
    """The text in the editor before anybody typed."""
    snap = JobSnap.from_job_def(job)
    schema = snap.config_schema_snapshot
    root = schema.get_config_snap(str(snap.mode_def_snaps[0].root_config_key))
    return default_values_yaml_from_type_snap(schema, root)


@pytest.mark.parametrize("name", [*NAMES, EVERY_ASSET])
def test_the_launchpad_opens_on_a_config_that_can_be_launched(repository, name):
    job = repository.get_job(name)
    text = opens_on(job)
    config = yaml.safe_load(text)
    assert validate_config(job.run_config_schema.config_type, config).success, text  # else the launch button is off
    assert not config.pop("resources", None), text
    assert len(text.splitlines()) <= 12


@pytest.mark.parametrize(("name", "step"), [("update_single_asset", "update_one"), ("historical_seed", "seed_one")])
def test_jobs_on_one_symbol_open_on_the_symbol(repository, name, step):
    assert set(repository.get_job(name).run_config) == {"ops"}  # what the webserver opens on where a job has a config
    assert yaml.safe_load(opens_on(repository.get_job(name)))["ops"][step]["config"]["symbol"] == "AAPL"


@pytest.mark.parametrize(("name", "step"), [("update_single_asset", "update_one"), ("historical_seed", "seed_one")])
def test_a_config_of_ones_own_still_names_its_symbol(repository, name, step):
    schema = repository.get_job(name).run_config_schema.config_type
    assert not validate_config(schema, {"ops": {step: {"config": {}}}}).success


def test_a_run_may_still_override_a_resource(repository):
    schema = repository.get_job("update_single_asset").run_config_schema.config_type
    assert validate_config(schema, {"resources": {"yahoo": {"config": {"timeout": 3.0}}}}).success
    assert not validate_config(schema, {"resources": {"yahoo": {"config": {"timeuot": 3.0}}}}).success


def test_the_resources_page_still_shows_every_setting(repository):
    for name, provider in all_providers().items():
        shown = repository.get_top_level_resources()[name].config_schema.config_type.fields
        assert {"timeout", "breaker_threshold"} <= set(shown) & set(type(provider).model_fields), name
