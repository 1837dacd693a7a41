"""`sandbox`: the sample market alone, for trying a client against it.

Belongs here: its options. Does not belong here: what it answers (financehub_dagster.sandbox).
"""

from typing import Annotated

import typer

from financehub_dagster.cli.command import command, new_app
from financehub_dagster.cli.console import Console

app = new_app()


@command(app, "sandbox", example="financehub sandbox --port 8765 --latency 50")
def sandbox(
    console: Console,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port on 127.0.0.1; 0 takes a free one.")
    ] = 8765,
    latency: Annotated[
        float, typer.Option("--latency", min=0, help="Milliseconds by which answers are held back.")
    ] = 0,
) -> None:
    """Serve the sample market on loopback until Ctrl-C: every vendor's wire format, real recorded prices."""
    from financehub_dagster.sandbox.client import Sandbox
    from financehub_dagster.sandbox.server import serve

    def announce(url: str) -> None:
        environment = Sandbox(url).environment
        console.result({"url": url, "environment": environment}, lambda: show(url, environment))

    def show(url: str, environment: dict[str, str]) -> None:
        console.say(f"sandbox at {url}, control endpoint at {url}/_control")
        for name, value in environment.items():
            console.say(f"export {name}={value}")

    serve(port=port, latency_ms=latency, announce=announce)
