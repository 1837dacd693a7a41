"""`serve`: health, metrics and the stored tables over HTTP.

Belongs here: its options. Does not belong here: its routes (serving.http).
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
    from financehub_dagster.cli.errors import CommandError
    from financehub_dagster.serving import http
    from financehub_dagster.serving.guard import Unguarded

    open_home(console)
    try:
        http.serve(
            http.DEFAULT_PORT if port is None else port,
            lambda url: console.result({"url": url}, lambda: console.say(f"{url}/health, /metrics, /tables and /udf")),
            host=host,
        )
    except (http.PortTaken, Unguarded) as error:
        raise CommandError(str(error)) from None
