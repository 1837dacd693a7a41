"""`worker`: a Celery worker that runs what the platform's daemon launches.

Belongs here: its options. Does not belong here: what a worker does (automation.celery_workers).
"""

import os
import sys
from typing import Annotated

import typer

from financehub_dagster.cli.command import command, new_app
from financehub_dagster.cli.console import Console
from financehub_dagster.cli.errors import CommandError

APP = "financehub_dagster.automation.celery_workers.app"
RUNS_PER_PROCESS = 50
"""A worker's process is replaced after so many runs, so that nothing that leaks grows."""

app = new_app()


@command(app, "worker", example="financehub worker --concurrency 2")
def worker(
    console: Console,
    concurrency: Annotated[int, typer.Option("--concurrency", min=1, help="Runs at a time.")] = 1,
    name: Annotated[
        str | None, typer.Option("--name", help="A name that no other worker has; else made of host and process.")
    ] = None,
) -> None:
    """Run what the daemon launches, until Ctrl-C, which lets runs in progress end; Ctrl-C again ends them."""
    from financehub_dagster.cli import prepare
    from financehub_dagster.cli.supervisor.launch import RUN_ENVIRONMENT
    from financehub_dagster.settings import get_settings

    prepare.act_on_home(console)
    settings = get_settings()
    if settings.financehub_run_launcher != "celery":
        raise CommandError("workers need FINANCEHUB_RUN_LAUNCHER=celery and FINANCEHUB_BROKER_URL, as the daemon does")
    prepare.require_migrated()
    prepare.tell_what_is_off(console)
    options = ["--concurrency", str(concurrency), "--max-tasks-per-child", str(RUNS_PER_PROCESS)]
    options += ["--pool", "prefork", "--without-gossip", "--without-mingle", "--loglevel", "INFO"]
    options += ["--hostname", f"{name or f'financehub-{os.getpid()}'}@%h"]
    arguments = [sys.executable, "-m", "celery", "-A", APP, "worker", *options]
    os.execve(sys.executable, arguments, os.environ | RUN_ENVIRONMENT)
