"""`serve` and `mcp`: health, metrics and the stored tables for other programs.

Belongs here: their options. Does not belong here: what they answer (serving.http, serving.assistant).
"""

from typing import Annotated

import typer

from financehub_dagster.cli.command import command, new_app, open_home
from financehub_dagster.cli.console import Console

app = new_app()


@command(app, "serve", example="financehub serve --port 8711")
def serve(
    console: Console,
    port: Annotated[
        int | None, typer.Option("--port", min=0, max=65535, help="Port; 8710, 0 takes a free one.")
    ] = None,
    host: Annotated[
        str, typer.Option("--host", help="Where to listen; anything but loopback needs tokens or a proxy.")
    ] = "127.0.0.1",
) -> None:
    """Serve health, metrics, tables and charts over HTTP until Ctrl-C; `up` does so by itself."""
    from financehub_dagster.serving import http

    open_home(console)
    http.serve(
        http.DEFAULT_PORT if port is None else port,
        lambda url: console.result({"url": url}, lambda: console.say(f"{url}/health, /metrics, /tables and /udf")),
        host=host,
    )


@command(app, "mcp", example="financehub mcp")
def mcp(console: Console) -> None:
    """Let an assistant read the stored tables, over standard input and output (MCP); it starts this command itself."""
    from financehub_dagster.cli.errors import CommandError

    open_home(console)
    try:
        from financehub_dagster.serving import assistant
    except ModuleNotFoundError as error:
        if error.name != "mcp":
            raise
        raise CommandError("the library mcp is not installed: `pip install 'financehub-dagster[mcp]'`") from None
    assistant.serve()
